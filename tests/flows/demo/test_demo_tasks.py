"""The demo's tasks: the committed files are what the generator writes, and the splits keep their promises."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import flows.demo.tasks
from catalog.tasks.metrics import METRICS
from catalog.tasks.task import Task
from flows.demo.tasks import NO_TASK, SPECS, TEST, VALIDATION, TaskSpec, build_tasks, no_task_file, task_files

COMMITTED = Path(flows.demo.tasks.__file__).parent / "pool" / "tasks"
TASKS = build_tasks()
PAIRS = list(zip(SPECS, TASKS, strict=True))
NAMES = [task.name for task in TASKS]


def phrasing_patterns(phrasings: tuple[str, ...]) -> list[re.Pattern[str]]:
    """Phrasings as patterns: a field matches any text."""
    return [re.compile(".+".join(re.escape(part) for part in re.split(r"{\w+}", text))) for text in phrasings]


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_committed_files_are_the_generators(task: Task) -> None:
    for name, text in task_files(task).items():
        assert (COMMITTED / task.name / name).read_bytes() == text.encode(), f"{task.name}/{name} is stale"


def test_no_committed_file_is_left_over() -> None:
    committed = {path.relative_to(COMMITTED).as_posix() for path in COMMITTED.rglob("*") if path.is_file()}
    generated = {f"{task.name}/{name}" for task in TASKS for name in task_files(task)}
    assert committed == generated | {"no_task.jsonl"}


def test_committed_no_task_queries_are_the_generators() -> None:
    assert (COMMITTED / "no_task.jsonl").read_bytes() == no_task_file().encode()
    assert len(set(NO_TASK)) == 30


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_splits_have_their_sizes_and_share_no_input(task: Task) -> None:
    splits = [[e.input for e in split] for split in (task.train, task.validation, task.test)]
    inputs = [text for split in splits for text in split]
    assert len(inputs) == len(set(inputs))
    assert (len(task.validation), len(task.test)) == (VALIDATION, TEST)
    assert 200 <= len(task.train) <= 500


@pytest.mark.parametrize(("spec", "task"), PAIRS, ids=NAMES)
def test_test_phrasings_occur_nowhere_else(spec: TaskSpec, task: Task) -> None:
    unseen, seen = phrasing_patterns(spec.unseen), phrasing_patterns(spec.seen)
    for e in task.test:
        assert any(p.fullmatch(e.input) for p in unseen)
        assert not any(p.fullmatch(e.input) for p in seen)
    for e in (*task.train, *task.validation):
        assert not any(p.fullmatch(e.input) for p in unseen)


@pytest.mark.parametrize("task", TASKS, ids=NAMES)
def test_task_is_short_and_its_metric_known(task: Task) -> None:
    assert task.metric in METRICS
    for e in (*task.train, *task.validation, *task.test):
        assert len(task.prompt(e.input)) <= 140, "prompts are to stay under 48 tokens"
        assert "\n" not in e.target and e.target == e.target.strip() != ""
        assert len(e.target.split()) <= (14 if task.metric == "rouge_l" else 2)


def test_one_task_has_long_answers() -> None:
    assert [task.metric for task in TASKS].count("rouge_l") == 1


def test_every_task_declares_an_adapter_of_the_pool() -> None:
    from flows.demo.build_pool import POOL_RECIPES

    trained_on = {recipe.name: recipe.tasks for recipe in POOL_RECIPES}
    assert all(trained_on[str(task.adapter)] == (task.name,) for task in TASKS)


def test_task_json_reads_back() -> None:
    header = json.loads((COMMITTED / "record_sentence" / "task.json").read_text(encoding="utf-8"))
    assert header["template"] == "{input}\nSentence:"
    assert header["adapter"] == "oak-and-iron/record-to-sentence"
