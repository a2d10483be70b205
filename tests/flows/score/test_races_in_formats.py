"""Adapters that were trained in a format of their own: they are raced, published and reported in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.formats.detect import Evidence
from catalog.formats.filled import filled
from catalog.formats.format import PromptFormat, of_template
from flows.home.home import Home, open_home
from flows.home.parts import hub_of, ledger_of, open_embeddings, open_outputs, tasks_on
from flows.mirror.server import serve_in_thread
from flows.outputs.outputs import Outputs
from flows.publish.run_record import Run
from flows.score.cards import Cards
from flows.score.formats import Formats
from flows.score.score import Scores
from flows.score.score import score as score_on
from flows.stages import crawl, curate, publish, racetrack, read_base, validate
from flows.tasks.why import tell
from lorauter.engine.engine import Engine
from lorauter.racing.evaluation import BASE
from warehouse.records.formats import FormatsRow, keep_formats
from warehouse.records.verdicts import admitted_of_pool
from warehouse.schemas.snapshot import SNAPSHOT
from warehouse.snapshots.snapshot import publish as freeze
from warehouse.tasks.folder import read_tasks, store_task

CHAT = of_template("<user>{input}</><me>", stops=("</>",))
FRAMES = ("What colour is the {} in the painting?", "Which pet barks or purrs, number {}?")
TrainedIn = Mapping[str, Sequence[PromptFormat | None]]


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path) -> Path:
    """Two tasks whose targets are what bob/animals says when it is asked in its own format."""
    root = tmp_path_factory.mktemp("tasks")
    engine = Engine(tiny_hub_folder / "tiny/llama", dtype="float32", find_adapter=lambda name: tiny_hub_folder / name)
    for name, frame in zip(("colours", "pets"), FRAMES, strict=True):
        (root / name).mkdir()
        (root / name / "task.json").write_text(json.dumps({"name": name, "metric": "exact_match", "max_new_tokens": 3}))
        inputs = [frame.format(n) for n in range(24)]
        prompts = [CHAT.prompt(text) for text in inputs]
        texts = engine.generate(prompts, [(("bob/animals", 1.0),)] * len(inputs), 3)
        rows = [{"input": i, "target": t} for i, t in zip(inputs, texts, strict=True) if t.strip()]
        (root / name / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return root


@pytest.fixture
def home(tmp_path: Path, tiny_hub_folder: Path, tasks: Path) -> Iterator[Home]:
    with serve_in_thread(tiny_hub_folder) as hub:
        home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base="tiny/llama", strategy="racing")
        for task in read_tasks(tasks):
            store_task(home.task_folder, task)
        crawl(home)
        validate(home)
        yield home


def score(home: Home, formats: TrainedIn | None = None, outputs: Outputs | None = None) -> Scores:
    """The stage, told of formats."""
    base = read_base(home)
    return score_on(
        base,
        tasks_on(home, base.id, base.sha),
        admitted_of_pool(ledger_of(home), home.wanted, base),
        racetrack(home, base),
        ledger_of(home),
        outputs or open_outputs(home),
        Cards(ledger_of(home), hub_of(home), home.wanted, 2),
        Formats(ledger_of(home), hub_of(home), home.wanted),
        open_embeddings(home),
        trained_in={} if formats is None else formats,
    )


def key_of(home: Home, repo: str) -> str:
    admitted = admitted_of_pool(ledger_of(home), home.wanted, read_base(home))
    return next(key for key in admitted if key.startswith(f"{repo}@"))


def test_an_adapter_wins_in_its_own_format_and_would_have_lost_without(home: Home) -> None:
    bob, chat = key_of(home, "bob/animals"), filled(CHAT)
    assert chat

    plain = score(home)
    told = score(home, {bob: [CHAT], BASE: [CHAT]})

    assert bob not in {one.best for one in plain.tasks}
    assert [(one.best, one.race.formats[bob]) for one in told.tasks] == [(bob, chat)] * 2
    assert [sum(one.report.own) / len(one.report.own) for one in told.tasks] == [1.0, 1.0]
    snapshot = publish(home, read_base(home), told, Run.begin("publish"))
    assert [(row["adapter"], row["format"], row["template"], row["stops"]) for row in snapshot.read("best")] == [
        (bob, chat.name, CHAT.turn, ["</>"])
    ] * 2
    asked_in = {(row["adapter"], row["format"]) for row in snapshot.read("scores") if row["adapter"] != BASE}
    assert (bob, chat.name) in asked_in
    assert {format_ for key, format_ in asked_in if key != bob} == {None}
    assert [(row["format"], row["template"], row["stops"]) for row in snapshot.read("templates")] == [
        (chat.name, CHAT.turn, ["</>"])
    ]
    evidence = Evidence("own", "card text", 0.8, "it spells out a template of its own", CHAT.turn, CHAT.stops)
    keep_formats(ledger_of(home), [FormatsRow("tiny/llama", bob, (evidence,), "1", "new")])
    asked = f", asked in the format {chat.name} (known from its card text: it spells out a template of its own)"
    assert next(tell(ledger_of(home), home.snapshots, "bob/animals")).endswith(asked)
    tables = {name: snapshot.read(name) for name in SNAPSHOT}
    tables["best"] = [{**row, "base_format": "chatml"} for row in tables["best"]]
    freeze(home.snapshots, tables, snapshot.context)
    assert next(tell(ledger_of(home), home.snapshots, "bob/animals")).endswith(f"{asked}, and the base in chatml")


def test_a_format_that_does_no_better_changes_nothing_that_is_published(home: Home) -> None:
    ann = key_of(home, "ann/colours")
    plain = score(home)

    told = score(home, {ann: [None, PromptFormat("odd", "{input} ??? ")]})

    assert [(one.best, one.report) for one in told.tasks] == [(one.best, one.report) for one in plain.tasks]
    assert all(ann not in one.race.formats for one in told.tasks)
    assert told.spent > plain.spent
    assert [one.race.new_rows for one in told.tasks] == [[], []]


def test_a_second_run_makes_nothing_and_publishes_the_same(home: Home) -> None:
    formats = {key_of(home, "bob/animals"): [CHAT], BASE: [CHAT]}
    first = score(home, formats)

    second = score(home, formats)

    assert second.new == 0
    assert (second.spent, [one.report for one in second.tasks]) == (first.spent, [one.report for one in first.tasks])
    assert [one.race.new_rows for one in second.tasks] == [[], []]


def test_texts_in_a_format_end_at_its_stops_too(home: Home) -> None:
    bob = key_of(home, "bob/animals")

    score(home, {bob: [CHAT]})

    decoding = {
        row["decoding"] for row in ledger_of(home).read("outputs").to_pylist() if row["prompt"].startswith("<user>")
    }
    assert [json.loads(text)["stop"] for text in decoding] == [["\n", "</>"]]


def test_a_home_of_one_template_goes_on_in_formats_as_if_it_had_begun_so(
    home: Home,
) -> None:
    """Rows and outputs of a run that knew of no formats, as an older home holds them, count for the tasks' own."""
    formats = {key_of(home, "bob/animals"): [CHAT]}
    score(home)
    known = ledger_of(home).read("outputs").num_rows

    after = score(home, formats)

    assert [one.best for one in after.tasks] == [key_of(home, "bob/animals")] * 2
    assert ledger_of(home).read("outputs").num_rows == known + after.new


def test_killed_while_formats_are_compared_it_goes_on_and_decides_alike(home: Home, tmp_path: Path) -> None:
    formats = {key_of(home, "bob/animals"): [CHAT], BASE: [CHAT]}
    shutil.copytree(home.root, tmp_path / "other")
    other = open_home(home=tmp_path / "other", **{k: v for k, v in home.reference.items() if k != "home"})
    outputs = replace(open_outputs(home), shard_rows=8)

    def dies(plan: str, shards: Sequence[int]) -> Iterator[int]:
        yield next(iter(outputs.run(plan, shards)))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        score(home, formats, replace(outputs, run=dies))
    known = ledger_of(home).read("outputs").num_rows
    after, never_killed = (
        score(home, formats, outputs),
        score(other, formats, replace(open_outputs(other), shard_rows=8)),
    )

    assert 0 < known <= 8
    assert after.tasks == never_killed.tasks
    assert (after.spent, after.new) == (never_killed.spent, never_killed.new - known)


def test_what_a_person_pinned_is_reported_in_its_own_best_format(home: Home) -> None:
    bob, ann = key_of(home, "bob/animals"), key_of(home, "ann/colours")
    curate(home, "pin", "ann/colours", "pets", "ours", "eve")

    scores = score(home, {bob: [CHAT]})

    assert {one.task.name: one.best for one in scores.tasks} == {"colours": bob, "pets": ann}
    snapshot = publish(home, read_base(home), scores, Run.begin("publish"))
    formats = {row["task"]: (row["adapter"], row["format"]) for row in snapshot.read("best")}
    assert formats == {"colours": (bob, scores.tasks[0].race.formats[bob].name), "pets": (ann, None)}
