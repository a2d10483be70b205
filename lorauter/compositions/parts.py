"""What the members of a merge bring to each module, and whether they fit each other there.

Knows: shapes, ranks, DoRA. Does not know: how parts are merged (one file each), what members are for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights, LoraPair


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One member at one module: weight · ΔW = weight · scaling · B A.

    Args:
        merge: name of the composition, for refusals.
        key: of the member.
        module: dotted name in the base.
        weight: of the member in the route.
        scaling: see LoraPair.
        a: (r, d_in), fp32.
        b: (d_out, r), fp32.
    """

    merge: str
    key: str
    module: str
    weight: float
    scaling: float
    a: torch.Tensor
    b: torch.Tensor


def parts_by_module(merge: str, members: Sequence[tuple[str, float, AdapterWeights]]) -> dict[str, list[Part]]:
    """The members' parts by module, in the order of the members; a module has those that touch it.

    Raises:
        UnsupportedAdapter: a member is a DoRA, or two have other shapes at a module.
    """
    modules: dict[str, list[Part]] = {}
    for key, weight, weights in members:
        for name, pair in weights.modules.items():
            modules.setdefault(name, []).append(_part(merge, key, name, weight, pair))
    for parts in modules.values():
        _refuse_other_shapes(parts)
    return modules


def one_rank(parts: Sequence[Part]) -> None:
    """Refuses parts of unequal ranks, for merges that add up A and B entry by entry.

    Raises:
        UnsupportedAdapter: names the two members, their ranks and the module.
    """
    first = parts[0]
    other = next((part for part in parts if part.a.shape[0] != first.a.shape[0]), None)
    if other is not None:
        raise UnsupportedAdapter(
            f"{first.key} has rank {first.a.shape[0]} and {other.key} rank {other.a.shape[0]} at {first.module}: "
            f"{first.merge} adds A to A and B to B and needs one rank.",
            "Compose by mixture or cat, which take any ranks.",
        )


def _part(merge: str, key: str, module: str, weight: float, pair: LoraPair) -> Part:
    if pair.magnitude is not None:
        raise UnsupportedAdapter(
            f"{key} is a DoRA, which {merge} cannot merge: its rows are rescaled by the norm of base and adapter "
            "together.",
            "Compose by mixture or selection, which serve it exactly, or leave it out of the pool.",
        )
    return Part(merge, key, module, weight, pair.scaling, pair.a.float(), pair.b.float())


def _refuse_other_shapes(parts: Sequence[Part]) -> None:
    first = parts[0]
    for part in parts[1:]:
        if (part.b.shape[0], part.a.shape[1]) != (first.b.shape[0], first.a.shape[1]):
            raise UnsupportedAdapter(
                f"{first.key} and {part.key} have different shapes at {first.module}: "
                f"{(first.b.shape[0], first.a.shape[1])} and {(part.b.shape[0], part.a.shape[1])}.",
                "Check that both were trained on this base.",
            )
