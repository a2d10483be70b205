"""Trained gates over the adapters of a query's nearest tasks: RAMoLE (arXiv 2406.16989), LoRA-Flow (arXiv 2402.11455).

Knows: which candidates a query gets. Does not know: how a gate weighs them (lorauter/gates), how near is measured, how
gates are trained (lorauter/train).

RAMoLE has one gate for all tasks, over the published adapters of the K nearest; the paper retrieves by LoraRetriever,
here LORAUTER's similarity does. LoRA-Flow has a gate for each task, trained on a few of its examples; a query takes the
nearest task's, as LoraHub's router does with its mixtures. That is ours: in the paper a user brings the examples.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lorauter.gates.from_state import flow_candidates
from lorauter.gates.named import named_gate
from lorauter.gates.protocol import GatedRoute, NamedGate
from lorauter.routers.lazy import LazyRouter
from lorauter.routers.task_embedding import TaskEmbeddingRouter
from lorauter.routing.routes import Masked, Route, Routed, Router

if TYPE_CHECKING:
    from lorauter.routers import RouterParts


class RetrievedGateRouter:
    """A gate over candidates that the nearest tasks give; the base alone where there are none.

    Args:
        name: the gate's.
        nearest: routes by tasks, nearest first.
        gate_of: the gate of one of its routes, None without candidates.
    """

    def __init__(self, name: str, nearest: Router, gate_of: Callable[[Routed], NamedGate | None]) -> None:
        self.name, self._nearest, self._gate_of = name, nearest, gate_of

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Routed]:
        """One route a query, in order, with the tasks and the confidence that `nearest` gave."""
        return [self._gated(route) for route in self._nearest.route(queries, masked)]

    def _gated(self, route: Routed) -> Routed:
        gate = self._gate_of(route)
        if gate is None:
            return Route((), route.tasks, route.confidence)
        return GatedRoute(gate, route.tasks, route.confidence)


def ramole_router(parts: RouterParts) -> LazyRouter:
    """RAMoLE's gate over the published adapters of the K nearest tasks."""
    return LazyRouter("ramole", lambda: _ramole(parts))


def lora_flow_router(parts: RouterParts) -> LazyRouter:
    """The nearest task's gate, over those candidates that it was trained on and that are still in the pool."""
    return LazyRouter("lora_flow", lambda: _lora_flow(parts))


def _ramole(parts: RouterParts) -> RetrievedGateRouter:
    state = parts.state("ramole")
    nearest = TaskEmbeddingRouter(parts.index, parts.encoder, parts.options.top_k, parts.options.temperature)

    def gate_of(route: Routed) -> NamedGate | None:
        own = [key for key, _weight in route.mixture if key not in parts.doras]
        return named_gate("ramole", own, state.sha) if own else None

    return RetrievedGateRouter("ramole", nearest, gate_of)


def _lora_flow(parts: RouterParts) -> RetrievedGateRouter:
    state, pool = parts.state("lora_flow"), frozenset(parts.pool)
    candidates = flow_candidates(state)
    nearest = TaskEmbeddingRouter(parts.index, parts.encoder, 1, parts.options.temperature)

    def gate_of(route: Routed) -> NamedGate | None:
        task = route.tasks[0].task if route.tasks else ""
        own = [key for key in candidates.get(task, ()) if key in pool]
        return named_gate("lora_flow", own, state.sha, task) if own else None

    return RetrievedGateRouter("lora_flow", nearest, gate_of)
