"""The page of a snapshot, written.

Knows: which parts make it, where it lies in a home. Does not know: what the parts say.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from flows.home.home import Home
from flows.page.evaluations import read_evaluations
from flows.page.figures import figures
from flows.page.reading import read_tables
from flows.page.render import render
from flows.page.worlds import worlds
from flows.screen.progress import say
from warehouse.snapshots.snapshot import Snapshot
from warehouse.storage.files import write_text


def write_page(home: Home, snapshot: Snapshot, out: Path) -> None:
    """Write the page of a snapshot to `out`, whole or not at all. Equal homes give equal bytes."""
    tables = read_tables(snapshot, home.ledger)
    evaluations = read_evaluations(home.root / "evaluations", snapshot.id)
    content = {**figures(tables), "snapshot": snapshot, "evaluations": evaluations}
    drawn = {"bases": worlds(tables), "evaluations": evaluations, "endpoint": linkable(home.settings.endpoint)}
    write_text(out, render(content, drawn))


def page_beside(home: Home, snapshot: Snapshot, tell: Callable[[str], None] = say) -> Path | None:
    """Write the page of a refresh to `reports/<id>.html` of the home; what prevents it is told, and is no failure."""
    out = home.root / "reports" / f"{snapshot.id}.html"
    try:
        write_page(home, snapshot, out)
    except Exception as error:  # whatever it is: the snapshot is published, and the page can be had later
        tell(f"No page was written ({type(error).__name__}: {error}); try `lorauter report --out report.html`.")
        return None
    return out


def linkable(endpoint: str) -> str:
    """The hub's address where adapters' pages may be linked to; "" where it is not reached by https."""
    try:
        parts = urlsplit(endpoint)
    except ValueError:
        return ""
    sound = parts.scheme == "https" and parts.hostname and not parts.username and not parts.query
    return f"https://{parts.netloc}{parts.path.rstrip('/')}" if sound else ""
