"""What is asked of a batch of answers, checked by its words alone: before Prefect starts and before anything is loaded.

Knows: routers, compositions, decoding and bounds by name. Does not know: queries, snapshots, models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lorauter.compositions import MIXTURE, spelled
from lorauter.compositions.base import CompositionOptions
from lorauter.engine.decoding import STOPS, Decoding, decoding_of, stops_of
from lorauter.routers import MAJORITY, ROUTERS, refuse_gates
from warehouse.queries.queries import NEW_TOKENS, check_new_tokens


def checked_answers(
    routers: Sequence[str],
    compose: str = MIXTURE,
    density: float = 0.5,
    sampling: Mapping[str, Any] | None = None,
    stop: str | Sequence[str] = STOPS,
    max_new_tokens: int = NEW_TOKENS,
) -> tuple[str, Decoding]:
    """The composition, spelled, and the decoding. Args: as of `flows.answer_batch.answer_batch`.

    Raises:
        SettingError: a router or a composition does not exist, they do not go together, or a number makes no sense.
    """
    for router in routers:
        ROUTERS.check(router, (MAJORITY,))
    check_new_tokens(max_new_tokens)
    if compose != MIXTURE:
        refuse_gates(routers, "composed: it sums outputs by itself", "Leave --compose at mixture")
    stops_of(stop)
    return spelled(compose, CompositionOptions(density=density)), decoding_of(sampling or {})
