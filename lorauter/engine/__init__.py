"""The engine: answers for a batch whose rows each carry their own mixture of adapters.

    engine = lorauter.engine.Engine(base_dir, find_adapter=…)
    texts = engine.answer(prompts, routes)

Knows: one base on one device. Does not know: why a row has its mixture. torch is loaded with `Engine`, not before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lorauter.engine.engine import Engine

__all__ = ["Engine"]


def __getattr__(name: str) -> Any:
    if name == "Engine":
        from lorauter.engine.engine import Engine

        return Engine
    raise AttributeError(f"module 'lorauter.engine' has no attribute {name!r}")
