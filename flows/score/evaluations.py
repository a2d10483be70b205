"""Evaluations as answers and as metrics, and what they have cost.

Knows: which output an evaluation needs, which stops end it, what it comes to. Does not know: how outputs are made
(flows/outputs), who asks (lorauter/racing).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from catalog.tasks.answer import Answer, Endings, Failed, endings_of
from catalog.tasks.controls import scores_of
from catalog.tasks.metrics import METRICS
from flows.outputs.outputs import Outputs
from flows.screen.progress import Advance
from lorauter.answers import ended_by
from lorauter.racing.evaluation import Evaluation
from warehouse.plans.conditions import make_each
from warehouse.plans.plan import Conditions, Work


@dataclass
class Evaluations:
    """What makes evaluations.

    Args:
        outputs: gives the answers.
        conditions: of those in the tasks' own format; others have their own stops besides.
        new: how many answers had to be made.
        reported: how many were asked for by the report.
        endings: of the races' answers, by task and adapter.
    """

    outputs: Outputs
    conditions: Conditions
    new: int = 0
    reported: int = 0
    endings: dict[tuple[str, str], Endings] = field(default_factory=dict)

    def metrics(self, wanted: Sequence[Evaluation], advance: Advance) -> list[float | Failed]:
        """The metric of each evaluation of a race, or why there is none."""
        answers = self.answers(wanted, advance)
        for one, answer in zip(wanted, answers, strict=True):
            cell = one.task.name, one.adapter
            self.endings[cell] = self.endings.get(cell, Endings()) + endings_of([answer])
        return _metrics(wanted, answers)

    def compared(self, wanted: Sequence[Evaluation], advance: Advance) -> list[float | Failed]:
        """The same where formats are compared: the race asks for those of the best again, and tells how they ended."""
        return _metrics(wanted, self.answers(wanted, advance))

    def answers(self, wanted: Sequence[Evaluation], advance: Advance) -> list[Answer]:
        """The answer of each evaluation: a text, or the options weighed where the metric looks at those."""
        work = [_work(one) for one in wanted]
        conditions = [
            ended_by(one.format.stops if one.format else (), self.conditions, wants)
            for one, wants in zip(wanted, work, strict=True)
        ]
        answers, new = make_each(self.outputs.ensure, work, conditions, advance)
        self.new += new
        return answers


def _work(one: Evaluation) -> Work:
    task, example = one.task, one.example
    mixture = ((one.adapter, 1.0),) if one.adapter else ()
    options = example.options if METRICS[task.metric].needs == "option_logprobs" else ()
    return Work(one.prompt, mixture, task.max_new_tokens, task.name, example.id, options)


def _metrics(wanted: Sequence[Evaluation], answers: Sequence[Answer]) -> list[float | Failed]:
    return [
        answer if isinstance(answer, Failed) else scores_of(one.task, [answer], [one.example])[0]
        for one, answer in zip(wanted, answers, strict=True)
    ]
