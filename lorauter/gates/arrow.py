"""Arrow (arXiv 2405.11157): adapters weigh by how far a token lies along the direction that each stretches most.

Knows: prototypes. Does not know: where adapters come from, how their outputs are summed.

    p_a = the top right singular vector of ΔW_a                    a vector of d_in, one a module
    w   = softmax over the top k of |⟨x, p_a⟩| / τ                 per module and token

An adapter that does nothing at a module (B = 0) has no direction there: its prototype is 0, its score too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from lorauter.gates.candidate_rows import CandidateRows
from lorauter.gates.choosing import softmax_of_top
from lorauter.gates.singular_rows import SingularRows


def prototypes(rows: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Top right singular vectors, (1, d_in) a module, of an adapter's singular rows."""
    return {name: torch.nn.functional.normalize(matrix[:1], dim=-1) for name, matrix in rows.items()}


class ArrowGate:
    """Weighs by |⟨x, p_a⟩|.

    Args:
        adapters: keys of the candidates.
        singular: see `singular_rows_of`.
        top_k: candidates a token uses;
        temperature: τ. Chosen by us as PEFT's ArrowConfig has them: 3 and 1.

    Raises:
        UnsupportedAdapter: a candidate cannot be read, or is a DoRA; the cause names it.
    """

    name = "arrow"

    def __init__(
        self, adapters: Sequence[str], singular: SingularRows, top_k: int = 3, temperature: float = 1.0
    ) -> None:
        self.adapters = tuple(dict.fromkeys(adapters))
        self._prototypes = CandidateRows([prototypes(singular(key)) for key in self.adapters])
        self._top_k, self._temperature = top_k, temperature

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """As `TokenGate`. With one row a candidate the norm is |⟨x, p_a⟩|."""
        return softmax_of_top(self._prototypes.norms(module, x), self._top_k, self._temperature)
