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
from flows.home.home import Home
from lorauter.routing.routes import Routed
from lorauter.routing.task_index import TaskIndex
from warehouse.queries.queries import Query
from warehouse.snapshots.snapshot import Snapshot

Prompts = Callable[[Query, Routed], str]
NAMES = ("task", "alpaca", "plain", "chat")


def prompts_of(name: str, home: Home, snapshot: Snapshot, index: TaskIndex) -> Prompts:
    """The maker of prompts of that name. Raises SettingError for another, or a base without a chat template."""
    if name == "task":
        return _by_task({row["task"]: row["template"] for row in snapshot.read("tasks") if row["base"] == index.base})
    if name == "chat":
        from lorauter.engine.chat import chat_template

        make = chat_template(home.fetch_model(index.base, index.base_sha))
        return lambda query, _: make(query.input)
    if name not in NAMES:
        raise SettingError(f"There is no template {name!r}.", f"Choose one of: {', '.join(NAMES)}.")
    template = TEMPLATES[name]
    return lambda query, _: template.replace("{input}", query.input)


def _by_task(templates: dict[str, str]) -> Prompts:
    def make(query: Query, route: Routed) -> str:
        nearest = route.tasks[0].task if route.tasks else ""
        return templates.get(query.task or nearest, DEFAULT_TEMPLATE).replace("{input}", query.input)

    return make
