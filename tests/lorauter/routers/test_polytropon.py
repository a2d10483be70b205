"""`mhr` and `poly`: the nearest task's adapter, named by the state that makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from catalog.errors import SettingError
from lorauter.routers import ROUTERS, RouterParts
from lorauter.routing.routes import RouterOptions
from lorauter.routing.task_index import EncoderId, TaskIndex
from lorauter.trained.state import TrainedState

TASKS = ("colours", "ways")
STATE = TrainedState({}, {"router": "mhr", "outputs": ["ways", "colours"]})


class Named:
    """Embeds a text at the task that it names, a little off."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.asarray([[0.8, 0.6] if text == "colours" else [0.0, 1.0] for text in texts], dtype=np.float32)


@pytest.fixture
def parts() -> RouterParts:
    index = TaskIndex("b", "1", TASKS, np.eye(2, dtype=np.float32), ("c@1", ""), (None, None), EncoderId("e", "s", "h"))
    return RouterParts(
        index,
        Named,  # type: ignore[arg-type, return-value]
        lambda: None,  # type: ignore[arg-type, return-value]
        RouterOptions(top_k=2),
        {},
        state={"mhr": STATE, "poly": STATE}.__getitem__,
    )


@pytest.mark.parametrize("name", ["mhr", "poly"])
def test_a_query_goes_to_its_nearest_tasks_adapter_also_where_the_task_publishes_the_base(
    name: str, parts: RouterParts
) -> None:
    routes = ROUTERS[name](parts).route(["colours", "ways"])

    assert [route.mixture for route in routes] == [
        ((f"{name}:colours@{STATE.sha}", 1.0),),
        ((f"{name}:ways@{STATE.sha}", 1.0),),
    ]
    assert [(route.tasks[0].task, round(route.confidence, 2)) for route in routes] == [("colours", 0.8), ("ways", 1.0)]


def test_a_masked_tasks_logits_are_not_used(parts: RouterParts) -> None:
    (route,) = ROUTERS["mhr"](parts).route(["colours"], ["colours"])

    assert route.mixture == ((f"mhr:ways@{STATE.sha}", 1.0),)


def test_an_untrained_router_says_what_to_do(parts: RouterParts) -> None:
    untrained = ROUTERS["mhr"](replace(parts, state=RouterParts.__dataclass_fields__["state"].default))

    with pytest.raises(SettingError, match="Train it: lorauter fit mhr"):
        untrained.route(["ways"])
