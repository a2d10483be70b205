"""The warehouse at scale: publish, every view, memory and bytes, against pandas on the same Parquet and SQLite.

    python -m benchmarks.warehouse [--sizes 10000,100000,1000000] [--runs 30] [--json OUT] [--plot SVG] [--work FOLDER]

A generated catalog of so many adapters, 50 tasks and five times as many scores (and a rung row for each rung that a
score went through) is published by the real `publish`, then asked. Every part is a process of its own on two cores:

publish: seconds, and the process's largest resident memory. bytes: of files, by score.
views: milliseconds of every view as people ask it, warm, p50 and p95 of the runs, tasks and adapters drawn anew.
live: the same without the kept answers (views/*.parquet), each computed from the tables.
pandas: seconds and memory to read the columns that the questions need, then the questions in memory.
sqlite: seconds to load and index the same columns, bytes of the file, then the questions.

pandas and SQLite stop repeating a question after some seconds; `runs` says how often it was asked. Ratios are their
p50 by ours: above 1 ours is quicker.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from warehouse.storage.files import write_text

TASKS = 50
SCORES = 5  # an adapter
SIZES = (10_000, 100_000, 1_000_000)
LIMITS = {"p95_ms": 200, "publish_seconds": 60, "peak_mib": 4096}
_CORES = 2
_PATIENCE = 5.0  # seconds that pandas and SQLite may take for one question
_DRAWN = 200  # adapters that are asked for


def main() -> None:
    """Measure every size in processes of their own; print and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=_numbers, default=SIZES, help="adapters, with commas between them")
    parser.add_argument("--runs", type=int, default=30, help="of every question")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--work", type=Path, help="folder for some GB.  [default: a temporary one]")
    parser.add_argument("--part", choices=sorted(_PARTS), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.part:
        print(json.dumps(_PARTS[args.part](args.work, args.sizes[0], args.runs)))
        return
    with tempfile.TemporaryDirectory(dir=args.work) as work:
        measured = [measure(Path(work) / str(size), size, args.runs) for size in args.sizes]
    print("\n".join(_kept(measured[-1])))
    report = {"machine": _machine(), "limits": LIMITS, "kept": _kept(measured[-1]), "measured": measured}
    if args.json:
        write_text(args.json, json.dumps(report, indent=2) + "\n")
    if args.plot:
        from benchmarks.warehouse_plot import plot

        plot(measured, args.plot)


def measure(work: Path, size: int, runs: int) -> dict[str, Any]:
    """All parts for one size; the folder is removed."""
    work.mkdir(parents=True)
    found: dict[str, Any] = {"adapters": size, "tasks": TASKS, "scores": size * SCORES}
    for part in ("generate", "publish", "views", "live", "pandas", "sqlite"):
        told = _child(part, work, size, runs)
        found |= told if part == "publish" else {} if part == "generate" else {part: told}
        print(f"{size:,} adapters, {part}: {_summary(part, told)}", flush=True)
    shutil.rmtree(work)
    return {**found, "ratios": _ratios(found)}


def _child(part: str, work: Path, size: int, runs: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.warehouse", "--part", part, "--work", str(work)]
    command += ["--sizes", str(size), "--runs", str(runs)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


# Parts, each in a process of its own


def _generate(work: Path, size: int, _: int) -> dict[str, Any]:
    import pyarrow.parquet as pq

    from benchmarks.generated_catalog import generated_catalog

    (work / "given").mkdir()
    for name, table in generated_catalog(size, TASKS, size * SCORES).items():
        pq.write_table(table, work / "given" / f"{name}.parquet", compression="lz4", store_schema=False)
    return {}


def _publish(work: Path, _: int, __: int) -> dict[str, Any]:
    import pyarrow.dataset as ds

    from warehouse.schemas.snapshot import ASIDE, SNAPSHOT
    from warehouse.snapshots.snapshot import publish

    _on_two_cores()
    given = {path.stem: ds.dataset(path) for path in (work / "given").iterdir()}
    began = time.perf_counter()
    tables, aside = ({name: given[name] for name in names if name in given} for names in (SNAPSHOT, ASIDE))
    snapshot = publish(work / "snapshots", tables, {}, aside)
    seconds = time.perf_counter() - began
    sizes = {str(p.relative_to(snapshot.folder)): p.stat().st_size for p in snapshot.folder.rglob("*.parquet")}
    scores = given["scores"].count_rows()
    return {
        "publish_seconds": round(seconds, 2),
        "peak_mib": _peak_mib(),
        "rung_rows": given["rungs"].count_rows(),
        "bytes": sizes,
        "bytes_a_score": round(sizes["scores.parquet"] / scores, 1),
        "bytes_a_score_all_files": round(sum(sizes.values()) / scores, 1),
    }


def _views(work: Path, _: int, runs: int) -> dict[str, Any]:
    from warehouse.snapshots.snapshot import current_snapshot

    _on_two_cores()
    began = time.perf_counter()
    snapshot = current_snapshot(work / "snapshots")
    return {"open_seconds": round(time.perf_counter() - began, 3), **_asked(snapshot, work, runs)}


def _live(work: Path, _: int, runs: int) -> dict[str, Any]:
    """Over a folder of the tables alone: each view is computed from its definition."""
    from warehouse.snapshots.snapshot import Snapshot, current_snapshot

    _on_two_cores()
    bare = work / "bare"
    bare.mkdir()
    for path in current_snapshot(work / "snapshots").folder.glob("*.parquet"):
        (bare / path.name).hardlink_to(path)
    return _asked(Snapshot("", bare, {}, ""), work, min(runs, 5))


def _asked(snapshot: Any, work: Path, runs: int) -> dict[str, Any]:
    from benchmarks.warehouse_questions import VIEWS
    from warehouse.sql.session import connect

    began = time.perf_counter()
    connection = connect(snapshot, work / "ledger")
    seconds = time.perf_counter() - began
    drawn = _drawn(snapshot.folder)

    def ask(query: str, value: str) -> None:
        connection.execute(query, [value] if "?" in query else None).fetchall()

    asked = {name: _timed(ask, query, _values(query, drawn), runs) for name, query in VIEWS.items()}
    return {"connect_seconds": round(seconds, 3), "peak_mib": _peak_mib(), "asked": asked}


def _pandas(work: Path, _: int, runs: int) -> dict[str, Any]:
    import pandas as pd

    from benchmarks.warehouse_questions import COLUMNS, PANDAS, SQLITE

    _on_two_cores()
    folder = _folder(work)
    began = time.perf_counter()
    frames = {n: pd.read_parquet(folder / f"{n}.parquet", columns=columns) for n, columns in COLUMNS.items()}
    seconds = time.perf_counter() - began
    drawn = _drawn(folder)

    def ask(find: Callable[[Any, str], Any], value: str) -> None:
        find(frames, value)

    asked = {n: _timed(ask, find, _values(SQLITE[n], drawn), runs, _PATIENCE) for n, find in PANDAS.items()}
    return {"load_seconds": round(seconds, 2), "peak_mib": _peak_mib(), "asked": asked}


def _sqlite(work: Path, _: int, runs: int) -> dict[str, Any]:
    import sqlite3

    from benchmarks.warehouse_questions import INDEXES, SQLITE

    _on_two_cores()
    file, drawn = work / "catalog.sqlite", _drawn(_folder(work))
    began = time.perf_counter()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA cache_size = -1000000")  # KiB: the whole of it stays in memory
        _load(connection, _folder(work))
        for index in INDEXES:
            connection.execute(index)
        connection.execute("ANALYZE")
    seconds = time.perf_counter() - began

    def ask(query: str, value: str) -> None:
        connection.execute(query, [value] if "?" in query else []).fetchall()

    asked = {n: _timed(ask, query, _values(query, drawn), runs, _PATIENCE) for n, query in SQLITE.items()}
    told = {"load_seconds": round(seconds, 2), "bytes": file.stat().st_size, "peak_mib": _peak_mib()}
    return {**told, "asked": asked}


def _load(connection: Any, folder: Path) -> None:
    import pyarrow.parquet as pq

    from benchmarks.warehouse_questions import COLUMNS

    for table, columns in COLUMNS.items():
        connection.execute(f"CREATE TABLE {table} ({', '.join(columns)})")
        insert = f"INSERT INTO {table} VALUES ({', '.join('?' * len(columns))})"
        for batch in pq.ParquetFile(folder / f"{table}.parquet").iter_batches(columns=columns):
            values = [batch.column(column).to_pylist() for column in columns]
            connection.executemany(insert, zip(*values, strict=True))


_PARTS: dict[str, Callable[[Path, int, int], dict[str, Any]]] = {
    "generate": _generate,
    "publish": _publish,
    "views": _views,
    "live": _live,
    "pandas": _pandas,
    "sqlite": _sqlite,
}


# Taking time


def _timed(
    ask: Callable[[Any, str], None], what: object, values: Sequence[str], runs: int, patience: float = float("inf")
) -> dict[str, float]:
    """Milliseconds of a question after one run to warm up; each time for another of the values."""
    ask(what, values[0])
    taken: list[float] = []
    while len(taken) < runs and sum(taken) < patience:
        began = time.perf_counter()
        ask(what, values[len(taken) % len(values)])
        taken.append(time.perf_counter() - began)
    p50, p95 = (1e3 * sorted(taken)[min(int(share * len(taken)), len(taken) - 1)] for share in (0.5, 0.95))
    return {"runs": len(taken), "p50_ms": round(p50, 2), "p95_ms": round(p95, 2)}


def _drawn(folder: Path) -> list[str]:
    """Adapters that have scores, drawn with a fixed seed."""
    import pyarrow.parquet as pq

    names = pq.read_table(folder / "scores.parquet", columns=["adapter"])["adapter"]
    chance = random.Random(0)
    picked = (names[chance.randrange(len(names))].as_py() for _ in range(_DRAWN))
    return [name for name in picked if name]


def _values(query: str, adapters: Sequence[str]) -> Sequence[str]:
    return [f"task_{number:03}" for number in range(TASKS)] if "task = ?" in query else adapters


def _folder(work: Path) -> Path:
    from warehouse.snapshots.snapshot import current_snapshot

    return current_snapshot(work / "snapshots").folder


def _on_two_cores() -> None:
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:_CORES]))


def _peak_mib() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _ratios(found: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """p50 of another store by ours, with the kept answers and without."""
    return {
        name: {
            f"{other}_by_{ours}": round(asked["p50_ms"] / found[ours]["asked"][name]["p50_ms"], 1)
            for other, asked in (("pandas", found["pandas"]["asked"][name]), ("sqlite", sqlite))
            for ours in ("views", "live")
        }
        for name, sqlite in found["sqlite"]["asked"].items()
    }


def _kept(found: Mapping[str, Any]) -> list[str]:
    """Whether each limit holds at the largest size."""
    worst = max(asked["p95_ms"] for asked in found["views"]["asked"].values())
    values = {"p95_ms": worst, "publish_seconds": found["publish_seconds"], "peak_mib": found["peak_mib"]}
    return [f"{n}: {v} of {LIMITS[n]}, {'kept' if v < LIMITS[n] else 'NOT KEPT'}" for n, v in values.items()]


def _summary(part: str, told: Mapping[str, Any]) -> str:
    if "asked" not in told:
        return ", ".join(f"{name} {value}" for name, value in told.items() if not isinstance(value, dict)) or "done"
    name, worst = max(told["asked"].items(), key=lambda item: item[1]["p95_ms"])
    rest = ", ".join(f"{key} {value}" for key, value in told.items() if key != "asked")
    return f"{rest}; slowest p95 {worst['p95_ms']} ms ({name})"


def _machine() -> dict[str, Any]:
    import duckdb
    import pandas as pd

    return {
        "cores": _CORES,
        "python": platform.python_version(),
        "duckdb": duckdb.__version__,
        "pandas": pd.__version__,
    }


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(","))


if __name__ == "__main__":
    main()
