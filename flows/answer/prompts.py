"""Prompts: how a query's input becomes what the engine is given.

Knows: what people ask for as a template. Does not know: queries' files, whose format a route is asked in
(flows/answer/route_formats).

    task             what the route's leading adapter was scored in: a format of its own, else the task's template,
                     the query's own task's or the nearest's
    chat             the base's own chat template, the input as one user message
    another name     a format of catalog/formats: alpaca, chatml, llama3, plain, …
    text with {input}
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from catalog.formats.table import stops_asked, template_asked
from catalog.tasks.task import CHAT, DEFAULT_TEMPLATE
from flows.answer.published_base import PublishedBase
from flows.answer.route_formats import RouteFormats
from lorauter.engine.decoding import STOPS, stops_of
from lorauter.routing.routes import Routed
from warehouse.queries.queries import Query
from warehouse.records.published_tasks import asked_tasks

TASK = "task"


@dataclass(frozen=True, slots=True)
class Prompt:
    """What the engine is given.

    Args:
        text: the prompt.
        stops: texts that end its answer, beside those of the whole batch.
    """

    text: str
    stops: tuple[str, ...] = ()


Prompts = Callable[[Query, Routed], Prompt]


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
        return lambda query, _: Prompt(chat.prompt(query.input))
    template = template_asked(asked)
    return lambda query, _: Prompt(template.replace("{input}", query.input))


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
    return stops_of([*STOPS, *template_stops(asked)])


def template_stops(asked: str) -> tuple[str, ...]:
    """The stops of a format that is asked for by its name; () with anything else."""
    return () if asked in (TASK, CHAT) else stops_asked(asked)


def _by_task(published: PublishedBase) -> Prompts:
    tasks = asked_tasks(published.snapshot, published.index.base)
    templates = {name: task.template for name, task in tasks.items()}
    formats = RouteFormats(published.snapshot, published.index)

    def prompt(query: Query, route: Routed) -> Prompt:
        task = query.task or (route.tasks[0].task if route.tasks else "")
        asked = formats.of(route, task)
        if asked:
            return Prompt(asked.prompt(query.input), asked.stops)
        return Prompt(templates.get(task, DEFAULT_TEMPLATE).replace("{input}", query.input))

    return prompt
