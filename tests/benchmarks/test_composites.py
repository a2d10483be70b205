"""Composite tasks: made of the demo's, the same on every run, scored part by part."""

from __future__ import annotations

from pathlib import Path

from benchmarks.composites import composite_tasks, main, score_parts
from catalog.tasks.task import content_hash
from flows.demo.tasks import build_tasks
from warehouse.tasks.folder import read_tasks

TASKS = {task.name: task for task in composite_tasks()}


def test_they_are_the_same_on_every_run_and_have_40_16_and_50_examples() -> None:
    again = composite_tasks()

    assert tuple(TASKS.values()) == again
    sizes = {(len(task.train), len(task.validation), len(task.test)) for task in again}
    assert sizes == {(40, 16, 50)}
    assert list(TASKS) == ["three_0", "three_1", "three_2", "three_3", "letter_record", "plural_past"]


def test_no_input_is_in_two_splits() -> None:
    for task in TASKS.values():
        inputs = [example.input for example in (*task.train, *task.validation, *task.test)]
        assert len(set(inputs)) == len(inputs)


def test_a_triple_asks_three_demo_tasks_from_the_same_split_of_each() -> None:
    demo = {task.name: task for task in build_tasks()}
    task = TASKS["three_0"]
    names = task.description.removeprefix("In one prompt: ").rstrip(".").split(", ")

    asked, answers = task.test[0].input.split("\n"), task.test[0].target.split("; ")

    assert len(names) == len(asked) == len(answers) == 3
    for number, (name, line, answer) in enumerate(zip(names, asked, answers, strict=True), 1):
        known = {example.input: example.target for example in demo[name].test}
        assert known[line.removeprefix(f"{number}. ")] == answer


def test_a_letter_and_a_record_give_a_greeting_and_a_sentence() -> None:
    targets = [example.target.split("; ") for example in TASKS["letter_record"].train]

    assert {greeting for greeting, _ in targets} == {"Dear reader", "Hey there"}
    assert all(sentence.startswith("For ") and sentence.endswith(".") for _, sentence in targets)


def test_parts_are_scored_in_their_places() -> None:
    three, letter = TASKS["three_0"], TASKS["letter_record"]

    assert score_parts(three, "plant; Leo; yes", "plant; Leo; yes") == 1
    assert score_parts(three, "plant; yes; Leo", "plant; Leo; yes") == 1 / 3
    assert score_parts(three, "plant", "plant; Leo; yes") == 1 / 3
    assert score_parts(three, "", "plant; Leo; yes") == 0
    assert score_parts(letter, "Hey there; a b", "Dear reader; a b") == 0.5
    assert score_parts(letter, "Dear reader; a b c d", "Dear reader; a b c e") == 0.875


def test_the_program_writes_task_folders(tmp_path: Path) -> None:
    main([str(tmp_path)])

    written = {task.name: task for task in read_tasks(tmp_path)}
    assert content_hash([e.content for e in written["plural_past"].test]) == content_hash(
        [e.content for e in TASKS["plural_past"].test]
    )
    assert written.keys() == TASKS.keys()
