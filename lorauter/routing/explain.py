"""Why a query goes where it goes, as one object that JSON can hold.

Knows: a route, the snapshot behind it, the filters, what has gone from the hub. Does not know: how a router weighs,
how the object is shown (flows/screen/explained_route). Downloads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from catalog.adapters.adapter import AdapterId
from lorauter.routing.fallback import without
from lorauter.routing.filters import filters_of, refused
from lorauter.routing.routes import Routed, RouterOptions, TaskMatch, added_up
from lorauter.routing.task_index import load_index
from lorauter.trained.task_adapters import read_task_key
from warehouse.records.published import AdapterRow, BestRow, ScoreRow, read_published
from warehouse.records.published_tasks import scored_evidence
from warehouse.snapshots.snapshot import Snapshot

OTHERS = 3  # runners-up told a task
CONFIDENCE = {
    "lorauter": "cosine of the query to the nearest task, in [-1, 1]; no probability",
    "discriminant": "probability that the query's own task is in the snapshot, calibrated on held-out inputs",
    "relatives": "probability that the query's own task is in the snapshot, calibrated on held-out inputs",
    "vector_database": "cosine of the query to the nearest validation input, in [-1, 1]; no probability",
    "loraretriever": "inner product of the query with the nearest task's mean input; no probability",
    "classifier": "probability of the likeliest task, were the query of one of them",
    "mhr": "cosine of the query to the nearest task, in [-1, 1]; no probability",
    "poly": "cosine of the query to the nearest task, in [-1, 1]; no probability",
    "dlp_lora": "probability of the likeliest task, were the query of one of them",
    "ramole": "cosine of the query to the nearest task, in [-1, 1]; no probability",
    "lora_flow": "cosine of the query to the nearest task, in [-1, 1]; no probability",
    "two_stage": "cosine of the query to the nearest task in the trained projection, in [-1, 1]; no probability",
    "clusters": "cosine of the query to the nearest cluster of validation inputs, in [-1, 1]; no probability",
    "oracle": "the true task was told",
}
DRAWN_FROM_ALL = ("uniform", "random")  # routers of what any task publishes
_UNCONFIRMED = "the race's choice gains nothing on examples that did not choose it"
_SET_ASIDE = "set aside: it gains nothing on examples that did not choose it"
_PUBLISHED = (
    *("adapter", "score", "standard_error", "n", "base_score", "lift", "lift_standard_error", "format", "base_format"),
)
_MET = ("adapter", "n", "mean", "standard_error", "lift", "lift_standard_error", "lift_n", "rung", "why", "format")


class Explainer:
    """Explains routes by one snapshot.

    Args:
        base: whose adapters are routed to.
        router: name of the router whose routes they are.
        options: what it was asked for.
        gone: repos that the hub holds no longer, with the reason.
        endpoint: address of the hub, where an adapter's page is.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        base: str,
        router: str,
        options: RouterOptions,
        gone: Mapping[str, str],
        endpoint: str,
    ) -> None:
        self._snapshot, self._base, self._router, self._options = snapshot, base, router, options
        self._gone, self._endpoint = gone, endpoint.rstrip("/")
        self._refused = refused(snapshot, base, options)
        left = without(load_index(snapshot, base), snapshot, self._refused)
        own = left.declared if router == "oracle" else (None,) * len(left.tasks)
        used = (best if own is None else own for own, best in zip(own, left.best, strict=True))
        self._used = dict(zip(left.tasks, used, strict=True))
        self._best = {row.task: row for row in read_published(snapshot, BestRow, base)}
        self._adapters = {row.adapter: row for row in read_published(snapshot, AdapterRow, base)}
        self._evidence = scored_evidence(snapshot, base)
        self._met: dict[str, list[ScoreRow]] = {}
        scores = read_published(snapshot, ScoreRow, base)
        for row in sorted(scores, key=lambda row: (-row.mean, -row.n, row.adapter)):
            self._met.setdefault(row.task, []).append(row)

    def explain(self, text: str, route: Routed, following: tuple[str, float] | None = None) -> dict[str, Any]:
        """All that is known of a route; numbers that do not exist are None.

        Args:
            following: the task just below those of the route, with its similarity.
        """
        gate = getattr(route, "gate", None)  # as in flows/answer/route_texts
        weights = dict.fromkeys(gate.adapters) if gate else added_up(route.mixture)
        used = self._used | {made.path: key for key in weights if (made := read_task_key(key))}
        told = {
            "text": text,
            "router": self._router,
            "base": self._base,
            "snapshot": self._snapshot.id,
            "filters": filters_of(self._options),
            "confidence": route.confidence,
            "confidence_means": CONFIDENCE.get(self._router, "") if math.isfinite(route.confidence) else "",
            "weights": "by token" if gate else "by query",
            "base_because": None if weights else self._why_base(route),
            "base_weight": None if gate else self._base_weight(route, used),
            "tasks": [self._task(match, used[match.task]) for match in route.tasks],
            "next_task": {"task": following[0], "similarity": following[1]} if following else None,
            "adapters": [self._adapter(key, weight, route, used) for key, weight in weights.items()],
        }
        return {name: _finite(value) for name, value in told.items()}

    def _why_base(self, route: Routed) -> str:
        if not route.tasks:
            return "the router knows no other" if self._router == "base" else "no adapter may be used"
        if not any(match.weight for match in route.tasks):
            return "the query is too far from every task"
        return "for none of its tasks is there an adapter that may be used and improves on the base"

    def _base_weight(self, route: Routed, used: Mapping[str, str]) -> float:
        if not route.mixture:
            return 1.0
        return sum((match.weight for match in route.tasks if not used[match.task]), 0.0)

    def _weighed(self, route: Routed) -> list[str]:
        """The tasks that brought adapters into a route."""
        if self._router in DRAWN_FROM_ALL:
            return list(self._used)
        return [match.task for match in route.tasks if match.weight]

    def _task(self, match: TaskMatch, used: str) -> dict[str, Any]:
        best, met = self._best[match.task], self._met.get(match.task, [])
        others = [row for row in met if row.adapter not in ("", used)]
        passed = [row for row in others if row.adapter not in self._refused]
        filtered = [row for row in others if row.adapter in self._refused]
        return {
            "task": match.task,
            "similarity": match.similarity,
            "weight": match.weight,
            "published": {**{name: getattr(best, name) for name in _PUBLISHED}, **self._known_from(best)},
            "used": used,
            "used_because": self._why_used(best, used),
            "selection": next((self._score(row, best) for row in met if row.adapter == used), None),
            "others": [self._score(row, best) for row in passed[:OTHERS]],
            "others_scored": len(passed),
            "filtered": [self._score(row, best) for row in filtered[:OTHERS]],
            "filtered_scored": len(filtered),
        }

    def _why_used(self, best: BestRow, used: str) -> str:
        published = best.adapter
        if read_task_key(used) is not None:
            return "made of what its router has learned"
        if used == published:
            return "published" if used else _UNCONFIRMED if best.set_aside else "no adapter improves on the base"
        if published in self._refused:
            return "next best that passes the filters" if used else "no adapter that passes the filters has a lift"
        return "the task's own"

    def _score(self, row: ScoreRow, best: BestRow) -> dict[str, Any]:
        told = {name: getattr(row, name) for name in _MET}
        if row.adapter and row.adapter == best.set_aside:
            told["why"] = f"{_SET_ASIDE}; {row.why}"
        return {**told, **self._known_from(row), **self._standing(row.adapter)}

    def _known_from(self, row: BestRow | ScoreRow) -> dict[str, str | None]:
        """Where it is known from that an adapter was trained in the format that it was asked in."""
        evidence = self._evidence(row.adapter, row.format)
        return {"format_source": evidence.source if evidence else None}

    def _standing(self, key: str) -> dict[str, Any]:
        """Whether an adapter may and can still be used: why not, else None."""
        return {"filtered": self._refused.get(key), "gone": self._gone.get(AdapterId.parse(key).repo)}

    def _adapter(self, key: str, weight: float | None, route: Routed, used: Mapping[str, str]) -> dict[str, Any]:
        adapter, row = AdapterId.parse(key), self._adapters.get(key)
        on_hub = read_task_key(key) is None  # else a trained state made it
        address = "/".join((adapter.repo, "tree", adapter.sha, *([adapter.path] if adapter.path else [])))
        return {
            "adapter": key,
            "weight": weight,
            "tasks": [task for task in self._weighed(route) if used[task] == key],
            "author": adapter.repo.partition("/")[0] if on_hub else None,
            "commit": adapter.sha,
            "page": f"{self._endpoint}/{quote(address)}" if on_hub else None,
            **{name: getattr(row, name, None) for name in ("licence", "size", "rank", "downloads")},
            "gone": self._standing(key)["gone"],
        }


def _finite(value: Any) -> Any:
    """The same with None for nan and infinity, which JSON lacks."""
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
