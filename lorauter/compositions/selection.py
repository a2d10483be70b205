"""Selection: the one adapter of the largest weight, alone. LoraRetriever's Selection (arXiv 2402.09997, section 4.2).

Knows: weights. Does not know: tasks; what a route's weights lack to 1 is the share of tasks that publish the base.
"""

from __future__ import annotations

from lorauter.compositions.base import Composed, summed
from lorauter.routing.routes import Mixture


class Selection:
    """The heaviest adapter with weight 1, by key where two are equal; the base where its share is larger."""

    name = "selection"

    def compose(self, mixture: Mixture) -> Composed:
        """At most one adapter."""
        members = summed(mixture)
        if not members:
            return Composed(())
        key, heaviest = members[0]
        base = 1 - sum(weight for _, weight in members)
        return Composed(() if base > heaviest else ((key, 1.0),))
