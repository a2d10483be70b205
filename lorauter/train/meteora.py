"""Trains `meteora`: a linear gate a module learns to name the adapter of the text's task, and to foretell the text.

Knows: the gate's loss. Does not know: how trained gates weigh when answers are made (lorauter/gates/meteora).

    loss = cross-entropy of all tokens of prompt and answer
         + 50 × cross-entropy of the gates' logits with the task's adapter, over modules and tokens that are no padding

as in the published code, whose descriptions say that gates alone are trained, and whose script trains the adapters too.
Ours trains the gates alone. The paper has 15,000 steps at 5e-4; ours are fewer, and end with held-out examples, a
number of steps, or a bound. So the rate is higher: after 40 steps on the demo's 14 tasks the cross-entropy of gates'
logits on held-out texts is 1.05 at 2e-2 and 1.60 at 5e-3; at 5e-4 it has hardly left its start of 2.65 after 25.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorauter.routing.task_index import TaskIndex
from lorauter.train.fit import BASE, TRAIN, FitParts, Progress
from lorauter.train.gate_texts import GateText, by_length, drawn, gate_texts, published
from lorauter.trained.state import TrainedState

if TYPE_CHECKING:
    import torch

    from lorauter.train.gated_base import GatedBase


class MeteoraFit:
    """Gates of all modules that a published adapter touches, over all published adapters but DoRA.

    Args:
        options: constants that differ from the usual ones.
    """

    name = "meteora"
    version = "1"
    reads = frozenset({BASE, TRAIN})

    def __init__(self, **options: Any) -> None:
        self.options: Mapping[str, Any] = {
            "learning_rate": 2e-2,
            "warm_up": 0.005,
            "coefficient": 50.0,
            "steps": 400,
            "batch": 8,
            "most_train": 100,
            "most_held": 4,
            "half": True,
            **options,
        }

    def adapters(self, index: TaskIndex, _pool: Sequence[str], doras: frozenset[str]) -> Sequence[str]:
        """The published ones."""
        return published(index, doras)

    def train(
        self, parts: FitParts, bound_seconds: float, seed: int, progress: Progress, checkpoint_folder: Path
    ) -> TrainedState:
        """As `Fit`."""
        from lorauter.train.gate_parts import base_of
        from lorauter.train.steps import Steps, mean_loss, train_steps

        keys, options = published(parts.index, parts.doras), self.options
        base = base_of(parts, keys, options["half"])
        gates = starting_gates(base, seed)
        texts = gate_texts(parts, base.tokenizer, options["most_train"], options["most_held"])
        own = {place: keys.index(best) for place, best in enumerate(parts.index.best) if best in keys}
        held = by_length(texts.held, options["batch"])

        def loss(batch: Sequence[GateText]) -> torch.Tensor:
            return loss_of(base, gates, batch, [own[text.task] for text in batch], options["coefficient"])

        how = Steps(
            options["steps"],
            options["learning_rate"],
            weight_decay=0.0,
            warm_up=max(1, round(options["steps"] * options["warm_up"])),
            every=25,
            patience=4,
        )
        learned = train_steps(
            gates,
            lambda _step, generator: loss(drawn(texts.train, options["batch"], generator)),
            lambda: mean_loss(held, loss),
            how,
            seed,
            bound_seconds,
            progress,
            checkpoint_folder,
        )
        return learned.state(texts.facts)


def starting_gates(base: GatedBase, seed: int) -> dict[str, torch.nn.Parameter]:
    """G of every module before training, (K, d_in), within ± 1/√d_in, as a linear layer of torch starts."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    gates = {}
    for name, candidates in base.candidates.items():
        width = candidates.a.shape[1]
        drawn = (torch.rand(base.count, width, generator=generator) * 2 - 1) / width**0.5
        gates[name] = torch.nn.Parameter(drawn.to(base.device))
    return gates


def trained_weights(logits: torch.Tensor) -> torch.Tensor:
    """Weights (…, K) as training has them: softmax over all K, the two highest kept, to a sum of 1."""
    import torch

    from lorauter.gates.meteora import TOP_K

    shares = torch.softmax(logits, dim=-1)
    highest, places = shares.topk(min(TOP_K, shares.shape[-1]), dim=-1)
    return torch.zeros_like(shares).scatter(-1, places, highest / highest.sum(-1, keepdim=True))


def loss_of(
    base: GatedBase,
    gates: Mapping[str, torch.Tensor],
    texts: Sequence[GateText],
    adapters: Sequence[int],
    coefficient: float,
) -> torch.Tensor:
    """The loss of a batch.

    Args:
        base: with the K candidates.
        gates: G by module.
        texts: the batch.
        adapters: the place of each text's own adapter among the candidates.
        coefficient: of the gates' own loss.
    """
    import torch

    from lorauter.train.token_batches import token_batch

    batch = token_batch([text.row for text in texts], base.tokenizer.eos_token_id, base.device, whole=True)
    there = batch.mask.bool()
    owners = torch.tensor(adapters, device=base.device)[:, None].expand(there.shape)[there]
    named: list[torch.Tensor] = []

    def weigh(module: str, x: torch.Tensor, _hidden: torch.Tensor) -> torch.Tensor:
        logits = (x @ gates[module].T).float()
        named.append(torch.nn.functional.cross_entropy(logits[there], owners))
        return trained_weights(logits)

    foretold = batch.loss(base.logits(batch, weigh))
    return foretold + coefficient * torch.stack(named).mean()
