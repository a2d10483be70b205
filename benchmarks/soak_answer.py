"""Soak: kill -9 a batch of answers at random moments, start it again, and compare its rows with an undisturbed run's.

    python -m benchmarks.soak_answer --kills 20 [--rows 400] [--seed 1] [--json OUT]

The small demo's catalog is published once. A batch of queries is answered undisturbed, then, on a copy of the home,
killed at random moments until all kills are spent, and completed. No row may be lost, doubled or different; the times
that rows carry do differ.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import time
from itertools import cycle, islice
from pathlib import Path
from typing import Any

from benchmarks.killing import complete, killed_after, run_soak
from flows.demo.run import prepare_home
from flows.demo.world import demo_tasks
from flows.home.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.prefect_runtime.setup import start_prefect
from warehouse.storage.files import read_table

TIMES = ("route_seconds", "answer_seconds")


def main() -> None:
    """Run the soak; exit code 1 where a row differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=400)
    run_soak(parser, lambda root, args, chance: soak(root, args.kills, args.rows, chance))


def soak(root: Path, kills: int, rows: int, chance: random.Random) -> dict[str, Any]:
    """The undisturbed batch, and what killed ones came to."""
    home, folder = prepare_home(root / "published", small=True)
    queries = _queries(root / "queries.jsonl", rows)
    with serve_in_thread(folder) as hub:
        opened = open_home(**{**home.reference, "endpoint": hub.endpoint})
        start_prefect()
        from flows.refresh import refresh

        refresh(opened.reference)
        began = time.monotonic()
        undisturbed = _completed(opened, root / "undisturbed", queries, hub.endpoint)
        seconds = time.monotonic() - began
        moments: list[float] = []
        batches: list[list[dict[str, Any]]] = []
        while len(moments) < kills:
            where = _copy(opened, root / f"killed-{len(batches)}")
            while len(moments) < kills:
                moment = round(chance.uniform(1, seconds), 1)
                if not killed_after(_command(where, queries, hub.endpoint), where.with_suffix(".log"), moment):
                    break  # it completed before the moment came
                moments.append(moment)
                print(f"kill {len(moments)}/{kills} after {moment} s", file=sys.stderr, flush=True)
            complete(_command(where, queries, hub.endpoint), where.with_suffix(".log"))
            batches.append(_rows(where))
            shutil.rmtree(where)
    return {
        "rows": len(undisturbed),
        "undisturbed_seconds": round(seconds, 1),
        "kills": len(moments),
        "killed_after_seconds": moments,
        "batches": len(batches),
        "same": all(batch == undisturbed for batch in batches),
    }


def _queries(path: Path, rows: int) -> Path:
    """Test inputs of the demo's tasks, each row with an id of its own and a word that tells it from its likes."""
    inputs = [example.input for task in demo_tasks(small=True) for example in task.test]
    numbered = enumerate(islice(cycle(inputs), rows))
    lines = [json.dumps({"id": str(n), "input": f"{text} ({n})", "max_new_tokens": 8}) for n, text in numbered]
    path.write_text("\n".join(lines) + "\n")
    return path


def _copy(home: Home, to: Path) -> Path:
    shutil.copytree(home.root, to, symlinks=True)
    return to


def _completed(home: Home, to: Path, queries: Path, endpoint: str) -> list[dict[str, Any]]:
    complete(_command(_copy(home, to), queries, endpoint), to.with_suffix(".log"))
    return _rows(to)


def _command(home: Path, queries: Path, endpoint: str) -> list[str]:
    where = ["--in", str(queries), "--out", str(home / "answers.parquet")]
    os.environ |= {"LORAUTER_ENDPOINT": endpoint, "LORAUTER_ANSWER_ROWS": "64"}
    return [sys.executable, "-m", "flows.cli", "--home", str(home), "answer", *where]


def _rows(home: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = read_table(home / "answers.parquet").drop_columns(list(TIMES)).to_pylist()
    return rows


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
