"""Racing: each task's adapters race against its leader; who cannot be expected to win more than a little stops.

Knows: the belief about every quality (belief), paired differences against the leader on the examples both have met,
the gain to be expected from an adapter. Does not know: how scores come about.

Nothing is final before the end: what an adapter is worth waiting for is judged anew at every step from all results,
those of other tasks included, so one that stopped may start again where the leader falls back.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lorauter.racing.strategies.base import Counts, Floats, Mask, Problem, Seen, Step, first_best
from lorauter.racing.strategies.belief import Belief, believe

PRIOR_COUNT = 4.0  # how many examples the two variances count for in the variance of a difference

_erf = np.vectorize(math.erf, otypes=[float])


@dataclass(frozen=True, slots=True)
class Racing:
    """The race.

    Args:
        least_gain: an adapter goes on while its expected gain over the leader, in units of the metric, is above this.
        first: examples that every adapter meets.
        growth: how much further each stage goes than the one before.
        doubt: what the variance of the belief from elsewhere is multiplied by: qualities have longer tails than a
            normal distribution, and what is best is in a tail.
    """

    least_gain: float = 0.005
    first: int = 2
    growth: float = 1.5
    doubt: float = 4.0

    @property
    def name(self) -> str:
        """Name with its settings."""
        return f"racing {self.least_gain:g}"

    @property
    def reads_likeness(self) -> bool:
        """It does."""
        return True

    def next(self, problem: Problem, seen: Seen) -> Step:
        """One stage more for every adapter that may still win, and for a leader that they have caught up with."""
        begun = np.where(problem.open, np.minimum(self.first, problem.room)[:, None], 0)
        if (begun > seen.counts).any():
            counts = np.maximum(begun, seen.counts)
            return Step(counts, first_best(seen.means), lambda _task, _adapter: "not begun")
        belief = believe(problem, seen)
        leaders = first_best(_qualities(seen, belief, self.doubt))
        difference = _differences(seen, belief, leaders, self.doubt)
        gain = expected_gain(*difference)
        gain[np.arange(problem.tasks), leaders] = 0.0
        contends = (gain > self.least_gain) & (seen.counts < problem.room[:, None]) & problem.open
        counts = self._stage(problem, seen, leaders, contends)
        return Step(counts, leaders, lambda task, adapter: _why(seen, leaders, difference, gain, task, adapter))

    def _stage(self, problem: Problem, seen: Seen, leaders: Counts, contends: Mask) -> Counts:
        further = np.maximum(np.ceil(seen.counts * self.growth).astype(np.int64), self.first)
        counts = np.where(contends, np.minimum(further, problem.room[:, None]), seen.counts)
        tasks = np.arange(problem.tasks)
        counts[tasks, leaders] = counts.max(axis=1) * contends.any(axis=1)
        return np.maximum(counts, seen.counts)


def _qualities(seen: Seen, belief: Belief, doubt: float) -> Floats:
    """Expected quality: the cell's own mean and the belief from elsewhere, by their precisions."""
    own, other = seen.counts / belief.noise, 1.0 / (doubt * belief.variance)
    return np.asarray((own * seen.means + other * belief.mean) / (own + other))


def _differences(seen: Seen, belief: Belief, leaders: Counts, doubt: float) -> tuple[Floats, Floats]:
    """Mean and standard deviation of adapter less leader: paired on the examples both met, and the belief else."""
    tasks = np.arange(len(leaders))
    both = np.minimum(seen.counts, seen.counts[tasks, leaders][:, None])
    paired = np.where(
        np.arange(seen.scores.shape[2]) < both[:, :, None],
        seen.scores - seen.scores[tasks, leaders][:, None, :],
        0.0,
    )
    mean = paired.sum(axis=2) / np.maximum(both, 1)
    squares = (paired**2).sum(axis=2) - both * mean**2
    common = belief.noise + belief.noise[tasks, leaders][:, None]
    error = (squares + PRIOR_COUNT * common) / (np.maximum(both - 1, 0) + PRIOR_COUNT) / np.maximum(both, 0.01)
    prior = belief.mean - belief.mean[tasks, leaders][:, None]
    width = doubt * (belief.variance + belief.variance[tasks, leaders][:, None])
    variance = 1.0 / (1.0 / error + 1.0 / width)
    return variance * (mean / error + prior / width), np.sqrt(variance)


def expected_gain(mean: Floats, deviation: Floats) -> Floats:
    """E[max(x, 0)] of normal x: what choosing the adapter instead would win if it turns out better."""
    z = mean / deviation
    density = np.exp(-0.5 * z**2) / math.sqrt(2 * math.pi)
    return np.asarray(mean * 0.5 * (1 + _erf(z / math.sqrt(2))) + deviation * density)


def _why(seen: Seen, leaders: Counts, difference: tuple[Floats, Floats], gain: Floats, task: int, adapter: int) -> str:
    met = int(min(seen.counts[task, adapter], seen.counts[task, leaders[task]]))
    if adapter == leaders[task]:
        return f"leads after {seen.counts[task, adapter]} examples"
    mean, deviation = difference[0][task, adapter], difference[1][task, adapter]
    return (
        f"{mean:+.2f} ± {deviation:.2f} against the leader, {met} examples in common: "
        f"expected gain {gain[task, adapter]:.4f}"
    )
