"""SpectR (arXiv 2504.03454): adapters weigh by how much each would change a token, over its whole spectrum.

Knows: singular rows. Does not know: where adapters come from, how their outputs are summed.

    ΔW_a = U S Vᵀ,    score_a = ‖S Vᵀ x‖₂ = ‖ΔW_a x‖₂             per module and token
    w = softmax over the top k of score / τ

The paper's score is here as it is there; top k, softmax and τ are chosen by us, the same as Arrow's, so that the two
differ in their scores alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorauter.gates.candidate_rows import CandidateRows
from lorauter.gates.choosing import softmax_of_top
from lorauter.gates.singular_rows import SingularRows


class SpectrGate:
    """Weighs by ‖S Vᵀ x‖₂.

    Args and errors: as `ArrowGate`.
    """

    name = "spectr"

    def __init__(
        self, adapters: Sequence[str], singular: SingularRows, top_k: int = 3, temperature: float = 1.0
    ) -> None:
        self.adapters = tuple(dict.fromkeys(adapters))
        self._spectra = CandidateRows([singular(key) for key in self.adapters])
        self._top_k, self._temperature = top_k, temperature

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """As `TokenGate`."""
        return softmax_of_top(self._spectra.norms(module, x), self._top_k, self._temperature)
