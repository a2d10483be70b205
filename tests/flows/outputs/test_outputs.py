"""Outputs: what the ledger has is not made again, what it lacks is made by whoever runs shards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prefect import flow

from flows.outputs.outputs import Outputs, choose_runner
from flows.outputs.workers import Workers
from warehouse.ledger.ledger import Ledger
from warehouse.plans.plan import Conditions, Work, finish_shard, read_shard
from warehouse.storage.storage import FolderStorage

HERE = Conditions("tiny/llama", "a" * 40, "float32", "1")


class World:
    """A ledger and plans, and shards that answer each prompt in capitals."""

    def __init__(self, root: Path, wanted: Sequence[str]) -> None:
        self.ledger, self.plans = Ledger(root / "ledger"), FolderStorage(root / "plans")
        self.work = [Work(prompt, (), 3) for prompt in wanted]
        self.made: list[int] = []

    def make(self, plan: str, number: int) -> None:
        shard = read_shard(self.plans, plan, number)
        self.made.append(number)
        finish_shard(self.ledger, shard, [item.prompt.upper() for item in shard.work])

    def run(self, plan: str, shards: Sequence[int]) -> Iterator[int]:
        for number in reversed(shards):  # any order will do
            self.make(plan, number)
            yield number


def test_answers_come_in_the_order_of_the_work_and_only_what_is_missing_is_made(tmp_path: Path) -> None:
    first, then = World(tmp_path, ["bb", "a"]), World(tmp_path, ["ccc", "a", "dd", "bb"])
    Outputs(first.ledger, first.plans, 2, first.run).ensure(first.work, HERE, lambda _: None)
    told: list[int] = []

    answers, new = Outputs(then.ledger, then.plans, 1, then.run).ensure(then.work, HERE, told.append)

    assert (answers, new) == (["CCC", "A", "DD", "BB"], 2)
    assert (told, then.made) == ([2, 1, 1], [1, 0])
    assert then.plans.names("") == set()


def test_a_run_that_broke_goes_on_with_the_shards_that_are_left(tmp_path: Path) -> None:
    world = World(tmp_path, ["a", "bb", "ccc"])

    def broken(plan: str, shards: Sequence[int]) -> Iterator[int]:
        world.make(plan, shards[0])
        yield shards[0]
        raise OSError("the plug was pulled")

    with pytest.raises(OSError, match="plug"):
        Outputs(world.ledger, world.plans, 1, broken).ensure(world.work, HERE, lambda _: None)

    answers, new = Outputs(world.ledger, world.plans, 1, world.run).ensure(world.work, HERE, lambda _: None)

    assert (answers, new, world.made) == (["A", "BB", "CCC"], 2, [0, 2, 1])


def test_within_a_flow_shards_are_tasks_that_know_names_and_no_setting(tmp_path: Path) -> None:
    from prefect.context import TaskRunContext

    world, told = World(tmp_path, ["a", "bb"]), list[dict[str, object]]()

    def make(plan: str, number: int) -> None:
        context = TaskRunContext.get()
        assert context is not None
        told.append({"task": context.task.name, **context.parameters})
        world.make(plan, number)

    @flow(name="outputs")
    def outputs() -> list[object]:
        run = choose_runner("here", make, Workers(world.ledger, world.plans, {}), tmp_path)
        return list(Outputs(world.ledger, world.plans, 1, run).ensure(world.work, HERE, lambda _: None)[0])

    assert outputs() == ["A", "BB"]
    assert [{**one, "plan": ""} for one in told] == [
        {"task": "score-shard", "plan": "", "shard": 0},
        {"task": "score-shard", "plan": "", "shard": 1},
    ]
