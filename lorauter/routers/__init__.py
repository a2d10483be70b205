"""Routers, one small file a system. `ROUTERS` maps the names people use to them.

Knows: which routers there are. Does not know: snapshots' files, engines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lorauter.routers.base import BaseRouter
from lorauter.routers.discriminant import DiscriminantRouter
from lorauter.routers.oracle import OracleRouter
from lorauter.routers.random_adapter import RandomRouter
from lorauter.routers.task_embedding import TaskEmbeddingRouter
from lorauter.routers.uniform import UniformRouter
from lorauter.routing import Router, RouterOptions

if TYPE_CHECKING:
    from lorauter.encoder import Encoder
    from lorauter.task_index import TaskIndex, TaskInputs


@dataclass(frozen=True, slots=True)
class RouterParts:
    """What a router may be built from.

    Args:
        encoder: loads the sentence encoder on its first call. inputs: reads the tasks' validation inputs.
        truth: query → its true task, for the oracle.
    """

    index: TaskIndex
    encoder: Callable[[], Encoder]
    inputs: Callable[[], TaskInputs]
    options: RouterOptions
    truth: Mapping[str, str]


ROUTERS: dict[str, Callable[[RouterParts], Router]] = {
    "lorauter": lambda p: TaskEmbeddingRouter(p.index, p.encoder, p.options.top_k, p.options.temperature),
    "discriminant": lambda p: DiscriminantRouter(p.index, p.encoder, p.inputs, p.options),
    "uniform": lambda p: UniformRouter(p.index),
    "random": lambda p: RandomRouter(p.index),
    "oracle": lambda p: OracleRouter(p.index, p.truth),
    "base": lambda p: BaseRouter(),
}
