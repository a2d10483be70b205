"""LAG (arXiv 2507.05346): Arrow's scores keep the top k adapters, SpectR's pick one of them, by token and module.

Knows: the two scores. Does not know: where adapters come from, how their outputs are summed.

    kept = top k of |⟨x, p_a⟩|,    a* = argmax over kept of ‖S Vᵀ x‖₂,    w = 1 for a*
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lorauter.gates.arrow import prototypes
from lorauter.gates.candidate_rows import CandidateRows
from lorauter.gates.choosing import only_top, the_best
from lorauter.gates.singular_rows import SingularRows


class LagGate:
    """One adapter a token.

    Args:
        adapters: keys of the candidates.
        singular: see `singular_rows_of`.
        top_k: what Arrow's scores keep; 20 is chosen by us.

    Raises:
        UnsupportedAdapter: as `ArrowGate`.
    """

    name = "lag"

    def __init__(self, adapters: Sequence[str], singular: SingularRows, top_k: int = 20) -> None:
        self.adapters = tuple(dict.fromkeys(adapters))
        rows = [singular(key) for key in self.adapters]
        self._spectra = CandidateRows(rows)
        self._prototypes = CandidateRows([prototypes(one) for one in rows])
        self._top_k = top_k

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """As `TokenGate`."""
        kept = only_top(self._prototypes.norms(module, x), self._top_k)
        return the_best(self._spectra.norms(module, x).masked_fill(kept == -torch.inf, -torch.inf))
