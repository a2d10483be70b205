"""The task's own adapter: the ceiling that others are measured against. Is told each query's true task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.errors import SettingError
from lorauter.routing.routes import Masked, Question, Route, TaskMatch, mixture_of
from lorauter.routing.task_index import TaskIndex


class OracleRouter:
    """The declared adapter of a query's true task; the published one where none is declared (LORAUTER's oracle).

    Args:
        truth: query → true task, for who asks by texts alone.
    """

    name = "oracle"

    def __init__(self, index: TaskIndex, truth: Mapping[str, str]) -> None:
        self._truth = truth
        self._own = {
            task: best if own is None else own
            for task, own, best in zip(index.tasks, index.declared, index.best, strict=True)
        }

    def route(self, queries: Sequence[str], masked: Masked = None) -> list[Route]:
        """A single adapter of weight 1 a query. Raises SettingError for a query of unknown task."""
        return [self._route(self._truth.get(query, "")) for query in queries]

    def route_questions(self, questions: Sequence[Question], masked: Masked = None) -> list[Route]:
        """The same, by the task that each question names."""
        return [self._route(question.task) for question in questions]

    def _route(self, task: str) -> Route:
        if task not in self._own:
            raise SettingError("The oracle needs the true task of every query.", "Add a column `task`.")
        return Route(mixture_of({self._own[task]: 1.0}), (TaskMatch(task, 1.0, 1.0),), 1.0)
