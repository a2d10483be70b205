"""Singular rows: S Vᵀ of an adapter's ΔW = U S Vᵀ at each module, without ever forming ΔW.

Knows: linear algebra on the factors. Does not know: tokens, gates.

With QR of both factors, B = Q_B R_B and Aᵀ = Q_A R_A,

    ΔW = s B A = Q_B (s R_B R_Aᵀ) Q_Aᵀ,    s R_B R_Aᵀ = U' S V'ᵀ  (r × r),    S Vᵀ = S V'ᵀ Q_Aᵀ

so the cost is that of two thin QRs and an SVD of r × r. The first row is S₁ times the top right singular vector;
‖S Vᵀ x‖₂ = ‖ΔW x‖₂, since U's columns are orthonormal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache

import torch

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights, LoraPair

ReadAdapter = Callable[[str], AdapterWeights]
"""Adapter key → its weights, as `Engine.weights_of`."""
SingularRows = Callable[[str], Mapping[str, torch.Tensor]]
"""Adapter key → S Vᵀ by module, (min(r, d_in, d_out), d_in), fp32 on the CPU, the largest singular value first."""


def singular_rows_of(read: ReadAdapter, kept: int | None = None) -> SingularRows:
    """A function from key to singular rows, which takes each adapter apart once: give one to gates that share adapters.

    Args:
        read: gives an adapter's weights.
        kept: how many adapters' rows, the last asked for; all where left out.

    Raises:
        UnsupportedAdapter: by the function; the adapter is a DoRA, whose ΔW is not of low rank.
    """

    @lru_cache(maxsize=kept)
    def rows(key: str) -> Mapping[str, torch.Tensor]:
        return {name: singular_rows(pair) for name, pair in plain(key, read(key)).modules.items()}

    return rows


def singular_rows(pair: LoraPair) -> torch.Tensor:
    """S Vᵀ of one module, computed in fp32."""
    _, r_b = torch.linalg.qr(pair.b.float(), mode="r")
    q_a, r_a = torch.linalg.qr(pair.a.float().T)
    try:
        _, s, vt = torch.linalg.svd(pair.scaling * r_b @ r_a.T, full_matrices=False)
    except torch.linalg.LinAlgError as error:  # type: ignore[attr-defined]
        raise UnsupportedAdapter(
            f"The adapter's product of A and B has no singular values that can be found ({error}).",
            "Leave it out of the gate's candidates.",
        ) from error
    rows: torch.Tensor = s[:, None] * (vt @ q_a.T)
    return rows


def plain(key: str, weights: AdapterWeights) -> AdapterWeights:
    """The weights of a LoRA. Raises UnsupportedAdapter: it is a DoRA."""
    if any(pair.magnitude is not None for pair in weights.modules.values()):
        raise UnsupportedAdapter(
            f"{key}: The adapter is a DoRA, whose ΔW is not of low rank.", "Leave it out of the gate's candidates."
        )
    return weights
