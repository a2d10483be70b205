"""Trains `ramole`: a query and a key factor a module learn which of the retrieved adapters a token is for.

Knows: the gate's loss, which adapters are retrieved for a text. Does not know: how trained gates weigh when answers are
made (lorauter/gates/ramole).

    loss = cross-entropy of the answer's tokens; base and adapters frozen, each retrieved adapter left out with p = .5

A text's adapters are the published ones of the K tasks nearest to it, by LORAUTER's similarity; at least one is kept.
B_r starts at 0, so that training starts from the uniform mixture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorauter.routing.task_index import TaskIndex
from lorauter.train.fit import BASE, ENCODER, TRAIN, FitParts, Progress
from lorauter.train.gate_texts import GateText, by_length, drawn, gate_texts, published
from lorauter.trained.state import TrainedState

if TYPE_CHECKING:
    import torch

    from lorauter.train.gated_base import GatedBase


class RamoleFit:
    """Factors of all modules that a published adapter touches.

    Args:
        options: constants that differ from the usual ones.
    """

    name = "ramole"
    version = "1"
    reads = frozenset({BASE, ENCODER, TRAIN})

    def __init__(self, **options: Any) -> None:
        self.options: Mapping[str, Any] = {
            "rank": 8,
            "retrieved": 3,
            "dropout": 0.5,
            "learning_rate": 1e-3,
            "steps": 300,
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
        import torch

        from lorauter.train.gate_parts import base_of
        from lorauter.train.steps import Steps, mean_loss, train_steps

        keys, options = published(parts.index, parts.doras), self.options
        base = base_of(parts, keys, options["half"])
        factors = starting_factors(base, options["rank"], seed)
        texts = gate_texts(parts, base.tokenizer, options["most_train"], options["most_held"])
        retrieved = _retrieved(parts, keys, [*texts.train, *texts.held], options["retrieved"])
        held = by_length(texts.held, options["batch"])

        def of(batch: Sequence[GateText]) -> torch.Tensor:
            return torch.stack([retrieved[text] for text in batch])

        def step(_step: int, generator: torch.Generator) -> torch.Tensor:
            batch = drawn(texts.train, options["batch"], generator)
            return loss_of(base, factors, batch, dropped(of(batch), options["dropout"], generator))

        def held_out() -> float:
            return mean_loss(held, lambda batch: loss_of(base, factors, batch, of(batch)))

        how = Steps(
            options["steps"],
            options["learning_rate"],
            weight_decay=0.0,
            warm_up=max(1, options["steps"] // 20),
            every=25,
            patience=4,
        )
        learned = train_steps(factors, step, held_out, how, seed, bound_seconds, progress, checkpoint_folder)
        return learned.state(texts.facts)


def starting_factors(base: GatedBase, rank: int, seed: int) -> dict[str, torch.nn.Parameter]:
    """A_r and B_r of every module before training: A_r drawn, B_r 0."""
    import torch

    from lorauter.gates.ramole import key_name, query_name

    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for name, candidates in base.candidates.items():
        d_in, d_out = candidates.a.shape[1], candidates.b.shape[2]
        drawn = torch.randn(rank, d_in, generator=generator) / d_in**0.5
        factors[query_name(name)] = torch.nn.Parameter(drawn.to(base.device))
        factors[key_name(name)] = torch.nn.Parameter(torch.zeros(d_out, rank, device=base.device))
    return factors


def dropped(there: torch.Tensor, p: float, generator: torch.Generator) -> torch.Tensor:
    """`there` (rows, K) bool without those that are left out, each with probability p; a row keeps one at least."""
    import torch

    drawn = torch.rand(there.shape, generator=generator)
    highest = drawn.masked_fill(~there, -1).argmax(1, keepdim=True)
    kept = there & (drawn >= p)
    return kept.scatter(1, highest, True)


def loss_of(
    base: GatedBase, factors: Mapping[str, torch.Tensor], texts: Sequence[GateText], there: torch.Tensor
) -> torch.Tensor:
    """The loss of a batch.

    Args:
        base: with the K candidates.
        factors: A_r and B_r.
        texts: the batch.
        there: (rows, K) bool, each row's own candidates.
    """
    from lorauter.train.token_batches import token_batch

    batch = token_batch([text.row for text in texts], base.tokenizer.eos_token_id, base.device, whole=False)
    return batch.loss(base.logits(batch, weigher(base, factors, there.to(base.device))))


def weigher(base: GatedBase, factors: Mapping[str, torch.Tensor], there: torch.Tensor) -> Any:
    """The gate of a batch, as `lorauter.train.gated_base.Weigh`."""
    import torch

    from lorauter.gates.ramole import key_name, query_name, weights_of

    def weigh(module: str, x: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        a, b = factors[query_name(module)], factors[key_name(module)]
        query = (x @ a.T).float()
        projected = torch.einsum("or,kwo->rkw", b, base.candidates[module].b)
        asked = (query @ projected.flatten(1)).view(hidden.shape)
        return weights_of((asked * hidden).float().sum(-1) / len(a) ** 0.5, there[:, None])

    return weigh


def _retrieved(
    parts: FitParts, keys: Sequence[str], texts: Sequence[GateText], most: int
) -> dict[GateText, torch.Tensor]:
    """Each text's candidates, (K,) bool."""
    import torch

    from lorauter.routing.task_weights import weigh_tasks

    distinct = list(dict.fromkeys(text.input for text in texts))
    nearest = weigh_tasks(parts.index.similarities(parts.encoder().encode(distinct)), most, 1.0).tasks
    there = torch.zeros(len(distinct), len(keys), dtype=torch.bool)
    for row, places in enumerate(nearest.tolist()):
        for place in places:
            if parts.index.best[place] in keys:
                there[row, keys.index(parts.index.best[place])] = True
    rows = {text: row for row, text in enumerate(distinct)}
    chosen = {text: there[rows[text.input]].clone() for text in texts}
    for text, own in chosen.items():
        own[keys.index(parts.index.best[text.task])] |= not own.any()
    return chosen
