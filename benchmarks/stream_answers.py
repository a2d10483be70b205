"""Streaming: `lorauter answer` on files of 1,000, 10,000 and 100,000 distinct queries; rows a second and memory.

    make bench-stream
    python -m benchmarks.stream_answers [--rows 1000 --rows 10000 --rows 100000] [--form jsonl] [--json OUT]

Each file goes through the real command on a copy of one published home: the mirror, Prefect, encoder, router, engine,
ledger and Parquet, with a tiny random base (benchmarks/tiny_world), so that what is measured is everything but the
model. The command's own memory is sampled four times a second, the embedded Prefect server's apart. Every id must be in
the answers exactly once, with a text, its route and the snapshot; and the largest file may take at most 1.25 times the
memory of the second largest. Exit code 1 where not.

On a CPU the sentence encoder takes some 85% of the time; `--flags "--router random"` leaves it out.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import psutil

from benchmarks.tiny_world import BASE, FRAMES, publish_world
from flows.mirror.server import serve_in_thread
from warehouse.storage.files import read_table

MOST_GROWTH = 1.25
_EVERY = 0.25  # seconds between two looks


def main() -> None:
    """Publish the world, answer each file, print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, action="append", help="of a file; may be repeated")
    parser.add_argument("--form", choices=("jsonl", "csv", "parquet"), default="jsonl")
    parser.add_argument("--max-new-tokens", type=int, default=4)
    parser.add_argument("--flags", default="", help="further flags of lorauter answer, by blanks")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="lorauter-stream-"))
    try:
        figures = measure(root, sorted(args.rows or (1_000, 10_000, 100_000)), args)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(0 if figures["bounded"] and all(run["whole"] for run in figures["runs"]) else 1)


def measure(root: Path, sizes: list[int], args: argparse.Namespace) -> dict[str, Any]:
    """The figures of every file, and whether memory is bounded."""
    home, hub = publish_world(root)
    runs = []
    with serve_in_thread(hub) as served:
        for size in sizes:
            where = root / f"home-{size}"
            shutil.copytree(home.root, where, symlinks=True, ignore=shutil.ignore_patterns("prefect"))
            queries = write_queries(root / f"queries-{size}.{args.form}", size)
            flags = ["--max-new-tokens", str(args.max_new_tokens), *args.flags.split()]
            runs.append(answer(where, queries, served.endpoint, flags) | check(where, size) | {"rows": size})
            print(json.dumps(runs[-1]), file=sys.stderr, flush=True)
            shutil.rmtree(where)
    peaks = [run["peak_mib"] for run in runs]
    growth = peaks[-1] / peaks[-2] if len(peaks) > 1 else 1.0
    return {"cores": os.cpu_count(), "runs": runs, "growth": round(growth, 3), "bounded": growth <= MOST_GROWTH}


def write_queries(path: Path, size: int) -> Path:
    """Distinct inputs, each with an id."""
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(list(_queries(size))), path)
        return path
    with path.open("w", newline="") as file:
        if path.suffix == ".csv":
            table = csv.DictWriter(file, ["id", "input"])
            table.writeheader()
            table.writerows(_queries(size))
        else:
            file.writelines(json.dumps(row) + "\n" for row in _queries(size))
    return path


def _queries(size: int) -> Iterator[dict[str, str]]:
    for number, frame in enumerate(islice(cycle(FRAMES.values()), size)):
        yield {"id": f"q{number}", "input": frame.format(number)}


def answer(home: Path, queries: Path, endpoint: str, flags: list[str]) -> dict[str, Any]:
    """Run the command; seconds, and the memory of it and of its server, in MiB."""
    environment = {**os.environ, "LORAUTER_ENDPOINT": endpoint, "LORAUTER_BASE": BASE}
    environment["PREFECT_HOME"] = str(home / "prefect")
    command = [sys.executable, "-m", "flows.cli", "--home", str(home), "answer"]
    where = ["--in", str(queries), "--out", str(home / "answers.parquet")]
    began = time.monotonic()
    process = subprocess.Popen([*command, *where, *flags], env=environment, stdout=subprocess.DEVNULL)
    own, server, first = [], [0.0], 0.0
    while process.poll() is None:
        mine, others = _resident(process.pid)
        own.append(mine)
        server.append(others)
        if not first and list(home.glob(".answers.parquet.parts/*.parquet")):
            first = time.monotonic() - began
        time.sleep(_EVERY)
    if process.returncode:
        raise SystemExit(f"lorauter answer failed: exit code {process.returncode}")
    seconds = time.monotonic() - began
    tenths = [round(max(own[len(own) * n // 10 : len(own) * (n + 1) // 10 or 1])) for n in range(10)]
    return {
        "seconds": round(seconds, 1),
        "first_part_after": round(first, 1),
        "peak_mib": round(max(own)),
        "peak_mib_by_tenth": tenths,
        "server_peak_mib": round(max(server)),
    }


def _resident(pid: int) -> tuple[float, float]:
    """Resident memory of a process and of its children."""
    try:
        me = psutil.Process(pid)
        children = sum(child.memory_info().rss for child in me.children(recursive=True))
        return me.memory_info().rss / 2**20, children / 2**20
    except psutil.NoSuchProcess:
        return 0.0, 0.0


def check(home: Path, size: int) -> dict[str, Any]:
    """Whether every id is there exactly once, in its order, with all that a row must hold."""
    columns = ["id", "text", "error", "adapters", "snapshot"]
    table = read_table(home / "answers.parquet", columns)
    ids = table["id"].to_pylist()
    faults = table.num_rows - table["error"].null_count + sum(table[c].null_count for c in columns if c != "error")
    return {"whole": ids == [f"q{number}" for number in range(size)] and not faults}


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
