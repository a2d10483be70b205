"""Calibration: what a gate's scores are like on ordinary texts, by module and candidate.

Knows: running sums over tokens of the bare base. Does not know: what the scores mean, which texts are ordinary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from catalog.errors import SettingError
from lorauter.gates.seqr import LEAST_SIGMA, ScoreSpread, SeqrGate

if TYPE_CHECKING:
    from lorauter.engine.engine import Engine


def calibrate(gate: SeqrGate, engine: Engine, prompts: Sequence[str]) -> SeqrGate:
    """Fills the gate's `spread` from all tokens of the prompts, and gives the gate back.

    Prompts pass one by one, since a padded batch has tokens that nobody wrote.

    Raises:
        SettingError: no prompts.
    """
    if not prompts:
        raise SettingError("There are no texts to calibrate with.", "Give some, such as the inputs of validation sets.")
    watch = _Watch(gate)
    for prompt in prompts:
        engine.next_logits([prompt], [watch])
    gate.spread = watch.spread()
    return gate


class _Watch:
    """A gate that notes another's scores and weighs nothing, so that all tokens are the bare base's."""

    def __init__(self, gate: SeqrGate) -> None:
        self.name, self.adapters = gate.name, gate.adapters
        self._gate = gate
        self._tokens: dict[str, int] = {}
        self._sums: dict[str, torch.Tensor] = {}

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """Zeros. Sums are in fp64: σ² is a small difference of large numbers."""
        scores = self._gate.scores(module, x).double()
        flat = scores.view(-1, scores.shape[-1])
        self._tokens[module] = self._tokens.get(module, 0) + len(flat)
        sums = torch.stack([flat.sum(0), flat.square().sum(0)])
        self._sums[module] = self._sums[module] + sums if module in self._sums else sums
        return torch.zeros_like(scores)

    def spread(self) -> dict[str, ScoreSpread]:
        """Of the tokens seen; candidates without a module have mean 0 and deviation 1 there."""
        return {name: self._spread(sums / self._tokens[name]) for name, sums in self._sums.items()}

    def _spread(self, means: torch.Tensor) -> ScoreSpread:
        there = means[0].isfinite()
        mean = means[0].where(there, 0)
        deviation = (means[1] - mean.square()).clamp(min=0).sqrt().clamp(min=LEAST_SIGMA).where(there, 1)
        return ScoreSpread(mean.float(), deviation.float())
