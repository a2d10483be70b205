"""What a catalog says against itself: a base that says nothing, answers that are cut, winners that gain nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.tasks.answer import Endings, Text, endings_of
from catalog.tasks.task import DEFAULT_TEMPLATE, Example, Task
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of, snapshot_of
from flows.mirror.server import serve_in_thread
from flows.publish.run_record import Run
from flows.stages import crawl, explainer_of, publish, read_base, score, validate, why
from lorauter.engine import Engine
from lorauter.racing.selection import split_examples
from lorauter.routing.routes import Route, TaskMatch
from warehouse.sql.session import connect
from warehouse.tasks.folder import store_task, stored_tasks

BASE, OWN = "tiny/llama", "ann/colours"
HALF = "8"  # of all content hashes, in hex


@dataclass(frozen=True)
class World:
    """A home whose adapters are judged, and the address of its hub."""

    home: Home
    endpoint: str

    def catalog(self, **settings: str) -> list[tuple[object, ...]]:
        """Scores and publishes. Each task: its adapter, whether confirmed, what was set aside, and its coverage."""
        home = open_home(home=self.home.root, endpoint=self.endpoint, base=BASE, **settings)
        base = read_base(home)
        snapshot = publish(home, base, score(home, base), Run.begin("publish"), force="a test")
        connection = connect(snapshot, ledger_of(home))
        rows = connection.execute(
            "SELECT task, split_part(best.adapter, '@', 1), confirmed, split_part(set_aside, '@', 1), status "
            "FROM best JOIN coverage USING (base, task) ORDER BY task"
        )
        return rows.fetchall()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path) -> Iterator[World]:
    """Three tasks: `gain` is won and confirmed, `loss` is won and not confirmed, the base of `mute` says nothing."""
    engine = Engine(tiny_hub_folder / BASE, dtype="float32", find_adapter=lambda name: tiny_hub_folder / name)
    inputs = [f"Which word, number {number}?" for number in range(600)]
    with serve_in_thread(tiny_hub_folder) as hub:
        home = open_home(home=tmp_path_factory.mktemp("doubts"), endpoint=hub.endpoint, base=BASE)
        for task in (_won(engine, inputs), _lost(engine, inputs), _mute(engine, inputs)):
            store_task(home.task_folder, task)
        crawl(home)
        validate(home)
        yield World(home, hub.endpoint)


def _told(
    engine: Engine, inputs: Sequence[str], bound: int, template: str = DEFAULT_TEMPLATE
) -> list[tuple[str, str, str]]:
    """Each input with what the adapter says and what the base says."""
    prompts = [template.replace("{input}", text) for text in inputs]
    own = engine.generate(prompts, [((OWN, 1.0),)] * len(prompts), bound)
    return list(zip(inputs, map(str, own), map(str, engine.generate(prompts, [()] * len(prompts), bound)), strict=True))


def _won(engine: Engine, inputs: Sequence[str]) -> Task:
    differ = [Example(text, own) for text, own, base in _told(engine, inputs[:100], 3) if own != base and own.strip()]
    return Task("gain", "exact_match", tuple(differ[:20]), max_new_tokens=3)


def _lost(engine: Engine, inputs: Sequence[str]) -> Task:
    """The adapter is right on the examples that choose, the base on those that report: by their hashes' order."""
    differ = [row for row in _told(engine, inputs, 3) if row[1] != row[2] and row[1].strip() and row[2].strip()]
    first = [one for text, own, _ in differ[::2] if (one := Example(text, own)).id < HALF]
    last = [one for text, _, base in differ[1::2] if (one := Example(text, base)).id >= HALF]
    return Task("loss", "exact_match", (*first[:12], *last[:8]), max_new_tokens=3)


def _mute(engine: Engine, inputs: Sequence[str]) -> Task:
    """Under this template the base ends at once where the adapter says something."""
    told = _told(engine, inputs, 1, "{input}\n\n")
    silent = [Example(text, own) for text, own, base in told if own.strip() and not base.strip()]
    return Task("mute", "exact_match", tuple(silent[:20]), template="{input}\n\n", max_new_tokens=1)


def test_the_tasks_are_what_they_are_called(world: World) -> None:
    tasks = {task.name: task for task in stored_tasks(world.home.task_folder)}

    assert [(name, len(tasks[name].validation)) for name in sorted(tasks)] == [("gain", 20), ("loss", 20), ("mute", 20)]
    assert [one.id < HALF for one in split_examples(tasks["loss"], 0.4)[0]] == [True] * 12


def test_a_winner_that_gains_nothing_is_told_and_no_task_with_a_mute_base_is_good(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    catalog = world.catalog()

    assert catalog == [
        ("gain", OWN, True, None, "good"),
        ("loss", OWN, False, None, "at a loss"),
        ("mute", OWN, True, None, "mute base"),
    ]
    told = " ".join(capsys.readouterr().err.split())
    assert (
        f"loss: {OWN} gains nothing on examples that did not choose it; it is published all the same "
        "(LORAUTER_UNCONFIRMED)." in told
    )
    assert re.search(r"mute: the base says nothing on (\d+) of \1 examples: a lift over it means little", told)
    assert "answers are cut after 3 tokens. Give the task more: lorauter tasks add … --max-new-tokens 12." in told


def test_by_policy_the_base_is_published_in_its_place(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    catalog = world.catalog(unconfirmed="base")

    assert catalog == [
        ("gain", OWN, True, None, "good"),
        ("loss", "", False, OWN, "base"),
        ("mute", OWN, True, None, "mute base"),
    ]
    assert "gains nothing on examples that did not choose it; the base is published." in capsys.readouterr().err


def test_why_and_the_route_name_an_adapter_that_was_set_aside(world: World) -> None:
    world.catalog(unconfirmed="base")
    (row,) = (row for row in snapshot_of(world.home).read("best") if row["task"] == "loss")
    key = row["set_aside"]

    told = list(why(world.home, OWN))
    explainer = explainer_of(world.home, snapshot_of(world.home), "lorauter")
    (task,) = explainer.explain("x", Route((), (TaskMatch("loss", 1.0, 1.0),), 1.0))["tasks"]

    assert (
        f"{key} was chosen for loss and set aside: it gains nothing on examples that did not choose it, and the base "
        "is published (LORAUTER_UNCONFIRMED)"
    ) in told
    assert task["used_because"] == "the race's choice gains nothing on examples that did not choose it"
    (other,) = (other for other in task["others"] if other["adapter"] == key)
    assert other["why"].startswith("set aside: it gains nothing on examples that did not choose it; ")


def test_what_a_person_pinned_is_published_confirmed_or_not(world: World) -> None:
    command = ["--home", str(world.home.root), "curate"]
    pin = [OWN, "--task", "loss", "--reason", "we know better"]
    assert CliRunner().invoke(cli, [*command, "pin", *pin]).exit_code == 0

    catalog = world.catalog(unconfirmed="base")

    assert catalog[1] == ("loss", OWN, False, None, "at a loss")
    assert CliRunner().invoke(cli, [*command, "unpin", *pin]).exit_code == 0


def test_empty_and_cut_answers_are_counted_as_the_ledger_has_them(world: World) -> None:
    world.catalog()
    home = world.home

    rows = connect(snapshot_of(home), ledger_of(home)).execute(
        "SELECT task, adapter, empty, cut, n FROM scores ORDER BY ALL"
    )
    counted = {(task, key): Endings(n, empty, cut) for task, key, empty, cut, n in rows.fetchall()}
    made = {
        (row["adapters"][0] if row["adapters"] else "", row["prompt"], row["max_new_tokens"]): Text(
            row["text"], row["cut"]
        )
        for row in ledger_of(home).read("outputs").to_pylist()
    }  # tasks that ask the same share an output
    tasks = {task.name: task for task in stored_tasks(home.task_folder)}
    stored = {}
    for (name, key), told in counted.items():
        task = tasks[name]
        met = split_examples(task, 0.4)[0][: told.texts]
        stored[name, key] = endings_of(made[key, task.prompt(one.input), task.max_new_tokens] for one in met)
    assert len(counted) >= 9
    assert counted == stored


def test_options_have_no_endings() -> None:
    assert endings_of([]) == Endings(0, 0, 0)
