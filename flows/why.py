"""Why an adapter was admitted or rejected, told from the ledger. Makes no request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catalog.adapter import AdapterId
from catalog.errors import SettingError
from flows.home import Home
from flows.screen import printable


def tell(home: Home, repo: str) -> Iterator[str]:
    """Lines about every adapter of `repo` (org/name, or org/name:folder for one). Raises SettingError if unseen."""
    name, _, folder = repo.partition(":")
    index = home.ledger.index("verdicts")
    keys = [key for key in index if AdapterId.parse(key[2]).repo == name]
    rows = [row for row in index.rows(keys) if folder in ("", row["path"])]
    if not rows:
        raise SettingError(f"{repo} has not been seen.", "Check the name, or run `lorauter refresh` first.")
    yield from _listed(home, name)
    for row in sorted(rows, key=lambda row: (row["adapter"], row["at"])):
        yield from _story(row)
    adapters = {row["adapter"] for row in rows}
    for row in home.ledger.current("rungs"):
        if row["adapter"] in adapters and not row["kept"]:
            yield printable(
                f"  {row['task']}: dropped at rung {row['rung']}, mean {row['mean']:.2f} on {row['n']}, {row['why']}"
            )


def _listed(home: Home, repo: str) -> Iterator[str]:
    """What became of the repo on the hub, where it is no longer there, or closed."""
    index = home.ledger.index("repos")
    for row in index.rows(key for key in index if key[1] == repo):
        if row["gone"]:
            renamed = f", now {row['gone_to']}" if row["gone_to"] else ""
            yield printable(
                f"{repo} is gone from the hub: {row['gone']}{renamed} ({row['target']}, {row['at']:%Y-%m-%d})"
            )


def _story(row: dict[str, Any]) -> Iterator[str]:
    verdict = "admitted" if row["admitted"] else f"rejected: {row['reason']}"
    yield printable(
        f"{row['adapter']} for {row['base']}: {verdict} (rules {row['rules_version']}, {row['at']:%Y-%m-%d})"
    )
    for finding in row["findings"]:
        yield printable(f"  {finding['reason']}: {finding['evidence']}")
    ranks = ", ".join(f"{g['modules']} of rank {g['rank']} × {_number(g['scaling'])}" for g in row["ranks"] or ())
    yield printable(
        f"  {row['modules']} modules ({ranks or 'none'}), {row['size'] or 0:,} bytes, licence {row['licence']}"
    )
    if row["base_named"] not in (None, row["base"]):
        yield printable(f"  it calls its base {row['base_named']!r} (known from its {row['base_source']})")


def _number(scaling: float | None) -> str:
    return "?" if scaling is None else f"{scaling:g}"
