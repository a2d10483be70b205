"""Compositions: from a route's weighted set of adapters to what the engine serves for it.

Knows: the protocol that every composition keeps, and that a new adapter is named by what it is made of.
Does not know: any composition; engines; where adapters come from.

A composition either keeps the adapters apart (output mixture, selection: no new weights), or merges them into one
new adapter. The merge's key is known before any weights are read, so one that a bank already holds costs nothing:

    batch = compose_all(composition, [route.mixture for route in routes])
    for key, merge in batch.merges.items():                     # each distinct merge once
        if key not in bank.keys:
            bank.add(key, merge.weights(read))                  # read: adapter key → AdapterWeights
    engine.generate(prompts, batch.mixtures, …)

Weights are used as they are given. A route's weights add up to 1 less the share of tasks that publish the base.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from catalog.errors import SettingError
from catalog.tasks.task import content_hash
from lorauter.adapters.weights import AdapterWeights, LoraPair
from lorauter.compositions.parts import Part, parts_by_module
from lorauter.routing.routes import Mixture, added_up, mixture_of

MAJORITIES = ("total", "frequency")
MergePair = Callable[[Sequence[Part]], LoraPair]
"""What the members bring to one module (at least one of them) → the new adapter there."""


@dataclass(frozen=True, slots=True)
class CompositionOptions:
    """Constants of the merges.

    Args:
        density: share of the entries that trimming (TIES, magnitude prune) or dropping (DARE) keeps, in (0, 1]. The
            papers go lower, TIES (arXiv 2306.01708) to 0.2 and DARE (2311.03099) to 0.1, but on whole ΔWs: here A and B
            are thinned apart, and DARE's noise is multiplied.
        majority: how TIES elects a sign: "total" by the sum of the entries, as the paper, or "frequency" by their
            number.
        seed: of DARE's random drop.

    Raises:
        SettingError: one of them is out of range.
    """

    density: float = 0.5
    majority: str = "total"
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.density <= 1:
            raise SettingError(f"density is {self.density}.", "Use a share above 0, and 1 to keep everything.")
        if self.majority not in MAJORITIES:
            raise SettingError(f"majority is {self.majority!r}.", f"Use {' or '.join(MAJORITIES)}.")


@dataclass(frozen=True, slots=True)
class Merge:
    """One new adapter, to be made when it is needed.

    Args:
        key: `name:hash` of the composition, its settings and the members with their weights. Members' keys carry
            commits, so equal keys mean equal weights.
        members: at least one adapter.
        pair: how the members' parts at one module become one pair.
    """

    key: str
    members: Mixture
    pair: MergePair

    def weights(self, read: Callable[[str], AdapterWeights]) -> AdapterWeights:
        """The new adapter: fp32 on the CPU, scaling 1; at every module that a member touches (missing is ΔW = 0).

        Args:
            read: gives the adapter of a key.

        Raises:
            UnsupportedAdapter: a member is a DoRA, or members do not fit each other at a module; the cause names
                composition, member and module. Whatever `read` raises.
        """
        members = [(key, weight, read(key)) for key, weight in self.members]
        name = self.key.partition(":")[0]
        return AdapterWeights({m: self.pair(parts) for m, parts in parts_by_module(name, members).items()})


@dataclass(frozen=True, slots=True)
class Composed:
    """What the engine serves for one route.

    Args:
        mixture: for the engine; over the route's own adapters, or the merge's key with weight 1.
        merge: how that key's adapter is made; None where the mixture needs no new one.
    """

    mixture: Mixture
    merge: Merge | None = None


@dataclass(frozen=True, slots=True)
class ComposedBatch:
    """What the engine serves for a batch: a mixture a row, and the new adapters by key."""

    mixtures: list[Mixture]
    merges: dict[str, Merge]


class Composition(Protocol):
    """Anything that composes. One small file each under lorauter/compositions/."""

    @property
    def name(self) -> str:
        """The name people use for it."""

    def compose(self, mixture: Mixture) -> Composed:
        """What to serve for a weighted set of adapters; reads no weights. The empty set is the base."""
        ...


@dataclass(frozen=True, slots=True)
class Merging:
    """A composition that makes one new adapter of several.

    A single member is served as it is, with its weight: that is what PEFT's merges come to with one adapter
    (it ignores density there), and it is exact for a DoRA too.

    Args:
        settings: the options that decide the weights, for the key.
    """

    name: str
    settings: Mapping[str, object]
    pair: MergePair

    def compose(self, mixture: Mixture) -> Composed:
        """A mixture of one new adapter; the members in any order, one named twice, make the same one."""
        members = summed(mixture)
        if len(members) < 2:
            return Composed(members)
        merge = self.merge(members)
        return Composed(((merge.key, 1.0),), merge)

    def merge(self, members: Mixture) -> Merge:
        """The new adapter of one or more members, each named once."""
        digest = content_hash([self.name, self.settings, [list(member) for member in members]])
        return Merge(f"{self.name}:{digest}", members, self.pair)


def compose_all(composition: Composition, mixtures: Sequence[Mixture]) -> ComposedBatch:
    """Composes every row of a batch; rows with equal mixtures share their merge."""
    rows = [composition.compose(mixture) for mixture in mixtures]
    merges = {row.merge.key: row.merge for row in rows if row.merge is not None}
    return ComposedBatch([row.mixture for row in rows], merges)


def summed(mixture: Mixture) -> Mixture:
    """The mixture in canonical order, a key named twice added up, without weights of 0."""
    return mixture_of(added_up(mixture))
