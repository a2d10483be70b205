"""LoGo (arXiv 2511.07129): weigh adapters by what they would add to one module, at the last token of the prompt.

Knows: signals, top k, which module is looked at. Does not know: tasks, scores, embeddings: it needs no data at all.

    o_a = s_a B_a A_a h        h the input of the last block's q_proj at the last token, from one pass of the bare base
    signal_a = ‖o_a‖₂          or 1 / (H(softmax(o_a)) + 1e-6), H in nats
    w_a = signal_a / Σ signal  over the 20 of the highest signal; the outputs of all layers are mixed by w

h is the module's own input, after the layer norm, and no adapter is on while it is taken: a route depends on its prompt
alone, not on what was asked before. For a DoRA o_a is what the engine would add, its tilt of Wh included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from catalog.errors import SettingError
from lorauter.routing.routes import Masked, Question, Route, mixture_of

if TYPE_CHECKING:
    from lorauter.engine.bank.base_modules import HeldPair
    from lorauter.engine.engine import Engine

PUBLISHED_MODULE = "q_proj"
MOST_TOKENS = 2048


def norm(added: torch.Tensor) -> torch.Tensor:
    """‖o‖₂ of (rows, d_out): (rows,)."""
    norms: torch.Tensor = torch.linalg.vector_norm(added, dim=-1)
    return norms


def inverse_entropy(added: torch.Tensor) -> torch.Tensor:
    """1 / (H(softmax(o)) + 1e-6) of (rows, d_out): (rows,)."""
    logs = torch.log_softmax(added, dim=-1)
    entropies: torch.Tensor = -(logs.exp() * logs).sum(-1)
    return (entropies + 1e-6).reciprocal()


SIGNALS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"norm": norm, "entropy": inverse_entropy}


class LogoRouter:
    """Routes by one forward pass of the base and one product with all candidates.

    The module is the last q_proj of the base (the published rule) where any candidate touches it, else the last of
    those that the most candidates touch. A candidate that does not touch it sends no signal and is never routed to:
    `silent` names such ones.

    Args:
        engine: its base is probed; it gives the candidates' weights, each read once.
        adapters: keys of the candidates.
        signal: a name of `SIGNALS`.
        top_k: adapters of a route, at most.
        prompt_of: query → prompt as it is answered; without it, queries are taken as prompts.

    Raises:
        SettingError: an unknown signal, or top_k below 1.
    """

    def __init__(
        self,
        engine: Engine,
        adapters: Sequence[str],
        signal: str = "norm",
        top_k: int = 20,
        prompt_of: Callable[[str], str] = str,
    ) -> None:
        if signal not in SIGNALS or top_k < 1:
            raise SettingError(
                f"LoGo has no signal {signal!r} with top_k {top_k}.", f"Use {' or '.join(SIGNALS)}, and 1 or more."
            )
        self.name = "logo" if signal == "norm" else f"logo_{signal}"
        self._engine, self._signal, self._top_k, self._prompt_of = engine, SIGNALS[signal], top_k, prompt_of
        self._adapters = sorted(set(adapters))

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """One route a query, in order.

        Raises:
            UnsupportedAdapter: a candidate cannot be served; the cause names it.
        """
        return self._route([self._prompt_of(query) for query in queries])

    def route_questions(self, questions: Sequence[Question], masked: Masked = None) -> list[Route]:
        """The same, by the prompt that each question comes with. Raises as `route`."""
        return self._route([question.prompt or self._prompt_of(question.text) for question in questions])

    def _route(self, prompts: Sequence[str]) -> list[Route]:
        if not prompts or not self._adapters:
            return [Route(()) for _ in prompts]
        inputs = self._engine.probe(prompts, self._probed.module, MOST_TOKENS)
        return [self._weigh(row) for row in self._signals(inputs)]

    @property
    def silent(self) -> tuple[str, ...]:
        """Candidates that do not touch the module that is looked at."""
        return tuple(key for key in self._adapters if key not in self._probed.pairs)

    @cached_property
    def _probed(self) -> _Probed:
        self._engine.check(self._adapters)
        published = [name for name in self._modules if name.rpartition(".")[2] == PUBLISHED_MODULE]
        probed = self._read(published[-1]) if published else None
        return probed if probed and probed.pairs else self._read(self._most_touched())

    @property
    def _modules(self) -> list[str]:
        """The base's modules in its own order, which is that of its blocks."""
        return [name for name, _ in self._engine.model.named_modules()]

    def _most_touched(self) -> str:
        touched = Counter(name for key in self._adapters for name in self._engine.weights_of(key).modules)
        return max(reversed(self._modules), key=lambda name: touched[name])

    def _read(self, module: str) -> _Probed:
        pairs: dict[str, HeldPair] = {}
        for key in self._adapters:
            pair = self._engine.weights_of(key).modules.get(module)
            if pair is not None:
                pairs[key] = self._engine.bank.fold(module, pair)
        return _Probed(module, pairs)

    def _signals(self, inputs: torch.Tensor) -> torch.Tensor:
        """(rows, candidates that touch the module), fp32."""
        with torch.inference_mode():
            hidden = inputs @ self._probed.stack
            product = self._product(inputs) if self._probed.has_dora else None
            start, signals = 0, []
            for pair in self._probed.pairs.values():
                added = hidden[:, start : start + len(pair.a)] @ pair.b.float().cpu()
                if pair.d is not None and product is not None:
                    added += pair.d.float().cpu() * product
                signals.append(self._signal(added))
                start += len(pair.a)
        return torch.stack(signals, dim=1)

    def _product(self, inputs: torch.Tensor) -> torch.Tensor:
        """Wh: (rows, d_out), fp32, on the CPU."""
        linear = self._engine.bank.linear(self._probed.module)
        output: torch.Tensor = linear(inputs.to(linear.weight.device, linear.weight.dtype)).float().cpu()
        return output if linear.bias is None else output - linear.bias.float().cpu()

    def _weigh(self, signals: torch.Tensor) -> Route:
        by_key = dict(zip(self._probed.pairs, signals.tolist(), strict=True))
        kept = sorted(by_key, key=lambda key: (-by_key[key], key))[: self._top_k]
        total = sum(by_key[key] for key in kept)
        return Route(mixture_of({key: by_key[key] / total for key in kept} if total else {}))


@dataclass(frozen=True)
class _Probed:
    """The module that is looked at, with what each candidate has there."""

    module: str
    pairs: dict[str, HeldPair]

    @cached_property
    def stack(self) -> torch.Tensor:
        """Aᵀ of all candidates beside one another: (d_in, Σr), fp32, on the CPU."""
        return torch.cat([pair.a for pair in self.pairs.values()]).float().cpu().T

    @property
    def has_dora(self) -> bool:
        """Whether a candidate needs Wh."""
        return any(pair.d is not None for pair in self.pairs.values())
