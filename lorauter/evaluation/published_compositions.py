"""Published compositions: how the routes of each router are composed in its paper.

Knows: names. Does not know: how anything is composed. A package's router says it by an attribute `compositions`.
"""

from __future__ import annotations

from collections.abc import Mapping

from lorauter.compositions import MIXTURE
from lorauter.routers import ROUTERS

PUBLISHED_COMPOSITIONS: Mapping[str, tuple[str, ...]] = {
    "vector_database": ("linear", "cat", "ties", "magnitude_prune"),  # arXiv 2602.21222
    "loraretriever": ("selection", "mixture", "fusion"),  # arXiv 2402.09997
    "classifier": ("fusion",),  # DLP-LoRA, arXiv 2410.01497
    "dlp_lora": ("fusion",),
}


def published_compositions(router: str) -> tuple[str, ...]:
    """A router's own; the output mixture where nothing else is said."""
    if router in ROUTERS.built_in:
        return PUBLISHED_COMPOSITIONS.get(router, (MIXTURE,))
    return tuple(getattr(ROUTERS[router], "compositions", (MIXTURE,)))
