"""Controls: what an adapter's answers would score if they knew nothing of their inputs.

Knows: the majority answer, and answers held against other examples' targets. Does not know: where answers come from.
A score above the base may come from answer format and label frequencies alone; these two say how much does.
"""

from __future__ import annotations

from collections.abc import Sequence

from catalog.tasks.answer import Answer, Failed
from catalog.tasks.metrics import METRICS
from catalog.tasks.options import index_of
from catalog.tasks.task import Example, Task

SHIFTS = 8  # other targets that each answer is held against


def scores_of(task: Task, answers: Sequence[Answer], examples: Sequence[Example]) -> list[float]:
    """The task's metric of each answer; 0 for one that failed."""
    return [_score(task, answer, example, example.target) for answer, example in zip(answers, examples, strict=True)]


def majority_scores(task: Task, answer: str, examples: Sequence[Example]) -> list[float]:
    """The same for always giving one answer; where options are weighed, for always choosing one."""
    if METRICS[task.metric].needs == "option_logprobs":
        return [float(answer == example.target) for example in examples]
    return [_score(task, answer, example, example.target) for example in examples]


def shuffled_scores(task: Task, answers: Sequence[Answer], examples: Sequence[Example]) -> list[float]:
    """The shuffled control: each answer's mean score against the targets of the next SHIFTS examples, in a ring.

    It is what a random permutation of the targets leaves in expectation. An only example is held against itself.
    """
    n = len(examples)
    shifts = range(1, min(SHIFTS, n - 1) + 1) or range(1)
    return [
        sum(_score(task, answer, own, _as_target_of(own, examples[(place + s) % n])) for s in shifts) / len(shifts)
        for place, (answer, own) in enumerate(zip(answers, examples, strict=True))
    ]


def _as_target_of(own: Example, other: Example) -> str:
    """Another example's target; where the own options lack it, the own option at the same place."""
    if not own.options or index_of(other.target, own.options) is not None:
        return other.target
    place = index_of(other.target, other.options)
    return own.options[(place or 0) % len(own.options)]


def _score(task: Task, answer: Answer, example: Example, target: str) -> float:
    if isinstance(answer, Failed):
        return 0.0
    return METRICS[task.metric].score(answer, target, example.options)
