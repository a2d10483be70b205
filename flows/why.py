"""Why an adapter was admitted or rejected, told from the ledger. Makes no request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from catalog.errors import SettingError
from flows.home import Home
from flows.report import printable


def tell(home: Home, repo: str) -> Iterator[str]:
    """Lines about every adapter of `repo` (org/name, or org/name:folder for one). Raises SettingError if unseen."""
    rows = [row for row in home.ledger.current("verdicts") if repo in (row["repo"], f"{row['repo']}:{row['path']}")]
    if not rows:
        raise SettingError(f"{repo} has not been seen.", "Check the name, or run `lorauter refresh` first.")
    for row in sorted(rows, key=lambda row: (row["adapter"], row["at"])):
        yield from _story(row)
    for row in home.ledger.current("rungs"):
        if row["adapter"] in {r["adapter"] for r in rows} and row["kept"]:
            continue
        if row["adapter"] in {r["adapter"] for r in rows}:
            yield printable(
                f"  {row['task']}: dropped at rung {row['rung']}, mean {row['mean']:.2f} on {row['n']}, {row['why']}"
            )


def _story(row: dict[str, Any]) -> Iterator[str]:
    verdict = "admitted" if row["admitted"] else f"rejected: {row['reason']}"
    yield printable(
        f"{row['adapter']} for {row['base']}: {verdict} (rules {row['rules_version']}, {row['at']:%Y-%m-%d})"
    )
    for finding in row["findings"]:
        yield printable(f"  {finding['reason']}: {finding['evidence']}")
    yield printable(
        f"  rank {row['rank']}, {row['modules']} modules, {row['size'] or 0:,} bytes, licence {row['licence']}"
    )
