"""A package's composition with what it gives checked: a fault names the package, and reaches neither engine nor ledger.

Knows: what a composition may serve. Does not know: packages' metadata (catalog/plugins), how anything is composed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from catalog.plugins import Origin
from lorauter.adapters.weights import LoraPair
from lorauter.compositions.base import Composed, Composition, CompositionOptions
from lorauter.compositions.parts import Part
from lorauter.routing.routes import Mixture

MakeComposition = Callable[[CompositionOptions], Composition]


def guarded(make: MakeComposition, origin: Origin) -> MakeComposition:
    """Makes a package's composition, checked."""

    def made(options: CompositionOptions) -> Composition:
        with origin.blamed():
            composition = make(options)
            return _Guarded(composition.name, composition, origin)

    return made


@dataclass(frozen=True, slots=True)
class _Guarded:
    """A composition that serves a route's own adapters, or one new one, by numbers."""

    name: str
    composition: Composition
    origin: Origin

    def compose(self, mixture: Mixture) -> Composed:
        """As the package's, checked."""
        with self.origin.blamed():
            composed = self.composition.compose(mixture)
            merge = composed.merge
            known = {key for key, _ in mixture} | ({merge.key} if merge else set())
            strange = [pair for pair in composed.mixture if pair[0] not in known or not math.isfinite(pair[1])]
        if strange:
            key, weight = strange[0]
            raise self.origin.fault(
                f"serves {key!r} at weight {weight}, and the route has {[key for key, _ in mixture]}"
            )
        if merge is None:
            return composed

        def pair(parts: Sequence[Part]) -> LoraPair:
            with self.origin.blamed():
                return merge.pair(parts)

        return replace(composed, merge=replace(merge, pair=pair))
