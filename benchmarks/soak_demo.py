"""Soak: kill -9 the demo at random moments, start it again, and compare the snapshot with an undisturbed run's.

    python -m benchmarks.soak_demo --kills 20 [--small] [--seed 1] [--json OUT]

One undisturbed demo gives the snapshot id. Then a fresh home is taken through kills at random moments until the demo
completes; its snapshot id must be the same. Fresh homes follow until all kills are spent, the last one completing.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import time
from pathlib import Path

from benchmarks.killing import complete, killed_after, run_soak


def main() -> None:
    """Run the soak; exit code 1 where a snapshot differs or a demo fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--small", action="store_true", help="the demo of three tasks")
    run_soak(parser, lambda root, args, chance: soak(root, args.kills, args.small, chance))


def soak(root: Path, kills: int, small: bool, chance: random.Random) -> dict[str, object]:
    """The undisturbed snapshot id, and those after kills."""
    began = time.monotonic()
    undisturbed = _complete(root / "undisturbed", small)
    seconds = time.monotonic() - began
    moments: list[float] = []
    ids: list[str] = []
    while len(moments) < kills or not ids:
        home = root / f"killed-{len(ids)}"
        while len(moments) < kills:
            moment = round(chance.uniform(1, seconds * 0.8), 1)
            if not killed_after(_command(home, small), home.with_suffix(".log"), moment):
                break  # it completed before the moment came
            moments.append(moment)
            print(f"kill {len(moments)}/{kills} after {moment} s", file=sys.stderr, flush=True)
        ids.append(_complete(home, small))
        print(f"completed: {ids[-1]} (undisturbed: {undisturbed})", file=sys.stderr, flush=True)
        shutil.rmtree(home)
    return {
        "undisturbed": undisturbed,
        "undisturbed_seconds": round(seconds, 1),
        "kills": len(moments),
        "killed_after_seconds": moments,
        "completed": ids,
        "same": set(ids) == {undisturbed},
    }


def _complete(home: Path, small: bool) -> str:
    complete(_command(home, small), home.with_suffix(".log"))
    written = (home / "small" if small else home) / "demo.json"
    return str(json.loads(written.read_text())["snapshot"])


def _command(home: Path, small: bool) -> list[str]:
    return [sys.executable, "-m", "flows.cli", "--home", str(home), "demo", *(["--small"] if small else [])]


if __name__ == "__main__":
    main()
