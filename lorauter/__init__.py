"""Route queries by task embeddings and answer them with the adapters that did best on those tasks.

    router = lorauter.load("…/snapshots/<id>")
    routes = router.route(["Which animal is it?"])
    engine = lorauter.engine.Engine(base_dir, find_adapter=…)
    texts = engine.answer(prompts, routes)

Knows: encoders, routers, the batch engine. Does not know: hubs' listings, flows, tables. torch is imported
only by the modules that need it.
"""

from __future__ import annotations

from typing import Any

__all__ = ["load"]


def __getattr__(name: str) -> Any:
    if name == "load":  # imports numpy and pyarrow: only where it is used
        from lorauter.loading import load

        return load
    raise AttributeError(f"module 'lorauter' has no attribute {name!r}")
