"""Formats: an adapter is asked in the format that it was trained in, found with few evaluations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from catalog.formats.filled import FilledFormat
from catalog.tasks.answer import Failed
from catalog.tasks.task import Example, Task
from flows.screen.progress import Advance
from lorauter.racing.evaluation import BASE, Evaluation
from lorauter.racing.formats import Chosen, FormatTrials
from lorauter.racing.race import Entrance, Finish, current_races, run_races
from lorauter.racing.strategies import Racing

CHAT, ALPACA = FilledFormat("chatml", "<user>{input}<me>", ("<end>",)), FilledFormat("alpaca", "# {input} #")
POOL = [f"org/a{n}@1" for n in range(4)]
TASKS = [Task(name, "exact_match", tuple(Example(f"{name}{n}", "yes") for n in range(40))) for name in "pqrstu"]


@dataclass
class World:
    """Adapters that are right with a chance that depends on the format they are asked in; 0.1 where none is told."""

    right: Mapping[tuple[str, str | None], float]
    tasks: Sequence[Task] = field(default_factory=lambda: TASKS)
    hopeless: str = "nobody"
    asked: list[Evaluation] = field(default_factory=list)

    def evaluate(self, wanted: Sequence[Evaluation], advance: Advance) -> list[float | Failed]:
        self.asked += wanted
        return [Failed("broken") if one.adapter == self.hopeless else self._outcome(one) for one in wanted]

    def _outcome(self, one: Evaluation) -> float:
        name = one.format.name if one.format else None
        luck = np.random.default_rng([*f"{one.task.name}{one.adapter}{one.example.input}".encode()]).random()
        return float(luck < self.right.get((one.adapter, name), 0.1))

    @contextmanager
    def rung(self, evaluations: int, who: str) -> Any:
        yield lambda _: None

    def choose(
        self,
        others: Mapping[str, Sequence[FilledFormat]],
        pool: Sequence[str] = POOL,
        likeness: Mapping[str, Any] | None = None,
    ) -> Chosen:
        examples = [[Evaluation(task, BASE, example) for example in task.validation] for task in self.tasks]
        return FormatTrials(examples, likeness, self.evaluate, self).choose(pool, others)

    def race(
        self,
        others: Mapping[str, Sequence[FilledFormat]],
        pool: Sequence[str] = POOL,
        earlier: Sequence[Finish] = (),
    ) -> list[Finish]:
        """A run after an earlier one."""
        return self.run(self.choose(others, pool), pool, earlier)

    def run(self, chosen: Chosen, pool: Sequence[str], earlier: Sequence[Finish] = ()) -> list[Finish]:
        """The race alone, in formats that are chosen."""
        written = {finish.rows[0].race: finish.rows for finish in earlier}
        begun = [Entrance(task, task.validation, f"race-{task.name}") for task in self.tasks]
        entrances = current_races(begun, pool, lambda names: {name: written[name] for name in names if name in written})
        return run_races(entrances, pool, Racing(), None, self.evaluate, self, chosen.asked)

    @property
    def identities(self) -> set[tuple[str, str, str, str | None]]:
        """What was evaluated."""
        return {one.identity for one in self.asked}


def test_nothing_is_asked_where_nobody_has_another_format() -> None:
    world = World({})

    chosen = world.choose({"org/gone@1": [CHAT]})

    assert (chosen, world.asked) == (Chosen(), [])


def test_each_adapter_is_asked_in_the_format_that_it_does_best_in() -> None:
    right = {(POOL[0], "chatml"): 0.9, (POOL[1], None): 0.9, (POOL[2], "alpaca"): 0.9}
    world = World(right)

    chosen = world.choose({key: [CHAT, ALPACA] for key in POOL[:3]})

    names = {key: {chosen.asked[t.name, key].name for t in TASKS if (t.name, key) in chosen.asked} for key in POOL}
    assert names == {POOL[0]: {"chatml"}, POOL[1]: set(), POOL[2]: {"alpaca"}, POOL[3]: set()}


def test_one_text_under_two_names_is_tried_once_and_the_tasks_own_alone_needs_no_trial() -> None:
    again = FilledFormat("chat template of org/base 1", CHAT.template, ("<eot>",))
    world = World({(POOL[0], "chatml"): 0.9})

    chosen = world.choose({POOL[0]: [CHAT, again, ALPACA], POOL[1]: [None], BASE: [again]}, POOL[:2])

    assert {(one.adapter, one.format) for one in world.asked} == {
        (POOL[0], CHAT),
        (POOL[0], None),
        (POOL[0], ALPACA),
        (BASE, None),
        (BASE, again),
    }
    assert chosen.asked["p", POOL[0]] == CHAT


def test_who_is_asked_as_in_an_earlier_run_again_is_judged_by_what_it_did_then() -> None:
    world = World({(POOL[0], None): 0.5, (POOL[1], "chatml"): 1.0})
    plain = world.race({})
    chat = world.race({POOL[1]: [CHAT]}, earlier=plain)
    known = world.identities

    back = world.race({}, earlier=chat)
    forth = world.race({POOL[1]: [CHAT]}, earlier=back)
    as_before = world.race({POOL[1]: [CHAT]}, earlier=forth)

    picks = [[finish.best for finish in run] for run in (plain, chat, back, forth)]
    assert picks == [[POOL[0]] * 6, [POOL[1] if n != 3 else POOL[0] for n in range(6)]] * 2
    assert (world.identities, [finish.new for finish in as_before]) == (known, [0] * len(TASKS))


def test_a_metric_that_is_no_number_wins_nothing() -> None:
    @dataclass
    class Odd(World):
        def _outcome(self, one: Evaluation) -> float:
            return 1.0 if one.format is None else float("nan")

    assert Odd({}).choose({POOL[0]: [CHAT, ALPACA]}).asked == {}


@pytest.mark.parametrize(
    ("arms", "better", "wins", "then"),
    [
        ([CHAT], None, 0, CHAT),
        ([CHAT], None, 1, CHAT),
        ([CHAT], None, 2, None),
        ([None, CHAT], CHAT, 0, None),
        ([None, CHAT], CHAT, 1, None),
        ([None, CHAT], CHAT, 2, CHAT),
    ],
)
def test_the_surest_holds_the_place_which_one_example_never_takes_and_two_that_agree_do(
    arms: Sequence[FilledFormat | None], better: FilledFormat | None, wins: int, then: FilledFormat | None
) -> None:
    @dataclass
    class Few(World):
        def _outcome(self, one: Evaluation) -> float:
            return float(one.format == better and one.example.input in [f"p{n}" for n in range(wins)])

    chosen = Few({}).choose({POOL[0]: arms})

    assert chosen.asked.get(("p", POOL[0])) == then


def test_an_adapter_is_compared_on_the_task_that_its_card_resembles_while_it_scores_there() -> None:
    @dataclass
    class Specialist(World):
        skill: str = ""

        def _outcome(self, one: Evaluation) -> float:
            return float(one.task.name == self.skill and (one.format == CHAT or int(one.example.input[1:]) % 2))

    likeness = {POOL[0]: np.asarray([0.0, 0.1, 0.2, 0.3, 0.4, 0.9])}

    def asked_of(skill: str) -> list[str]:
        world = Specialist({}, skill=skill)
        world.choose({POOL[0]: [None, CHAT]}, likeness=likeness)
        return [one.example.input for one in world.asked if one.adapter and one.format is None]

    assert asked_of("u")[:4] == ["u0", "u1", "u2", "u3"]
    assert asked_of("t")[:4] == ["u0", "u1", "t0", "t1"]


def test_a_format_that_is_behind_the_one_that_holds_the_place_is_soon_out() -> None:
    worse, better = World({(POOL[0], None): 1.0}), World({(POOL[0], "chatml"): 1.0})
    for world in (worse, better):
        world.tasks = [Task("p", "exact_match", tuple(Example(f"p{n}", "yes") for n in range(1_000)))]
        world.choose({POOL[0]: [None, CHAT]})

    assert [sum(one.format == CHAT for one in world.asked if one.adapter) for world in (worse, better)] == [4, 4]


def test_formats_that_score_the_same_on_six_examples_are_alike() -> None:
    many = tuple(Example(f"p{n}", "yes") for n in range(1_000))
    world = World({(POOL[0], None): 1.0, (POOL[0], "chatml"): 1.0}, [Task("p", "exact_match", many)])

    world.choose({POOL[0]: [CHAT]})

    assert len([one for one in world.asked if one.adapter]) == 2 * 6


def test_the_base_takes_the_best_format_of_each_task_its_own_chat_template_first() -> None:
    @dataclass
    class OneTask(World):
        def _outcome(self, one: Evaluation) -> float:
            if one.adapter:
                return float(one.format == ALPACA)
            return float(one.format == CHAT and one.task.name == "q")

    chosen = OneTask({}).choose({BASE: [CHAT], POOL[0]: [ALPACA]})

    assert {task: asked for (task, key), asked in chosen.asked.items() if key == BASE} == {"q": CHAT}
    assert {asked for (_, key), asked in chosen.asked.items() if key} == {ALPACA}


def test_an_adapter_that_cannot_be_run_keeps_the_tasks_own_format_for_the_race_to_tell() -> None:
    world = World({(POOL[0], "chatml"): 0.9}, hopeless=POOL[0])

    finishes = world.race({POOL[0]: [CHAT]})

    assert {row.why for f in finishes for row in f.rows if row.adapter == POOL[0]} == {"quarantined: broken"}
    assert {row.format for f in finishes for row in f.rows} == {None}


def test_it_wins_in_its_own_format_and_would_have_lost_without() -> None:
    right = {(POOL[0], "chatml"): 0.95, (POOL[1], None): 0.6}

    without, within = World(right).race({}), World(right).race({POOL[0]: [CHAT]})

    assert {finish.best for finish in without} == {POOL[1]}
    assert {finish.best for finish in within} == {POOL[0]}
    assert {(row.adapter, row.format) for f in within for row in f.rows} == {
        (BASE, None),
        (POOL[0], "chatml"),
        *((key, None) for key in POOL[1:]),
    }
    assert all(finish.formats == {POOL[0]: CHAT} for finish in within)


def test_a_later_run_of_the_same_adapters_writes_nothing_and_asks_nothing_new() -> None:
    right = {(POOL[0], "chatml"): 0.95, (POOL[1], None): 0.6}
    others = {POOL[0]: [CHAT], BASE: [CHAT]}
    world, again = World(right), World(right)
    first = world.race(others)

    second = again.race(others, earlier=first)

    assert [(f.best, f.scores, f.new) for f in second] == [(f.best, f.scores, 0) for f in first]
    assert again.identities <= world.identities


def test_one_whose_format_is_known_only_now_races_as_a_newcomer_and_wins() -> None:
    right = {(POOL[0], "chatml"): 0.95, (POOL[1], None): 0.6}
    first = World(right).race({})

    second = World(right).race({POOL[0]: [CHAT]}, earlier=first)

    assert {finish.best for finish in second} == {POOL[0]}
    assert {(row.adapter, row.format) for f in second for row in f.new_rows if row.adapter} >= {(POOL[0], "chatml")}
    kept = [[row.adapter for row in f.rows if row.kept and row.rung == max(r.rung for r in f.rows)] for f in second]
    assert kept == [[POOL[0]]] * len(TASKS)


@pytest.mark.parametrize("worse", [0.0, 0.3, 0.7])
def test_a_pool_reaches_what_its_formats_give_for_fifteen_in_a_hundred_more(worse: float) -> None:
    """48 tasks, 30 adapters with one or two formats beside the tasks' own; a quarter was trained in none of them."""
    rng = np.random.default_rng(7)
    tasks = [Task(f"t{n}", "exact_match", tuple(Example(f"t{n} {e}", "yes") for e in range(24))) for n in range(48)]
    pool = [f"org/b{n}@1" for n in range(30)]
    others = {key: [CHAT, ALPACA][: rng.integers(1, 3)] for key in pool}
    trained = {key: others[key][0].name if rng.random() < 0.75 else None for key in pool}
    quality = {key: rng.uniform(0.2, 0.9) for key in pool}
    right = {
        (key, name): quality[key] * (1.0 if name == trained[key] else worse)
        for key in pool
        for name in (None, "chatml", "alpaca")
    }
    one_template, world = World(right, tasks), World(right, tasks)
    one_template.race({}, pool)

    chosen = world.choose({**others, BASE: [CHAT]}, pool)

    named = {key: one.name for (_, key), one in chosen.asked.items()}
    assert sum(right[key, named.get(key)] for key in pool) >= 0.95 * sum(quality.values())
    raced = World(right, tasks)
    raced.run(chosen, pool)
    assert len({one.identity for one in chosen.cells} - raced.identities) <= 0.15 * len(one_template.identities)
