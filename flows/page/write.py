"""The page of a snapshot, written.

Knows: which parts make it. Does not know: what the parts say.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flows.page.evaluations import read_evaluations
from flows.page.figures import figures
from flows.page.reading import read_tables
from flows.page.render import render
from flows.page.worlds import worlds
from flows.screen.progress import say
from warehouse.ledger.ledger import Ledger
from warehouse.snapshots.snapshot import Snapshot
from warehouse.storage.files import write_text


@dataclass(frozen=True, slots=True)
class PageSources:
    """What a page shows beside its snapshot.

    Args:
        ledger: the adapters' cards, and what the hub says of their repos.
        evaluations: folder of evaluations; those of the snapshot are shown.
        endpoint: address of the hub, where adapters' pages are.
    """

    ledger: Ledger
    evaluations: Path
    endpoint: str


def write_page(snapshot: Snapshot, sources: PageSources, out: Path) -> None:
    """Write the page of a snapshot to `out`, whole or not at all. Equal sources give equal bytes."""
    tables = read_tables(snapshot, sources.ledger)
    evaluations = [asdict(system) for system in read_evaluations(sources.evaluations, snapshot.id)]
    content = {**figures(tables), "snapshot": snapshot, "evaluations": evaluations}
    drawn = {"bases": worlds(tables), "evaluations": evaluations, "endpoint": linkable(sources.endpoint)}
    write_text(out, render(content, drawn))


def page_beside(snapshot: Snapshot, sources: PageSources, folder: Path) -> Path | None:
    """Write the page of a refresh to `<id>.html` in `folder`; what prevents it is told, and is no failure."""
    out = folder / f"{snapshot.id}.html"
    try:
        write_page(snapshot, sources, out)
    except Exception as error:  # whatever it is: the snapshot is published, and the page can be had later
        say(f"No page was written ({type(error).__name__}: {error}); try `lorauter report --out report.html`.")
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
