"""Belief: what all results so far say of every (task, adapter), before and after its own results.

Knows: an empirical-Bayes model of the task-by-adapter matrix. Does not know: what is decided on it (racing).

    quality[t, a] = level of task t + slope · card likeness[t, a] + g[t, a],   g[·, a] ~ N(0, K)

K, tasks × tasks, is learned from the results: adapters that are good at one task are good at those that go with it
(the same answer format, the same skill, or plain strength everywhere). It is the low-rank structure of the matrix,
shrunk to its diagonal as few adapters and examples cannot fill it. The model is Gaussian, so belief before a cell's
own results comes in closed form from the belief after them (leave-one-out).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lorauter.racing.strategies.base import Floats, Mask, Problem, Seen

SHRINKAGE = 0.3  # of K's off-diagonal
UNKNOWN = 1e6  # variance of a cell without results
LEAST = 1e-4  # variance that K keeps on every task


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of every quality but for its own results, all (tasks, adapters).

    Args:
        mean: of the quality.
        variance: of the quality.
        noise: variance of one score of the cell.
    """

    mean: Floats
    variance: Floats
    noise: Floats


def believe(problem: Problem, seen: Seen) -> Belief:
    """The belief that the results leave."""
    noise = score_variance(seen)
    met = seen.counts > 0
    error = np.where(met, noise / np.maximum(seen.counts, 1), UNKNOWN)
    expected = _expected(problem, seen.means, met)
    residual = np.where(met, seen.means - expected, 0.0)
    together = _covariance(residual, _sampling_error(seen), met)
    mean, variance = _leave_one_out(together, residual, error)
    return Belief(expected + mean, variance, noise)


def score_variance(seen: Seen) -> Floats:
    """Variance of one score of each cell: that of a share m, m (1 - m), times how much of it scores here have.

    m is drawn to one half by two examples. A sample variance would say after three wrong answers that the fourth is
    wrong for certain.
    """
    means = seen.means
    drawn = (means * seen.counts + 1.0) / (seen.counts + 2.0)
    squares = np.where(seen.readable, (seen.scores - means[:, :, None]) ** 2, 0.0).sum()
    largest = (means * (1.0 - means) * seen.counts).sum()
    return np.asarray(drawn * (1.0 - drawn) * min(1.0, (squares + 1.0) / (largest + 1.0)))


def _sampling_error(seen: Seen) -> Floats:
    """Mean over a task's adapters of the variance of their means, without bias: (tasks,)."""
    counts = np.maximum(seen.counts, 2)
    squares = np.where(seen.readable, (seen.scores - seen.means[:, :, None]) ** 2, 0.0).sum(axis=2)
    met = seen.counts > 1
    return np.asarray((squares / (counts - 1) / counts * met).sum(axis=1) / np.maximum(met.sum(axis=1), 1))


def _expected(problem: Problem, means: Floats, met: Mask) -> Floats:
    """Level of the task, and what the card's likeness adds: one slope for all tasks."""
    share = met / np.maximum(met.sum(axis=1, keepdims=True), 1)
    level = (means * share).sum(axis=1, keepdims=True)
    if problem.card_likeness is None:
        return np.broadcast_to(level, means.shape)
    card = problem.card_likeness - (problem.card_likeness * share).sum(axis=1, keepdims=True)
    slope = (card * (means - level) * met).sum() / ((card**2 * met).sum() + 1e-3)
    return np.asarray(level + slope * card)


def _covariance(residual: Floats, error: Floats, met: Mask) -> Floats:
    """K from the residuals' products, their noise taken off the diagonal; positive definite."""
    both = np.maximum(met.astype(float) @ met.T, 1.0)
    raw = residual @ residual.T / both
    own = np.maximum(np.diag(raw) - error, LEAST)
    shrunk = (1 - SHRINKAGE) * raw
    np.fill_diagonal(shrunk, own)
    values, vectors = np.linalg.eigh(shrunk)
    return np.asarray((vectors * np.maximum(values, LEAST)) @ vectors.T)


def _leave_one_out(together: Floats, residual: Floats, error: Floats) -> tuple[Floats, Floats]:
    """Each adapter's residual on each task as its other tasks foretell it: mean and variance."""
    tasks, _ = residual.shape
    inverse = np.linalg.inv(together[None] + error.T[:, :, None] * np.eye(tasks))  # (adapters, tasks, tasks)
    precision = np.einsum("att->ta", inverse)
    mean = residual - np.einsum("ats,sa->ta", inverse, residual) / precision
    return mean, np.maximum(1.0 / precision - error, LEAST)
