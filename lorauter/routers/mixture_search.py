"""LoraHub's search (arXiv 2307.13269): the weights of a mixture that make a few labelled examples most likely.

Knows: the loss, its bounds, nevergrad's optimiser. Does not know: tasks, queries, who asks.

    loss(w) = - Σ log p(target | prompt; Σ w_a ΔW_a) / Σ tokens + 0.05 · mean |w|,    w in [-1.5, 1.5]ⁿ

40 steps of nevergrad's NGOpt from w = 0, without a gradient, over at most 20 adapters and on 5 examples, as published.
Two things are ours: adapters are mixed by their outputs, where the paper sums A's and B's apart; and where there are
more than 20, a seed draws which.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from catalog.errors import SettingError
from lorauter.routing.routes import Mixture, Route, mixture_of

if TYPE_CHECKING:
    from lorauter.engine.engine import Engine

Loss = Callable[[npt.NDArray[np.float64]], float]


@dataclass(frozen=True, slots=True)
class SearchOptions:
    """Constants of the search, LoraHub's by default.

    Args:
        adapters: candidates, at most.
        steps: losses computed.
        bound: on |w|.
        penalty: of mean |w|.
        seed: decides which candidates, and steps that are drawn: NGOpt may take a method without any.

    Raises:
        SettingError: one of them makes no sense.
    """

    adapters: int = 20
    steps: int = 40
    bound: float = 1.5
    penalty: float = 0.05
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.adapters, self.steps) < 1 or self.bound <= 0 or self.penalty < 0:
            raise SettingError(
                f"A search of {self.steps} steps over {self.adapters} adapters within ±{self.bound}, penalty "
                f"{self.penalty}, makes no sense.",
                "Use 1 or more of both, a bound above 0 and a penalty of at least 0.",
            )


@dataclass(frozen=True, slots=True)
class Labelled:
    """An example. `prompt`: as it is answered. `target`: what should follow it after a space."""

    prompt: str
    target: str


def search_mixture(
    engine: Engine, adapters: Sequence[str], examples: Sequence[Labelled], options: SearchOptions | None = None
) -> Mixture:
    """The best weights that the search found. In float32 a function of its arguments alone.

    Args:
        adapters: keys of the candidates, in any order.
        examples: 5 in the paper.

    Raises:
        SettingError: no adapters or no examples, or nevergrad is not installed.
        UnsupportedAdapter: a candidate cannot be served.
    """
    chosen = options or SearchOptions()
    keys = drawn(adapters, chosen)
    if not keys or not examples:
        raise SettingError("LoraHub needs adapters and labelled examples.", "Give some of both: 20 and 5, say.")

    def loss(weights: npt.NDArray[np.float64]) -> float:
        return loss_of(engine, dict(zip(keys, weights.tolist(), strict=True)), examples, chosen.penalty)

    return mixture_of(dict(zip(keys, _minimum(loss, len(keys), chosen).tolist(), strict=True)))


def drawn(adapters: Sequence[str], options: SearchOptions) -> tuple[str, ...]:
    """The candidates of a search, sorted: all, or as many as it takes, drawn by the seed."""
    keys = sorted(set(adapters))
    return tuple(keys if len(keys) <= options.adapters else sorted(Random(options.seed).sample(keys, options.adapters)))


def loss_of(engine: Engine, weights: dict[str, float], examples: Sequence[Labelled], penalty: float) -> float:
    """Cross-entropy of the targets' tokens in nats, plus the penalty."""
    routes = [Route(mixture_of(weights))] * len(examples)
    scores = engine.score_options([e.prompt for e in examples], [[e.target] for e in examples], routes)
    total, tokens = sum(score.totals[0] for score in scores), sum(score.tokens[0] for score in scores)
    return -total / tokens + penalty * float(np.mean(np.abs(list(weights.values()))))


def _minimum(loss: Loss, dimensions: int, options: SearchOptions) -> npt.NDArray[np.float64]:
    try:
        import nevergrad
    except ImportError as error:
        raise SettingError("LoraHub's search needs nevergrad.", "pip install 'lorauter[lorahub]'") from error
    weights = nevergrad.p.Array(init=np.zeros(dimensions)).set_bounds(-options.bound, options.bound)
    weights.random_state.seed(options.seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "COBYLA: Invalid RHOEND")  # NGOpt's own call of scipy
        best = nevergrad.optimizers.NGOpt(parametrization=weights, budget=options.steps).minimize(loss)
    return np.asarray(best.value, dtype=np.float64)
