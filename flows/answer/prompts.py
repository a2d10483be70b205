"""Prompts: how a query's input becomes what the engine is given.

Knows: what people ask for as a template. Does not know: queries' files, routes' weights.

    task             the template that the adapters were scored with: the query's own task's, else the nearest's
    chat             the base's own chat template, the input as one user message
    another name     a format of catalog/formats: alpaca, chatml, llama3, plain, …
    text with {input}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catalog.formats.table import stops_asked, template_asked
from catalog.tasks.task import CHAT, DEFAULT_TEMPLATE
from flows.answer.published_base import PublishedBase
from lorauter.engine.decoding import STOPS, stops_of
from lorauter.routing.routes import Routed
from warehouse.queries.queries import Query
from warehouse.records.published_tasks import asked_tasks

Prompts = Callable[[Query, Routed], str]
TASK = "task"


def prompts_of(asked: str, published: PublishedBase) -> Prompts:
    """The maker of prompts of that template.

    Raises:
        SettingError: there is no such template, or the base has no chat template. TemplateRefused: it has one that
            cannot be used.
    """
    if asked == TASK:
        return _by_task(published)
    if asked == CHAT:
        from lorauter.formats.base_chat import base_chat_format

        chat = base_chat_format(published.fetch_base(), published.index.base)
        return lambda query, _: chat.prompt(query.input)
    template = template_asked(asked)
    return lambda query, _: template.replace("{input}", query.input)


def check_template(asked: str) -> None:
    """Raises SettingError where there is no such template; what a base has is not asked."""
    if asked not in (TASK, CHAT):
        template_asked(asked)


def answer_stops(asked: str, given: str | Sequence[str] | None) -> tuple[str, ...]:
    """What ends an answer under a template: what is given, else a line's end and the stops of a named format.

    A base's chat template and a task's own bring none: a base knows the token that ends its turn, and a task is
    answered as it was scored.
    """
    if given is not None:
        return stops_of(given)
    return stops_of([*STOPS, *(() if asked in (TASK, CHAT) else stops_asked(asked))])


def _by_task(published: PublishedBase) -> Prompts:
    tasks = asked_tasks(published.snapshot, published.index.base)
    templates = {name: task.template for name, task in tasks.items()}

    def prompt(query: Query, route: Routed) -> str:
        nearest = route.tasks[0].task if route.tasks else ""
        return templates.get(query.task or nearest, DEFAULT_TEMPLATE).replace("{input}", query.input)

    return prompt
