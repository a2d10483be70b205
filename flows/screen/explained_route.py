"""An explained route for people.

Knows: rich, and the object that lorauter/routing/explain makes. Does not know: how it came about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO, Any

from rich.table import Table

from flows.screen.screen import Screen

Found = Mapping[str, Any]


def show_explanation(found: Found, out: IO[str]) -> None:
    """Print one explained route."""
    screen = Screen(out)
    for part in (_head(found), _tasks(found), _adapters(found), _pages(found), _others(found)):
        if part is not None:
            screen.print(part, soft_wrap=isinstance(part, str))


def _head(found: Found) -> str:
    return "\n".join(_headlines(found))


def _headlines(found: Found) -> Iterator[str]:
    yield f"{found['text']!r} by {found['router']}, snapshot {found['snapshot']}"
    if found["filters"]:
        yield "filters: " + "; ".join(f"{name} {_listed(value)}" for name, value in found["filters"].items())
    confidence = found["confidence"]
    told = "none: this router gives none" if confidence is None else f"{confidence:.3f}"
    yield f"confidence {told}{': ' if found['confidence_means'] else ''}{found['confidence_means']}"
    if found["base_because"]:
        yield f"answered by the base: {found['base_because']}"
    if found["weights"] == "by token":
        yield "weights differ from token to token; any of the adapters below may take part"


def _tasks(found: Found) -> Table | None:
    if not found["tasks"]:
        return None
    table = _table(
        "Tasks", "task", "published adapter", right=("similarity", "weight", "score", "lift over base", "base", "n")
    )
    for task in found["tasks"]:
        row = task["published"]
        score, lift = _error(row["score"], row["standard_error"]), _error(row["lift"], row["lift_standard_error"], "+")
        base = f"{row['base_score']:.2f}" + (f" ({row['base_format']})" if row["base_format"] else "")
        numbers = (f"{task['similarity']:.3f}", f"{task['weight']:.3f}", score, lift, base)
        _add(table, task["task"], _name(row["adapter"]) + _asked_in(row), *numbers, row["n"])
        if task["used"] != row["adapter"]:
            _add(table, "", f"→ {_name(task['used'])} ({task['used_because']})")
    if found["next_task"]:
        _add(table, f"next: {found['next_task']['task']}", "", f"{found['next_task']['similarity']:.3f}", "–")
    return table


def _adapters(found: Found) -> Table | None:
    table = _table("Adapters", "adapter", "tasks", "licence", right=("weight", "size", "rank", "downloads"))
    for row in found["adapters"]:
        size = f"{row['size'] / 1e6:.1f} MB" if row["size"] is not None else "?"
        gone = f" (gone from the hub: {row['gone']})" if row["gone"] else ""
        told = (
            row["licence"] or "unknown",
            _weight(row["weight"]),
            size,
            _known(row["rank"]),
            _known(row["downloads"]),
        )
        _add(table, _name(row["adapter"]) + gone, ", ".join(row["tasks"]), *told)
    if found["base_weight"]:
        tasks = (task["task"] for task in found["tasks"] if not task["used"])
        _add(table, "(base)", ", ".join(tasks), "", _weight(found["base_weight"]))
    return table


def _pages(found: Found) -> str | None:
    return "\n".join(row["page"] for row in found["adapters"] if row["page"]) or None


def _others(found: Found) -> Table | None:
    rows = [(task, row) for task in found["tasks"] for row in _losers(task)]
    if not rows:
        return None
    table = _table("Why others lost (selection examples)", "task", "adapter", right=("mean", "n", "lift", "rung"))
    table.add_column("why", overflow="fold")
    last = None
    for task, row in rows:
        lift = _error(row["lift"], row["lift_standard_error"], "+")
        told = (f"{row['mean']:.2f}", row["n"], lift, row["rung"], _why(row, task))
        _add(table, "" if task["task"] == last else task["task"], _name(row["adapter"]) + _asked_in(row), *told)
        last = task["task"]
    return table


def _losers(task: Found) -> Iterator[Found]:
    if task["selection"]:
        yield task["selection"]
    yield from task["others"]
    yield from task["filtered"]


def _why(row: Found, task: Found) -> str:
    why = "used" if row["adapter"] == task["used"] else f"filtered out: {row['filtered']}" if row["filtered"] else ""
    gone = f"gone from the hub: {row['gone']}" if row["gone"] else ""
    return "; ".join(part for part in (why, gone, row["why"]) if part)


def _table(title: str, *names: str, right: tuple[str, ...]) -> Table:
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0))
    for name in names:
        table.add_column(name, overflow="fold")
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _add(table: Table, *cells: object) -> None:
    table.add_row(*map(str, cells))


def _name(key: str) -> str:
    """An adapter for people: without its commit."""
    return key.rpartition("@")[0] if key else "(base)"


def _asked_in(row: Found) -> str:
    """The prompt format of a score, where it is not the task's own, and where that is known from."""
    source = f", known from its {row['format_source']}" if row["format_source"] else ""
    return f" (asked in {row['format']}{source})" if row["format"] else ""


def _weight(weight: float | None) -> str:
    return "by token" if weight is None else f"{weight:.3f}"


def _error(value: float, error: float | None, sign: str = "") -> str:
    return f"{value:{sign}.2f}" + ("" if error is None else f" ± {error:.2f}")


def _known(value: object) -> str:
    return "?" if value is None else str(value)


def _listed(value: object) -> str:
    return ", ".join(value) if isinstance(value, list) else f"{value:,}"
