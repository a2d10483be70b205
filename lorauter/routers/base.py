"""The base alone: a control. Knows nothing of queries or tasks."""

from __future__ import annotations

from collections.abc import Sequence

from lorauter.routing.routes import Masked, Route


class BaseRouter:
    """Every query goes to the base without an adapter."""

    name = "base"

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """An empty mixture a query."""
        return [Route(()) for _ in queries]
