"""Lessons: what somebody scored becomes what the policy knows, each once, in an order that a replay can follow.

Knows: lessons, marks, corrections. Does not know: where scores are kept (warehouse/records/feedback), files of states.

A score that is given anew for an answer that was learned already corrects its reward; it is no second request. The
state keeps the marks of its lessons in the order in which it learned them, and a replay learns in that order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from catalog.tasks.task import content_hash
from lorauter.bandit.state import PolarState


@dataclass(frozen=True, slots=True)
class Lesson:
    """One score of one answer.

    Args:
        answer: what tells this answer from others.
        arm: adapter that made it, "" for the base.
        context: of its query.
        score: in [0, 1].
        at: when it was given.
    """

    answer: str
    arm: str
    context: tuple[float, ...]
    score: float
    at: str = ""

    @property
    def mark(self) -> str:
        """What the state remembers of it."""
        return content_hash([self.answer, self.score, self.at])


def learn(state: PolarState, lessons: Sequence[Lesson]) -> int:
    """Learn what is new, in place. Returns how many lessons that were.

    Args:
        state: its arms include those of the lessons.
        lessons: all that there ever were of the state's lineage, oldest first; the learned ones tell which reward a new
            score corrects.
    """
    by_mark = {lesson.mark: lesson for lesson in lessons}
    before = {by_mark[mark].answer: by_mark[mark].score for mark in state.learned if mark in by_mark}
    places = {name: place for place, name in enumerate(state.names)}
    new = [lesson for mark, lesson in by_mark.items() if mark not in state.learned]
    for lesson in new:
        x, arm = np.array(lesson.context, dtype=np.float64), np.array(places[lesson.arm])
        if lesson.answer in before:
            state.polar.arms.correct(arm, x, np.array(lesson.score - before[lesson.answer]))
        else:
            state.polar.learn(arm, x, np.array(lesson.score))
        before[lesson.answer] = lesson.score
        state.learned[lesson.mark] = None
    return len(new)


def replay(fresh: PolarState, lessons: Sequence[Lesson], order: Sequence[str]) -> PolarState:
    """The state that a fresh one becomes by these lessons.

    Args:
        fresh: learned nothing yet, has the arms; changed in place.
        lessons: as of `learn`.
        order: the marks in the order in which they were learned, as another state has them.
    """
    by_mark = {lesson.mark: lesson for lesson in lessons}
    learn(fresh, [by_mark[mark] for mark in order])
    return fresh
