"""Which compositions each router was published with. Knows names only; a router need not exist to have a line here."""

from __future__ import annotations

from collections.abc import Mapping

OWN_COMPOSITIONS: Mapping[str, tuple[str, ...]] = {
    "vector_database": ("linear", "cat", "ties", "magnitude_prune"),  # arXiv 2602.21222
    "loraretriever": ("selection", "mixture", "fusion"),  # arXiv 2402.09997
    "classifier": ("fusion",),  # DLP-LoRA, arXiv 2410.01497
}


def own_compositions(router: str) -> tuple[str, ...]:
    """A router's own; the output mixture where nothing else is said."""
    return OWN_COMPOSITIONS.get(router, ("mixture",))
