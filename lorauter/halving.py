"""Successive halving: which adapters of a task go on to the next rung. Pure functions, no torch, no tables.

Knows: the rule of LORAUTER (arXiv 2601.21795, code): each rung scores the survivors on fresh examples, scores
accumulate, the better half goes on. Does not know: how scores come about.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from catalog.task import Example, Task


@dataclass(frozen=True, slots=True)
class HalvingOptions:
    """How a task's validation examples are spent.

    Args:
        rungs: fresh examples an adapter gets at each rung, while it survives.
        keep: share of adapters that goes on. least: never fewer go on to the next rung than this.
        report: least share of the validation set kept apart to score the winner, as examples that chose a
            winner overrate it.
    """

    rungs: tuple[int, ...] = (3, 3, 6, 12)
    keep: float = 0.5
    least: int = 3
    report: float = 0.4


@dataclass(frozen=True, slots=True)
class Standing:
    """An adapter's cumulative mean over the examples it has seen, and whether the task declares it its own."""

    adapter: str
    mean: float
    declared: bool = False


def ranked(standings: Sequence[Standing]) -> list[Standing]:
    """Best first. Ties: the task's own adapter, then the key that sorts first, so that reruns agree."""
    return sorted(standings, key=lambda s: (-s.mean, not s.declared, s.adapter))


def next_rung(standings: Sequence[Standing], options: HalvingOptions) -> list[str]:
    """Keys of the adapters that go on, best first."""
    size = max(math.ceil(len(standings) * options.keep), min(options.least, len(standings)))
    return [standing.adapter for standing in ranked(standings)[:size]]


def pool_sizes(pool: int, options: HalvingOptions) -> list[int]:
    """How many adapters each rung evaluates, from the pool's size on."""
    sizes = [pool]
    for _ in options.rungs[1:]:
        sizes.append(max(math.ceil(sizes[-1] * options.keep), min(options.least, sizes[-1])))
    return sizes


def split_examples(task: Task, options: HalvingOptions) -> tuple[list[list[Example]], list[Example]]:
    """The fresh examples of every rung, and those that score the winner. They never overlap.

    Examples are taken in the order of their content hashes: a shuffle that a rerun repeats and that no added
    example changes much. A validation set too small for the rungs shrinks them in proportion.
    """
    examples = sorted(task.validation, key=lambda e: e.id)
    wanted = sum(options.rungs)
    room = len(examples) - max(1, math.ceil(len(examples) * options.report))
    scale = min(1.0, room / wanted)
    rungs, start = [], 0
    for size in options.rungs:
        end = min(start + max(1, int(size * scale)), room)
        rungs.append(examples[start:end])
        start = end
    return [rung for rung in rungs if rung], examples[start:]


def planned_evaluations(task: Task, pool: int, options: HalvingOptions) -> int:
    """Evaluations that halving makes for a task: the survivors' rungs, the base on all, the winner's report."""
    rungs, report = split_examples(task, options)
    sizes = pool_sizes(pool, options)
    selection = sum(size * len(rung) for size, rung in zip(sizes, rungs, strict=False))
    return selection + sum(map(len, rungs)) + 2 * len(report)
