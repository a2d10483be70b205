"""Output mixture: y = Wx + Σ_a w_a ΔW_a x. LORAUTER's (arXiv 2601.21795) and LoraRetriever's Mixture (2402.09997).

Knows: that the engine mixes outputs by itself, exactly, for any ranks, targets and DoRA. Does not know: how.
"""

from __future__ import annotations

from lorauter.compositions.base import Composed, summed
from lorauter.routing.routes import Mixture


class OutputMixture:
    """All of the route's adapters with their weights."""

    name = "mixture"

    def compose(self, mixture: Mixture) -> Composed:
        """The mixture itself, in canonical order."""
        return Composed(summed(mixture))
