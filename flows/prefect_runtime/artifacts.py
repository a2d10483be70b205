"""Prefect artifacts of a race: a progress bar, a table of rungs, and who won, for those who watch there.

Knows: whether this process is within a flow run, what its page shows. Does not know: how a race is run.
Without a flow run, or with a server that does not answer, nothing is shown and nothing is lost.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flows.screen.progress import Advance, say
from lorauter.racing.view import RungView

PROGRESS, RUNGS, WINNERS, PAGE = "score-progress", "score-rungs", "score-best", "catalog-page"
_EVERY_S = 5.0


class ShownOnPrefect:
    """A view of rungs that also tells Prefect."""

    def __init__(self, view: RungView) -> None:
        self._view = view
        self._rows: list[dict[str, Any]] = []
        self._watched = within_a_flow_run()

    @contextmanager
    def rung(self, evaluations: int, who: str) -> Iterator[Advance]:
        """A rung, shown in both places."""
        number, began = len(self._rows) + 1, time.monotonic()
        bar = self._try(lambda: _new_bar(f"Rung {number}: {evaluations:,} evaluations of {who}."))
        told, done = began, 0
        with self._view.rung(evaluations, who) as advance:

            def both(new: int) -> None:
                nonlocal told, done
                advance(new)
                done += new
                if bar and time.monotonic() - told > _EVERY_S:
                    told = time.monotonic()
                    self._try(lambda: _move_bar(bar, done / evaluations))

            yield both
        seconds = time.monotonic() - began
        rate = round(evaluations / max(seconds, 1e-3))
        row = {"rung": number, "evaluations": evaluations, "of": who, "seconds": round(seconds, 1), "a second": rate}
        self._rows.append(row)
        if bar:
            self._try(lambda: _move_bar(bar, 1.0))
        self._try(lambda: _new_table(RUNGS, self._rows, "Rungs of this run so far."))

    def won(self, best: Mapping[str, str]) -> None:
        """The winners by task, once all is over; "" is the base."""
        rows = [{"task": task, "adapter": adapter or "(base)"} for task, adapter in best.items()]
        self._try(lambda: _new_table(WINNERS, rows, "The best adapter of every task."))

    def _try(self, tell: Callable[[], Any]) -> Any:
        if not self._watched:
            return None
        try:
            return tell()
        except Exception as error:
            self._watched = False
            say(f"Prefect's page shows no more of this run ({type(error).__name__}); the run goes on.")
        return None


def link_page(page: Path) -> None:
    """Link to the page of what was published, for those who watch there."""
    if not within_a_flow_run():
        return
    from prefect.artifacts import create_link_artifact

    try:
        create_link_artifact(page.as_uri(), link_text=page.name, key=PAGE, description="The catalog as one HTML file.")
    except Exception as error:
        say(f"Prefect's page has no link to {page} ({type(error).__name__}); the run goes on.")


def within_a_flow_run() -> bool:
    """Whether a Prefect flow run is what runs this. Prefect is not imported to find out."""
    if "prefect" not in sys.modules:
        return False
    from prefect.context import FlowRunContext

    return FlowRunContext.get() is not None


def _new_bar(description: str) -> Any:
    from prefect.artifacts import create_progress_artifact

    return create_progress_artifact(0.0, key=PROGRESS, description=description)


def _move_bar(bar: Any, share: float) -> None:
    from prefect.artifacts import update_progress_artifact

    update_progress_artifact(bar, 100 * share)


def _new_table(key: str, rows: list[dict[str, Any]], description: str) -> None:
    from prefect.artifacts import create_table_artifact

    create_table_artifact(rows, key=key, description=description)
