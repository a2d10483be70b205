"""Soak: readers in other processes while catalogs are published and the publisher is killed (-9) at random moments.

    python -m benchmarks.soak_publish [--publishes 200] [--readers 8] [--kills 40] [--seed 1] [--json OUT]

Each catalog carries its own number in every row of every table. A reader opens what is current, over and over, by our
code and by DuckDB over views.sql, and must find one number everywhere and all rows. Anything else is a torn snapshot.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path
from threading import Timer
from typing import Any

import duckdb

from benchmarks.killing import run_soak
from warehouse.snapshots.pointer import swaps
from warehouse.snapshots.snapshot import current_snapshot, publish

TASKS, ADAPTERS = 10, 400
DIFFERENT = 12  # catalogs; a publish of one that was there before finds its folder
_BASE = {"base": "org/base", "base_sha": "0" * 40}


def main() -> None:
    """Run the soak, or one of its processes."""
    if sys.argv[1:2] == ["--publisher"]:
        _publish_on(Path(sys.argv[2]), int(sys.argv[3]))
    elif sys.argv[1:2] == ["--reader"]:
        print(json.dumps(_read_on(Path(sys.argv[2]))))
    else:
        parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
        parser.add_argument("--publishes", type=int, default=200)
        parser.add_argument("--readers", type=int, default=8)
        parser.add_argument("--kills", type=int, default=40)
        run_soak(parser, lambda root, args, chance: soak(root, args.publishes, args.readers, args.kills, chance))


def soak(root: Path, publishes: int, readers: int, kills: int, chance: random.Random) -> dict[str, Any]:
    """Publish until enough are done, killing now and then; what the readers saw."""
    where = root / "snapshots"
    publish(where, tables(0), {})
    watching = [_start("--reader", str(root), stdout=subprocess.PIPE) for _ in range(readers)]
    done = killed = 0
    while done < publishes:
        seconds = chance.uniform(0.0, 2.0) if killed < kills else 3600.0
        done, was_killed = _publish_until(root, done, publishes, seconds)
        killed += was_killed
        print(f"{done}/{publishes} published, {killed} kills", file=sys.stderr, flush=True)
    (root / "stop").touch()
    seen = [json.loads(reader.communicate()[0]) for reader in watching]
    wrong = Counter(told for one in seen for told in one["wrong"])
    return {
        "publishes": done,
        "kills": killed,
        "swaps": len(swaps(where)),
        "readers": readers,
        "reads": sum(one["reads"] for one in seen),
        "catalogs_seen_by_each": [one["catalogs"] for one in seen],
        "wrong": dict(wrong),
        "same": not wrong,
    }


def tables(number: int) -> dict[str, list[dict[str, Any]]]:
    """A catalog that says its number everywhere."""
    tasks, adapters = [f"t{n:02d}" for n in range(TASKS)], [f"ann/a{n:03d}@1" for n in range(ADAPTERS)]
    scores = [
        {**_BASE, "task": task, "adapter": adapter, "mean": float(number), "lift": float(number), "chosen": False}
        for task in tasks
        for adapter in adapters
    ]
    best = [{**_BASE, "task": task, "adapter": adapters[0], "score": float(number), "lift": 0.0} for task in tasks]
    judged = [{**_BASE, "adapter": key, "admitted": True, "downloaded": True, "size": number} for key in adapters]
    embedded = [{**_BASE, "task": task, "embedding": [float(number)]} for task in tasks]
    return {"tasks": embedded, "best": best, "scores": scores, "adapters": judged}


def _publish_until(root: Path, done: int, publishes: int, seconds: float) -> tuple[int, bool]:
    """Run a publisher until it has done all, or is killed after so many seconds. Returns what is done."""
    process = _start("--publisher", str(root), str(done), stdout=subprocess.PIPE)
    assert process.stdout
    done += bool(process.stdout.readline())  # loading takes long where readers use all cores
    timer = Timer(seconds, process.kill)
    timer.start()
    while done < publishes and process.stdout.readline():
        done += 1
    timer.cancel()
    process.kill()
    process.communicate()
    return done, done < publishes


def _publish_on(root: Path, first: int) -> None:
    for number in range(first, 1 << 30):
        publish(root / "snapshots", tables(number % DIFFERENT), {})
        print(number, flush=True)


def _read_on(root: Path) -> dict[str, Any]:
    reads, wrong, seen = 0, [], set()
    while not (root / "stop").exists():
        try:
            found = _numbers(root / "snapshots")
            if len(found) != 1:
                wrong.append(f"rows of several catalogs: {sorted(found)}")
            seen |= found
        except Exception as error:
            wrong.append(f"{type(error).__name__}: {str(error)[:200]}")
        reads += 1
    return {"reads": reads, "wrong": wrong, "catalogs": len(seen)}


def _numbers(root: Path) -> set[float]:
    """The numbers in what is current; a count that is off is a number of its own."""
    snapshot = current_snapshot(root)
    files = {name: str(snapshot.folder / f"{name}.parquet") for name in ("tasks", "best", "scores", "adapters")}
    with duckdb.connect(config={"threads": 1}) as connection:
        rows = connection.execute(
            "SELECT mean, count(*) FROM read_parquet($scores) GROUP BY 1 UNION ALL "
            "SELECT score, count(*) FROM read_parquet($best) GROUP BY 1 UNION ALL "
            "SELECT size, count(*) FROM read_parquet($adapters) GROUP BY 1 UNION ALL "
            "SELECT embedding[1], count(*) FROM read_parquet($tasks) GROUP BY 1",
            files,
        ).fetchall()
    counts = sorted(count for _, count in rows)
    return {number for number, _ in rows} | (
        {-1.0} if counts != sorted([TASKS * ADAPTERS, TASKS, ADAPTERS, TASKS]) else set()
    )


def _start(*arguments: str, **more: Any) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-m", "benchmarks.soak_publish", *arguments], **more)


if __name__ == "__main__":
    main()
