"""A package's strategy: its text names the package, its steps are checked, and a fault names the package.

Knows: what a step must be whoever made it; that a step within a task's room ends. Does not know: packages' metadata
(catalog/plugins), races.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from catalog.plugins import Origin
from lorauter.racing.strategies.base import Problem, Seen, Step, Strategy


@dataclass(frozen=True, slots=True)
class PackagedStrategy:
    """A package's strategy. Its text names the package: a race is named by the text of its strategy.

    Args:
        called: its name in `STRATEGIES`.
        package: what brings it, with the version.
        told: its own name, with its settings.
        strategy: what decides.
    """

    called: str
    package: str
    told: str
    strategy: Strategy = field(repr=False, compare=False)

    @property
    def name(self) -> str:
        """As the strategy's."""
        return self.strategy.name

    @property
    def reads_likeness(self) -> bool:
        """As the strategy's."""
        return self.strategy.reads_likeness

    def next(self, problem: Problem, seen: Seen) -> Step:
        """As the strategy's."""
        return self.strategy.next(problem, seen)


class CheckedStrategy:
    """A strategy whose steps ask for examples that there are, and pick adapters that there are."""

    def __init__(self, strategy: Strategy, origin: Origin) -> None:
        self._strategy, self._origin = strategy, origin
        self.name, self.reads_likeness = str(strategy.name), bool(strategy.reads_likeness)

    def next(self, problem: Problem, seen: Seen) -> Step:
        """As the package's, checked."""
        with self._origin.blamed():
            step = self._strategy.next(problem, seen)
            fault = _fault(step, problem)
        if fault:
            raise self._origin.fault(fault)

        def why(task: int, adapter: int) -> str:
            with self._origin.blamed():
                return str(step.why(task, adapter))

        return replace(step, why=why)


def _fault(step: Step, problem: Problem) -> str | None:
    """What is wrong with a step, if anything."""
    counts, picks, shape = step.counts, step.picks, (problem.tasks, problem.adapters)
    if np.shape(counts) != shape or counts.dtype.kind not in "iu":
        return f"asks for counts of {np.shape(counts)} {counts.dtype}, and there are {shape} tasks and adapters"
    if (counts > problem.room[:, None]).any():
        return f"asks for {int(counts.max())} examples, and a task has {int(problem.room.max())} at most"
    if np.shape(picks) != shape[:1] or ((picks < 0) | (picks >= problem.adapters)).any():
        return f"picks {np.asarray(picks).tolist()} of {problem.adapters} adapters"
    return None
