"""SEQR (arXiv 2509.18093): among adapters with one frozen A, the one that changes a token most, found in r dimensions.

Knows: QR, calibration. Does not know: where adapters come from, how their outputs are summed.

    s_a B_a = Q_a R_a,    score_a = ‖R_a A x‖₂ = ‖ΔW_a x‖₂             per module and token; A x is taken once
    z_a = (score_a - μ_a) / σ_a,    a* = argmax z,    w = 1 for a*

μ_a and σ_a are the mean and standard deviation of an adapter's scores at a module over the tokens of some texts, so
that an adapter with a large ΔW does not win everywhere. Which texts: chosen by us, the caller's, through the bare
base. Without calibration μ = 0 and σ = 1: the greatest norm wins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights
from lorauter.gates.candidate_rows import CandidateRows
from lorauter.gates.choosing import the_best
from lorauter.gates.singular_rows import ReadAdapter, plain

LEAST_SIGMA = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class ScoreSpread:
    """Mean and standard deviation of the K candidates' scores at one module, each (K,), fp32."""

    mean: torch.Tensor
    deviation: torch.Tensor


class SeqrGate:
    """The adapter of the highest calibrated score, one a token.

    Args:
        adapters: keys of the candidates.
        read: gives their weights.

    Attributes:
        spread: by module; empty until `calibrate` (lorauter/train/gate_calibration) has filled it.

    Raises:
        UnsupportedAdapter: two candidates differ in A where both touch a module, or one is a DoRA; the cause names it.
    """

    name = "seqr"

    def __init__(self, adapters: Sequence[str], read: ReadAdapter) -> None:
        self.adapters = tuple(dict.fromkeys(adapters))
        weights = [plain(key, read(key)) for key in self.adapters]
        self._shared = CandidateRows([_shared_a(self.adapters, weights)])
        self._rows = CandidateRows([_r_factors(one) for one in weights])
        self.spread: Mapping[str, ScoreSpread] = {}

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """As `TokenGate`."""
        scores = self.scores(module, x)
        spread = self.spread.get(module)
        return the_best(scores if spread is None else (scores - spread.mean) / spread.deviation)

    def scores(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """‖R_a A x‖₂, not calibrated: (rows, tokens, K), fp32, -inf for candidates without the module."""
        return self._rows.norms(module, self._shared.products(module, x))


def _shared_a(keys: Sequence[str], weights: Sequence[AdapterWeights]) -> dict[str, torch.Tensor]:
    """The one A of every module, (r, d_in), fp32."""
    shared: dict[str, torch.Tensor] = {}
    owner: dict[str, str] = {}
    for key, one in zip(keys, weights, strict=True):
        for name, pair in one.modules.items():
            a = pair.a.float()
            if not torch.equal(shared.setdefault(name, a), a):
                raise UnsupportedAdapter(
                    f"{key}: The adapter's A at {name} is not that of {owner[name]}; SEQR needs one frozen A for all.",
                    "Leave it out of the candidates, or choose another router, such as spectr.",
                )
            owner.setdefault(name, key)
    return shared


def _r_factors(weights: AdapterWeights) -> dict[str, torch.Tensor]:
    """R_a of s_a B_a by module, (min(r, d_out), r), fp32."""
    return {name: torch.linalg.qr(pair.scaling * pair.b.float(), mode="r").R for name, pair in weights.modules.items()}
