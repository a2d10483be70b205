"""The study's tasks: those of BIG-Bench Hard with short prompts and short answers, cut into train and evaluation.

Knows: which tasks a small model is tried on, how a file of BIG-Bench Hard becomes a Task, which examples train
and which evaluate. Does not know: adapters, scores. The examples themselves are never stored with the project.

The 250 examples of a task are taken in the order of their content hashes: TRAIN of them train, all others
evaluate (the replay cuts those again, by seed, into selection and held-out).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from catalog.tasks.task import Example, Task

TRAIN = 120
DESCRIPTIONS = {
    "boolean_expressions": "Evaluates expressions of True, False, and, or, not.",
    "date_understanding": "Finds a date from a short story about days, as one of some options.",
    "disambiguation_qa": "Says which person a pronoun refers to, or that it is ambiguous.",
    "dyck_languages": "Closes the open brackets of a sequence.",
    "geometric_shapes": "Names the shape that an SVG path draws.",
    "hyperbaton": "Chooses the sentence whose adjectives stand in the right order.",
    "movie_recommendation": "Finds a movie similar to a few given ones.",
    "navigate": "Says whether a walk returns to its starting point.",
    "object_counting": "Counts the things of a kind in a list.",
    "reasoning_about_colored_objects": "Answers questions about the colours of things on a table.",
    "ruin_names": "Finds the humorous edit of an artist's or movie's name.",
    "sports_understanding": "Says whether a sentence about sports is plausible.",
    "temporal_sequences": "Finds when someone could have been somewhere, from what others saw.",
    "web_of_lies": "Says who tells the truth among people who speak of each other.",
}


def default_folder() -> Path:
    """Where BIG-Bench Hard lies: under LORAUTER_TEST_DATA, else beside the checkout."""
    return Path(os.environ.get("LORAUTER_TEST_DATA", "../shared/data")) / "bbh"


def read_study_tasks(folder: Path, names: Sequence[str] = ()) -> list[Task]:
    """The named tasks, or all that the study tries."""
    return [read_study_task(folder, name) for name in names or DESCRIPTIONS]


def read_study_task(folder: Path, name: str) -> Task:
    """One task: TRAIN examples to train on, the others as validation."""
    found = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))["examples"]
    by_input = {row["input"]: Example(row["input"], row["target"]) for row in found}
    examples = sorted(by_input.values(), key=lambda e: e.id)
    return Task(
        name=name,
        metric="exact_match",
        train=tuple(examples[:TRAIN]),
        validation=tuple(examples[TRAIN:]),
        max_new_tokens=4,
        description=DESCRIPTIONS[name],
    )
