"""Successive halving: the paper's rungs (LORAUTER, arXiv 2601.21795, code) and the product's own.

Knows: rungs of fresh examples, cumulative means, how many survive. Does not know: anything beyond the results of the
task at hand: no likeness, no other task. Survivors of a rung are those that have met the most examples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lorauter.racing.halving import HalvingOptions, Standing, next_rung
from lorauter.racing.strategies.base import Floats, Problem, Seen, Step

PAPER_ROUNDS = (2.5, 2.25, 3.375, 5.0625)
PAPER_EXAMPLES = 200  # a task's validation examples in the paper

_Alive = tuple[list[int], int]


@dataclass(frozen=True, slots=True)
class Halving:
    """Halving over given rungs.

    Args:
        name: for tables.
        rungs: fresh examples of each rung; a task with less room shrinks them in proportion.
        options: who survives (lorauter/racing/halving).
    """

    name: str
    rungs: tuple[int, ...]
    options: HalvingOptions
    reads_likeness: bool = False

    def next(self, problem: Problem, seen: Seen) -> Step:
        """The next rung of every task; tasks do not wait for each other's."""
        counts = seen.counts.copy()
        means = seen.means
        survivors = [self._survivors(problem, seen, means, task) for task in range(problem.tasks)]
        for task, (alive, upto) in enumerate(survivors):
            counts[task, alive] = np.maximum(counts[task, alive], upto)
        picks = np.asarray([alive[0] for alive, _ in survivors], dtype=np.int64)
        return Step(counts, picks, lambda task, adapter: self._why(seen, means, task, adapter))

    def _survivors(self, problem: Problem, seen: Seen, means: Floats, task: int) -> _Alive:
        """Who goes on, best first, and to how many examples."""
        met = int(seen.counts[task].max())
        ends = _ends(self.rungs, int(problem.room[task]))
        if not met:
            return list(range(problem.adapters)), ends[0]
        alive = np.flatnonzero(seen.counts[task] == met).tolist()
        done = next((number for number, end in enumerate(ends, 1) if end >= met), len(ends))
        standings = [Standing(f"{adapter:09d}", float(means[task, adapter])) for adapter in alive]
        if done == len(ends):
            return [min(alive, key=lambda a: (-float(means[task, a]), a))], met
        return [int(key) for key in next_rung(standings, self.options)], ends[done]

    def _why(self, seen: Seen, means: Floats, task: int, adapter: int) -> str:
        met = int(seen.counts[task, adapter])
        rivals = np.flatnonzero(seen.counts[task] >= met)
        return f"mean {means[task, adapter]:.2f} on {met} examples was not among the better of {len(rivals)}"


def paper_halving(budget: int, room: int = PAPER_EXAMPLES) -> Halving:
    """The paper's rungs for its budget 1..15. With fewer examples than the paper's, the budget shrinks with them."""
    size = budget * room / PAPER_EXAMPLES
    rungs = tuple(max(1, int(size * share)) for share in PAPER_ROUNDS)
    return Halving(f"paper's halving {budget}", rungs, HalvingOptions(keep=0.5, least=3))


def product_halving(options: HalvingOptions) -> Halving:
    """The product's rungs, as flows/score/score runs them."""
    return Halving("halving", options.rungs, options)


def _ends(rungs: Sequence[int], room: int) -> list[int]:
    """Examples met by the end of each rung, within a task's room."""
    scale = min(1.0, room / sum(rungs))
    ends: list[int] = []
    for size in rungs:
        ends.append(min(room, (ends[-1] if ends else 0) + max(1, int(size * scale))))
    return ends
