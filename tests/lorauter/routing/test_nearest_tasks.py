"""Stories of the nearest of very many tasks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from lorauter.routing.nearest_tasks import LEAST_TASKS, NearestTasks
from lorauter.routing.task_weights import mask, weigh_tasks

Vectors = npt.NDArray[np.float32]


def unit(rows: int, seed: int) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((rows, 64), dtype=np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


@pytest.fixture(scope="module")
def tasks() -> Vectors:
    return unit(LEAST_TASKS, seed=1)


@pytest.fixture(scope="module")
def queries() -> Vectors:
    return unit(600, seed=2)  # more than are compared at a time


def test_screened_weights_are_the_exact_ones(tasks: Vectors, queries: Vectors) -> None:
    found = NearestTasks(3 * tasks).weigh(queries, None, top_k=3, temperature=0.2)

    exact = weigh_tasks(queries @ tasks.T, 3, 0.2)
    np.testing.assert_array_equal(found.tasks, exact.tasks)
    np.testing.assert_allclose(found.similarities, exact.similarities, atol=1e-6)
    np.testing.assert_allclose(found.weights, exact.weights, atol=1e-5)
    np.testing.assert_allclose(found.confidence, exact.confidence, atol=1e-6)


def test_a_masked_task_gets_no_weight_and_the_next_moves_up(tasks: Vectors, queries: Vectors) -> None:
    similarities = queries @ tasks.T
    masked = [None if row % 2 else int(place) for row, place in enumerate(similarities.argmax(axis=1))]

    found = NearestTasks(tasks).weigh(queries, masked, top_k=3, temperature=0.2)

    exact = weigh_tasks(mask(similarities, masked), 3, 0.2)
    np.testing.assert_array_equal(found.tasks, exact.tasks)
    np.testing.assert_allclose(found.weights, exact.weights, atol=1e-5)


def test_of_equal_tasks_the_first_comes_first(tasks: Vectors) -> None:
    doubled = np.concatenate([tasks, tasks])

    found = NearestTasks(doubled).weigh(tasks[:50], None, top_k=2, temperature=0.2)

    np.testing.assert_array_equal(found.tasks, np.stack([np.arange(50), LEAST_TASKS + np.arange(50)], axis=1))


def test_a_query_has_the_same_bits_alone(tasks: Vectors, queries: Vectors) -> None:
    nearest = NearestTasks(tasks)

    together = nearest.find(queries, 16)[1]

    np.testing.assert_array_equal(together[:20], np.concatenate([nearest.find(q[None], 16)[1] for q in queries[:20]]))


def test_few_tasks_are_all_compared(tasks: Vectors) -> None:
    assert NearestTasks.where_it_pays(tasks[:-1]) is None
