"""What partitions of the ledger gain: questions about one base, where the ledger holds one, four or sixteen of them.

    python -m benchmarks.ledger_partitions --json benchmarks/results/ledger-partitions.json

The same fragments lie once flat, as format 0 had them, and once in folders by base. Asked are what a plan asks (which
outputs of these keys are there), what a refresh asks (the base's verdicts), and SQL about one base. Times are medians
of runs that take turns; the files are in the page cache.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.turns import interleaved, median
from warehouse.ledger.ledger import Ledger
from warehouse.schemas.columns import table_of
from warehouse.schemas.ledger import LEDGER
from warehouse.sql.session import connect, run
from warehouse.storage.files import write_table

TURNS = 5
ROWS = 256  # of a fragment: a shard's
SHA = "b" * 40
AT = datetime(2026, 11, 23, tzinfo=UTC)


def main() -> None:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--fragments", type=int, default=64, help="Fragments of each base, of 256 rows.")
    parser.add_argument("--json", type=Path, help="File for the figures.")
    flags = parser.parse_args()
    rows = []
    for bases in (1, 4, 16):
        with tempfile.TemporaryDirectory() as scratch:
            rows += measure(Path(scratch), bases, flags.fragments)
    print(f"{'bases':>5}  {'question':32} {'flat s':>8} {'by base s':>9} {'ratio':>6}")
    for row in rows:
        print(f"{row['bases']:5}  {row['question']:32} {row['flat']:8.3f} {row['parted']:9.3f} {row['ratio']:6.1f}")
    if flags.json:
        told = {
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "fragments_a_base": flags.fragments,
            "rows": rows,
        }
        flags.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def measure(root: Path, bases: int, fragments: int) -> list[dict[str, Any]]:
    """Seconds of each question, flat and by base, with `bases` bases in the ledger."""
    flat, parted = Ledger(root / "flat"), Ledger(root / "parted")
    for base in range(bases):
        for number in range(fragments):
            _fill(flat, parted, f"org/base-{base}", number)
    keys = [f"org/base-0-{number}-{row}" for number in range(0, fragments, 4) for row in range(0, ROWS, 4)]
    questions: dict[str, Callable[[Ledger], object]] = {
        "outputs of a plan's keys": lambda ledger: _outputs(ledger, keys),
        "current verdicts": lambda ledger: len(ledger.index("verdicts", within="org/base-0").columns),
        "SQL: outputs by task": _sql,
    }
    found = []
    for question, ask in questions.items():
        seconds = interleaved({"flat": _run(ask, flat), "parted": _run(ask, parted)}, TURNS)
        flat_s, parted_s = (median(seconds[name]) for name in ("flat", "parted"))
        found.append(
            {"bases": bases, "question": question, "flat": flat_s, "parted": parted_s, "ratio": flat_s / parted_s}
        )
    return found


def _run(ask: Callable[[Ledger], object], ledger: Ledger) -> Callable[[], None]:
    def run_it() -> None:
        ask(ledger)

    return run_it


def _fill(flat: Ledger, parted: Ledger, base: str, number: int) -> None:
    """One fragment of outputs and one of verdicts, in both ledgers."""
    known = {"base": base, "base_sha": SHA}
    outputs = [
        {**known, "key": f"{base}-{number}-{row}", "task": f"task-{row % 9}", "prompt": "words " * 40, "text": "a word"}
        for row in range(ROWS)
    ]
    judged = [{**known, "adapter": f"ann/{number}-{row}@{SHA}", "admitted": True, "at": AT} for row in range(ROWS)]
    for table, rows in (("outputs", outputs), ("verdicts", judged)):
        name = f"{base.replace('/', '-')}-{number:05d}"
        write_table(flat.root / table / f"{name}.parquet", table_of(rows, LEDGER[table]))
        parted.append(table, rows, name)


def _outputs(ledger: Ledger, keys: list[str]) -> int:
    return len(list(ledger.where("outputs", {"base": "org/base-0", "key": keys}, ["key"])))


def _sql(ledger: Ledger) -> int:
    with connect(None, ledger) as connection:
        asked = "SELECT task, count(*) FROM ledger_outputs WHERE base = 'org/base-0' GROUP BY task"
        return len(run(connection, asked).fetchall())


if __name__ == "__main__":
    main()
