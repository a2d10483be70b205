"""Clusters: k-means parts examples as their embeddings lie, the same way every time."""

from __future__ import annotations

import numpy as np
import pytest

from catalog.errors import TaskError
from catalog.tasks.task import Example, Task
from lorauter.train.task_clusters import Embeddings, cluster_tasks

CORNERS = np.asarray([[0, 1], [1, 0], [-1, 0]], dtype=np.float32)


def scattered(corners: list[int]) -> Embeddings:
    """Points near corners of the plane."""
    noise = np.random.default_rng(1).normal(0, 0.05, (len(corners), 2))
    return np.asarray(CORNERS[corners] + noise, dtype=np.float32)


def task_of(corners: list[int], test: list[int] | None = None) -> Task:
    made = tuple(Example(f"{corner} {n}", "x", ("x", "y")) for n, corner in enumerate(corners))
    held = tuple(Example(f"{corner} test {n}", "x") for n, corner in enumerate(test or []))
    return Task("c", "bleu", made, held, train=made[:1], template="{input}", max_new_tokens=3, domain="d")


def test_clusters_are_tasks_named_in_the_order_of_their_first_examples() -> None:
    corners = [2, 0, 1, 0, 2, 1, 2]
    task = task_of(corners, [1, 2])
    parts = cluster_tasks(task, scattered(corners), 3, test_embeddings=scattered([1, 2]))
    assert parts == [
        Task(
            f"c-{number:02}",
            "bleu",
            tuple(e for e in task.validation if e.input.startswith(f"{corner} ")),
            tuple(e for e in task.test if e.input.startswith(f"{corner} ")),
            template="{input}",
            max_new_tokens=3,
            domain="d",
        )
        for number, corner in enumerate((2, 0, 1))
    ]


def test_the_same_seed_gives_the_same_clusters() -> None:
    points = np.asarray(np.random.default_rng(0).normal(size=(60, 8)), dtype=np.float32)
    task = task_of([0] * 60)
    assert cluster_tasks(task, points, 7, seed=3) == cluster_tasks(task, points, 7, seed=3)


def test_an_example_alone_joins_another_cluster() -> None:
    corners = [0, 0, 0, 1]
    parts = cluster_tasks(task_of(corners), scattered(corners), 2)
    assert [len(part.validation) for part in parts] == [4]


def test_every_example_is_in_one_cluster() -> None:
    points = np.asarray(np.random.default_rng(0).normal(size=(40, 4)), dtype=np.float32)
    task = task_of([0] * 40)
    parts = cluster_tasks(task, points, 20)
    assert sorted(e.input for part in parts for e in part.validation) == sorted(e.input for e in task.validation)
    assert min(len(part.validation) for part in parts) >= 2


def test_more_clusters_than_pairs_of_examples_are_refused() -> None:
    with pytest.raises(TaskError) as caught:
        cluster_tasks(task_of([0, 0, 1]), scattered([0, 0, 1]), 2)
    assert caught.value.cause == "3 validation examples do not make 2 clusters of at least 2."
