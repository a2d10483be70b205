"""Races: what is evaluated, what is written, and how a later run goes on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from catalog.tasks.answer import Failed
from catalog.tasks.task import Example, Task
from flows.screen.progress import Advance
from lorauter.racing.evaluation import BASE, Evaluation
from lorauter.racing.race import Entrance, Finish, current_races, run_races
from lorauter.racing.strategies import Exhaustive, Racing

POOL = [f"org/a{n}@1" for n in range(6)]
TASKS = [Task(name, "exact_match", tuple(Example(f"{name}{n}", "yes") for n in range(30))) for name in ("p", "q")]
GOOD = {("p", POOL[1]): 0.9, ("q", POOL[4]): 0.9}  # everybody else is right one time in ten


@dataclass
class World:
    """Evaluations with a fixed outcome each; remembers which were asked for."""

    hopeless: frozenset[str] = frozenset()
    asked: list[Evaluation] = field(default_factory=list)
    rungs: list[int] = field(default_factory=list)

    def evaluate(self, wanted: Sequence[Evaluation], advance: Advance) -> list[float | Failed]:
        self.asked += wanted
        advance(len(wanted))
        return [Failed("broken") if one.adapter in self.hopeless else _outcome(one) for one in wanted]

    @contextmanager
    def rung(self, evaluations: int, who: str) -> Any:
        self.rungs.append(evaluations)
        yield lambda _: None

    def of(self, adapters: set[str]) -> set[str]:
        """Who among these was asked about."""
        return {one.adapter for one in self.asked} & adapters


def _outcome(one: Evaluation) -> float:
    chance = np.random.default_rng([*f"{one.task.name}{one.adapter}{one.example.input}".encode()]).random()
    return float(chance < GOOD.get((one.task.name, one.adapter), 0.1))


def race(world: World, pool: Sequence[str] = POOL, earlier: Sequence[Finish] = ()) -> list[Finish]:
    """A run after earlier ones, whose finishes are given oldest first."""
    written = {finish.rows[0].race: finish.rows for finish in earlier}
    begun = [Entrance(task, task.validation, f"race-{task.name}") for task in TASKS]
    entrances = current_races(begun, pool, lambda names: {name: written[name] for name in names if name in written})
    return run_races(entrances, pool, Racing(), None, world.evaluate, world)


def test_the_best_of_each_task_wins_and_every_row_says_why() -> None:
    world = World()

    finishes = race(world)

    assert [finish.best for finish in finishes] == [POOL[1], POOL[4]]
    rows = [row for finish in finishes for row in finish.rows]
    assert {row.adapter for row in rows} == {BASE, *POOL}
    assert sum(row.kept for row in rows if row.adapter in (POOL[0], BASE)) <= 2
    assert all(row.why for row in rows)
    assert sum(world.rungs) == len(world.asked) == sum(len(v) for f in finishes for v in f.scores.values())


def test_a_later_run_of_the_same_pool_evaluates_nothing_new_and_writes_nothing() -> None:
    first = race(World())
    world = World()

    again = race(world, earlier=first)

    assert [(f.best, f.scores, f.new) for f in again] == [(f.best, f.scores, 0) for f in first]
    assert world.rungs == []


def test_a_newcomer_costs_its_own_evaluations_and_the_leaders() -> None:
    first = race(World(), POOL[:4] + POOL[5:])
    known = {(row.task, row.adapter): row.n for f in first for row in f.rows}
    world = World()

    second = race(world, POOL, first)

    met = {(f.task.name, key): len(values) for f in second for key, values in f.scores.items()}
    grown = {cell for cell, n in met.items() if n > known.get(cell, 0)}
    assert [finish.best for finish in second] == [POOL[1], POOL[4]]
    assert {("p", POOL[4]), ("q", POOL[4])} <= grown
    assert grown <= {("p", POOL[4]), ("q", POOL[4]), ("p", POOL[1]), ("q", first[1].best)}
    assert [row.rung for row in second[1].rows][: len(first[1].rows)] == [row.rung for row in first[1].rows]


def test_where_the_winner_is_gone_the_others_race_for_its_place_as_if_it_had_never_been_there() -> None:
    first, left = race(World()), [key for key in POOL if key != POOL[1]]

    second = race(World(), left, first)

    alone = race(World(), left)
    assert (second[0].best, second[0].scores) == (alone[0].best, alone[0].scores)
    assert [(finish.best, finish.new) for finish in second[1:]] == [(first[1].best, 0)]
    assert [row.rung for row in second[0].rows][:1] == [1]


def test_a_winner_that_comes_back_finds_its_race_as_it_left_it() -> None:
    first, left = race(World()), [key for key in POOL if key != POOL[1]]
    second = race(World(), left, first)
    world = World()

    third = race(world, POOL, [*first, *second])

    assert [(f.best, f.scores, f.rows, f.new) for f in third] == [(f.best, f.scores, f.rows, 0) for f in first]
    assert world.rungs == []
    again = race(world, left, [*first, *second, *third])
    assert [(f.best, f.rows, f.new) for f in again] == [(f.best, f.rows, 0) for f in second]
    assert world.rungs == []


def test_who_came_while_the_winner_was_gone_races_it_when_it_comes_back() -> None:
    first = race(World(), POOL[1:4])
    second = race(World(), [POOL[0], *POOL[2:4]], first)

    third = race(World(), POOL[:4], [*first, *second])

    assert third[0].best == POOL[1]
    assert {row.adapter for row in third[0].rows[-third[0].new :]} <= {POOL[0], POOL[1]}
    assert third[0].scores[POOL[0]] != ()


def test_one_that_could_not_be_run_is_not_tried_again_in_the_race_for_the_winners_place() -> None:
    hopeless = frozenset({POOL[2]})
    first, world = race(World(hopeless)), World(hopeless)

    second = race(world, [key for key in POOL if key != POOL[1]], first)

    assert (world.of({POOL[2]}), POOL[2] in second[0].scores) == (set(), False)


def test_one_that_cannot_be_run_is_out_as_if_it_had_never_been_there() -> None:
    with_it = race(World(frozenset({POOL[2]})))
    without = race(World(), [key for key in POOL if key != POOL[2]])

    assert [(f.best, f.scores) for f in with_it] == [(f.best, f.scores) for f in without]
    assert [(r.task, r.n, r.why) for f in with_it for r in f.rows if r.adapter == POOL[2]] == [
        ("p", 0, "quarantined: broken"),
        ("q", 0, "quarantined: broken"),
    ]


def test_one_that_could_not_be_run_is_not_tried_again() -> None:
    first = race(World(frozenset({POOL[2]})))
    world = World()

    second = race(world, earlier=first)

    assert (world.of({POOL[2]}), [f.best for f in second]) == (set(), [f.best for f in first])


def test_one_that_an_older_engine_could_not_run_races_as_a_newcomer(monkeypatch: pytest.MonkeyPatch) -> None:
    first = race(World(frozenset({POOL[1]})))
    monkeypatch.setattr("lorauter.racing.race.SERVING_VERSION", "newer")

    second = race(World(), earlier=first)

    world = World()
    third = race(world, earlier=second)
    assert [f.best for f in second] == [f.best for f in race(World())]
    assert [(f.best, f.new) for f in third] == [(f.best, 0) for f in second]
    assert world.rungs == []


def test_one_that_the_newer_engine_cannot_run_either_is_tried_once_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    hopeless = frozenset({POOL[1]})
    first = race(World(hopeless))
    monkeypatch.setattr("lorauter.racing.race.SERVING_VERSION", "newer")
    second = race(World(hopeless), earlier=first)
    world = World(hopeless)

    third = race(world, earlier=second)

    assert [(f.best, f.new) for f in third] == [(f.best, 0) for f in first]
    assert world.of({POOL[1]}) == set()


def test_of_equals_the_base_wins_then_the_tasks_own_then_the_first() -> None:
    def best(values: dict[str, float], own: str | None) -> str:
        task = Task("t", "exact_match", (Example("a", "b"), Example("c", "d")), adapter=own)
        entrance = Entrance(task, task.validation, "race")
        world = World()

        def evaluate(wanted: Sequence[Evaluation], _: Advance) -> list[float | Failed]:
            return [values.get(one.adapter, 1.0) for one in wanted]

        return run_races([entrance], ["x/a@1", "x/b@1"], Exhaustive(), None, evaluate, world)[0].best

    assert best({}, "x/b") == BASE
    assert best({BASE: 0.0}, "x/b") == "x/b@1"
    assert best({BASE: 0.0}, None) == "x/a@1"


@pytest.mark.parametrize("pool", [[], POOL[:1]], ids=["no adapter", "one"])
def test_small_pools_race_too(pool: list[str]) -> None:
    finishes = race(World(), pool)

    assert [set(finish.scores) for finish in finishes] == [{BASE, *pool}] * 2
