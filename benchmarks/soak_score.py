"""Soak: kill -9 scoring at random moments, start it again, and compare every score with an undisturbed run's.

    python -m benchmarks.soak_score --runs 20 [--small] [--seed 1] [--json OUT]

A home is brought as far as validated adapters, on the demo's pool and tasks. Each run takes a copy of it, is killed at
one random moment or more, and then completes. Compared are the snapshot's id, which hashes every score and rung, and
how many outputs the ledger holds: none may be stored twice.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.killing import complete, killed_after, run_soak
from flows.demo.run import prepare_home
from flows.home.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.stages import crawl, validate
from warehouse.ledger.ledger import Ledger
from warehouse.snapshots.snapshot import current_snapshot


def main() -> None:
    """Run the soak; exit code 1 where a score differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20, help="runs, each killed at least once")
    parser.add_argument("--small", action="store_true", help="three tasks and four adapters")
    run_soak(parser, lambda root, args, chance: soak(root, args.runs, args.small, chance))


def soak(root: Path, runs: int, small: bool, chance: random.Random) -> dict[str, Any]:
    """What an undisturbed run came to, and what the killed ones did."""
    home, folder = prepare_home(root / "validated", small)
    with serve_in_thread(folder) as hub:
        opened = open_home(**{**home.reference, "endpoint": hub.endpoint})
        crawl(opened)
        validate(opened)
        began = time.monotonic()
        undisturbed = _outcome(_completed(_copy(opened, root / "undisturbed"), hub.endpoint))
        seconds = time.monotonic() - began
        moments: list[list[float]] = []
        outcomes = []
        for number in range(runs):
            copy = root / f"killed-{number}"
            moments.append([])
            while not moments[-1]:
                moments[-1] = _killed(_copy(opened, copy), hub.endpoint, seconds, chance)
            outcomes.append(_outcome(_completed(copy, hub.endpoint)))
            print(f"run {number + 1}/{runs}: killed after {moments[-1]} s, {outcomes[-1]}", file=sys.stderr, flush=True)
            shutil.rmtree(copy)
    return {
        "undisturbed": undisturbed,
        "undisturbed_seconds": round(seconds, 1),
        "kills": sum(map(len, moments)),
        "killed_after_seconds": moments,
        "differ": [outcome for outcome in outcomes if outcome != undisturbed],
        "same": all(outcome == undisturbed for outcome in outcomes),
    }


def _killed(home: Path, endpoint: str, seconds: float, chance: random.Random) -> list[float]:
    """Kill runs in a home at random moments: once, and every other time again. None where it completed before."""
    moments: list[float] = []
    while not moments or chance.random() < 0.5:
        moment = round(chance.uniform(1, seconds), 1)
        if not killed_after(_command(home, endpoint), home.with_suffix(".log"), moment):
            break
        moments.append(moment)
    return moments


def _copy(home: Home, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(home.root, to, symlinks=True)
    return to


def _completed(home: Path, endpoint: str) -> Path:
    complete(_command(home, endpoint), home.with_suffix(".log"))
    return home


def _command(home: Path, endpoint: str) -> list[str]:
    return [sys.executable, "-m", "flows.cli", "--home", str(home), "publish", "--endpoint", endpoint]


def _outcome(home: Path) -> dict[str, Any]:
    keys = Ledger(home / "ledger").read("outputs", ["key"])["key"].to_pylist()
    return {
        "snapshot": current_snapshot(home / "snapshots").id,
        "outputs": len(keys),
        "twice": len(keys) - len(set(keys)),
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
