"""What adapters scored by example: answers of the ledger to the examples that chose among them.

Knows: which outputs of a race the ledger holds, in the task's own prompt format. Does not know: who learns from it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from catalog.tasks.answer import Failed
from catalog.tasks.controls import scores_of
from catalog.tasks.metrics import METRICS
from catalog.tasks.task import Task
from lorauter.racing.selection import split_examples
from lorauter.train.fit import Outcomes
from warehouse.ledger.ledger import Ledger
from warehouse.plans.plan import Conditions, Work, stored_answers


def outcomes_of(
    ledger: Ledger, tasks: Sequence[Task], met: Collection[tuple[str, str]], conditions: Conditions, report: float
) -> Outcomes:
    """task → adapter ("" for the base) → place in the validation split → metric, of what has been answered.

    Args:
        tasks: as the base was asked them.
        met: (task, adapter) that have met any example.
        conditions: of the answers.
        report: share of a task's validation set that reports on the winner, and teaches nothing here.
    """
    asked, work = [], []
    for task in tasks:
        places = {example.id: place for place, example in enumerate(task.validation)}
        adapters = sorted(adapter for name, adapter in met if name == task.name)
        options = METRICS[task.metric].needs == "option_logprobs"
        for example in split_examples(task, report)[0]:
            for adapter in adapters:
                asked.append((task, example, adapter, places[example.id]))
                mixture = ((adapter, 1.0),) if adapter else ()
                weighed = example.options if options else ()
                prompt = task.prompt(example.input)
                work.append(Work(prompt, mixture, task.max_new_tokens, task.name, example.id, weighed))
    keys = [item.key(conditions) for item in work]
    made = stored_answers(ledger, keys, conditions)
    outcomes: dict[str, dict[str, dict[int, float]]] = {task.name: {} for task in tasks}
    for (task, example, adapter, place), key in zip(asked, keys, strict=True):
        answer = made.get(key)
        if answer is not None and not isinstance(answer, Failed):
            outcomes[task.name].setdefault(adapter, {})[place] = scores_of(task, [answer], [example])[0]
    return outcomes
