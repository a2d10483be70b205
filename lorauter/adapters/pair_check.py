"""What the numbers of an adapter say against it: not finite, or a change of nothing.

Knows: pairs A, B on the CPU. Does not know: files (lorauter/adapters/weights_check, lorauter/adapters/weights),
reasons.
"""

from __future__ import annotations

import math

import torch

_LARGEST = float(torch.finfo(torch.float32).max)


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether it holds neither NaN nor infinity, whatever its dtype."""
    return bool(torch.isfinite(tensor.float()).all())


def overflows(a: torch.Tensor, b: torch.Tensor, scaling: float = 1.0) -> bool:
    """Whether BA, scaled or not, leaves float32, of finite A (r × d_in) and B (d_out × r).

    BA is formed only where its rows and columns are so long that it may.
    """
    a, b, most = a.double(), b.double(), max(1.0, abs(scaling))
    bound = torch.linalg.vector_norm(b, dim=1).max() * torch.linalg.vector_norm(a, dim=0).max() * most
    if float(bound) < _LARGEST:
        return False
    return float((b @ a).abs().max()) * most > _LARGEST


def product_norm(a: torch.Tensor, b: torch.Tensor) -> float:
    """‖BA‖_F from the r × r Gram matrices, without forming BA."""
    a, b = a.double(), b.double()
    return math.sqrt(max(0.0, float(((b.T @ b) * (a @ a.T)).sum())))


def is_zero(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether BA is zero."""
    return product_norm(a, b) == 0
