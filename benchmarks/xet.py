"""Xet or plain HTTP for weights: requests, seconds, and what a failing storage looks like, in one run.

Knows: a mirror that offers both, the unmodified client with hf_xet, our bounded download. Does not know: the real
storage's speed: here both ways end at the same machine, so seconds tell the clients' own cost alone.

    python -m benchmarks.xet --repos 10 --mib 8 --json benchmarks/results/xet.json
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from flows.mirror.faults import Faults
from flows.mirror.likeness import Likeness
from flows.mirror.server import serve_in_thread

WEIGHTS = "adapter_model.safetensors"
PATIENCE_S = 120.0
_OURS = """
from catalog.hub.client import Hub, HubOptions
hub = Hub(HubOptions(endpoint, cache, timeout=5))
get = lambda repo, sha: hub.download(repo, [name], sha)
"""
_XET = """
from huggingface_hub import hf_hub_download
get = lambda repo, sha: hf_hub_download(repo, name, revision=sha, endpoint=endpoint, cache_dir=cache)
"""
_RUN = """
import json, sys, time
from pathlib import Path
endpoint, cache, name, repos = sys.argv[1], Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
{way}
began, error = time.monotonic(), None
for repo, sha in repos:
    try:
        get(repo, sha)
    except Exception as caught:
        error = type(caught).__mro__[0].__name__ + ": " + str(caught)[:160]
        break
print(json.dumps({{"seconds": time.monotonic() - began, "error": error}}))
"""


def main() -> None:
    """Measure both ways against a sound storage, one that refuses, and one that is not there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--repos", type=int, default=10)
    parser.add_argument("--mib", type=int, default=8, help="of each repo's weights")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "hub"
        for number in range(args.repos):
            (folder / f"ann/x{number}").mkdir(parents=True)
            (folder / f"ann/x{number}" / WEIGHTS).write_bytes(os.urandom(args.mib << 20))
        rows = [
            {"storage": storage, "way": way, **measure(folder, Path(scratch), storage, way)}
            for storage in ("sound", "refuses (403)", "not there")
            for way in ("xet", "http")
        ]
    show(rows)
    if args.json:
        args.json.write_text(json.dumps({"repos": args.repos, "mib": args.mib, "rows": rows}, indent=2) + "\n")


def measure(folder: Path, scratch: Path, storage: str, way: str) -> dict[str, Any]:
    """One way against one state of the storage: requests by window, seconds, the error as the caller meets it."""
    likeness = Likeness(cas_url=f"http://127.0.0.1:{free_port()}" if storage == "not there" else "")
    faults = Faults(xet_refused=1.0) if storage.startswith("refuses") else None
    with serve_in_thread(folder, likeness=likeness, faults=faults) as hub:
        _, rows = hub.shelf.rows()
        repos = [(repo.id, repo.sha) for row in rows if (repo := hub.shelf.whole(row))]
        cache = tempfile.mkdtemp(dir=scratch)
        code = _RUN.format(way=_OURS if way == "http" else _XET)
        command = [sys.executable, "-c", code, hub.endpoint, cache, WEIGHTS, json.dumps(repos)]
        env = {**os.environ, "HF_HOME": cache, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        began = time.monotonic()
        try:
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
            told = json.loads(done.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            told = {"seconds": time.monotonic() - began, "error": f"nothing after {PATIENCE_S:.0f} s"}
        counts = {"api": hub.counts.api, "resolvers": hub.counts.resolvers, "bytes": hub.counts.bytes}
    return {**counts, **told}


def free_port() -> int:
    """A port at which nobody answers."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])


def show(rows: list[dict[str, Any]]) -> None:
    """The table."""
    table = Table("storage", "way", "api", "resolvers", "MiB", "seconds", "error")
    for row in rows:
        figures = (str(row["api"]), str(row["resolvers"]), f"{row['bytes'] / 2**20:.1f}", f"{row['seconds']:.2f}")
        table.add_row(row["storage"], row["way"], *figures, row["error"] or "")
    Console(width=180).print(table, markup=False)


if __name__ == "__main__":
    main()
