"""Prompts: how a query's input becomes what the engine is given.

Knows: the templates people ask for by name. Does not know: queries' files, routes' weights.

    task     the template that the adapters were scored with: the query's own task's, else the nearest's
    alpaca   Alpaca's instruction template        plain   the input as it is
    chat     the base's own chat template, the input as one user message
"""

from __future__ import annotations

from collections.abc import Callable

from catalog.errors import SettingError
from catalog.tasks.task import DEFAULT_TEMPLATE, TEMPLATES
from flows.answer.published_base import PublishedBase
from lorauter.routing.routes import Routed
from warehouse.queries.queries import Query
from warehouse.records.published_tasks import asked_tasks

Prompts = Callable[[Query, Routed], str]
NAMES = ("task", "alpaca", "plain", "chat")


def prompts_of(name: str, published: PublishedBase) -> Prompts:
    """The maker of prompts of that name. Raises SettingError for another, or a base without a chat template."""
    if name == "task":
        return _by_task(published)
    if name == "chat":
        from lorauter.engine.chat import chat_template

        in_chat = chat_template(published.fetch_base())
        return lambda query, _: in_chat(query.input)
    if name not in NAMES:
        raise SettingError(f"There is no template {name!r}.", f"Choose one of: {', '.join(NAMES)}.")
    template = TEMPLATES[name]
    return lambda query, _: template.replace("{input}", query.input)


def _by_task(published: PublishedBase) -> Prompts:
    tasks = asked_tasks(published.snapshot, published.index.base)
    templates = {name: task.template for name, task in tasks.items()}

    def prompt(query: Query, route: Routed) -> str:
        nearest = route.tasks[0].task if route.tasks else ""
        return templates.get(query.task or nearest, DEFAULT_TEMPLATE).replace("{input}", query.input)

    return prompt
