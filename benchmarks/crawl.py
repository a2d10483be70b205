"""Crawl: requests, bytes, seconds and memory an adapter, ours against how people do it now.

    python -m benchmarks.crawl [--repos 20000] [--pool 1567] [--subset 100] [--listed 100000] [--json OUT]

Hubs are generated and answer every request after 50 ms; each runs in a process of its own, as does each measured step.

    first        ours on a fresh home: listing, config and header of every adapter, every verdict; no weights
    unchanged    the same again
    changed      the same after 1% of the repos have a new commit
    subset       ours on a small hub
    people's     list_models, snapshot_download and PeftConfig.from_pretrained on the same small hub, a repo at a time
    window       ours on a pool of the paper's size, with a free token, on a hub that enforces the Hub's limits
    listing      ours listing a large hub, no adapter read

Seconds of the small steps are those of the wire; on one machine the hub and the crawler share the cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.generated_hub import BASE, GeneratedHub

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
TOKEN = "hf_bench"
LATENCY = 0.05  # seconds before every answer
SLOW = ("--token", TOKEN, "--latency", str(LATENCY))
# Bytes of the weights of 51 public LoRA adapters found in public repositories, pointers counted by the size they name.
REAL_SIZES = {
    "least": 25_341,
    "quarter": 2_175_168,
    "median": 5_329_152,
    "three quarters": 77_654_112,
    "most": 323_014_560,
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repos", type=int, default=20_000)
    parser.add_argument("--pool", type=int, default=1_567, help="adapters that must fit into one window")
    parser.add_argument("--subset", type=int, default=100)
    parser.add_argument("--listed", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--step", nargs=3, metavar=("NAME", "ENDPOINT", "HOME"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        _run_step(*args.step)
        return
    root = Path(tempfile.mkdtemp(prefix="lorauter-bench-"))
    try:
        figures = measure(root, args)
    finally:
        shutil.rmtree(root, ignore_errors=True)
    _print(figures)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(root: Path, args: argparse.Namespace) -> dict[str, Any]:
    """All steps, hub by hub."""
    steps: dict[str, dict[str, Any]] = {}
    with GeneratedHub(args.repos, *SLOW, "--no-limits") as hub:
        steps["first"] = step(hub, "ours", root / "large")
        steps["unchanged"] = step(hub, "ours", root / "large")
        hub.tell(change=args.repos // 100)
        steps["changed"] = step(hub, "ours", root / "large")
    with GeneratedHub(args.subset, *SLOW, "--no-limits") as hub:
        steps["subset"] = step(hub, "ours", root / "small")
        steps["people's"] = step(hub, "theirs", root / "theirs")
    with GeneratedHub(args.pool, *SLOW) as hub:
        steps["window"] = step(hub, "ours", root / "window")
    with GeneratedHub(args.listed, "--token", TOKEN, "--no-limits") as hub:
        steps["listing"] = step(hub, "listing", root / "listing")
    return {
        "steps": steps,
        "ratios": _ratios(steps, args.repos),
        "real_sizes": REAL_SIZES,
        "latency_s": LATENCY,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def step(hub: GeneratedHub, name: str, home: Path) -> dict[str, Any]:
    """Run a step in a process of its own: what it cost, by the hub's own count and its own."""
    before = hub.tell(counts=True)
    command = [sys.executable, "-m", "benchmarks.crawl", "--step", name, hub.endpoint, str(home)]
    quiet = {"HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    environment = {**os.environ, **quiet, "HF_HOME": str(home / "hf"), "HF_TOKEN": TOKEN, "LORAUTER_TOKEN": TOKEN}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    after = hub.tell(counts=True)
    spent = {kind: after[kind] - before[kind] for kind in ("api", "resolvers", "pages", "refused", "bytes")}
    return {"repos": hub.repos, **spent, **json.loads(done.stdout.splitlines()[-1])}


def _run_step(name: str, endpoint: str, home: str) -> None:
    """In a process of its own: run a step, print its seconds, adapters and peak memory as the last line."""
    began = time.monotonic()
    adapters = {"ours": _ours, "listing": _listing, "theirs": _theirs}[name](endpoint, Path(home))
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"adapters": adapters, "seconds": round(seconds, 1), "peak_mib": round(peak)}))


def _ours(endpoint: str, home: Path) -> int:
    from flows.home.home import open_home
    from flows.stages import crawl, validate

    opened = open_home(home=home, endpoint=endpoint, base=BASE, token=TOKEN)
    crawl(opened)
    return validate(opened, download=False).seen


def _listing(endpoint: str, home: Path) -> int:
    from flows.home.home import open_home
    from flows.stages import crawl

    return crawl(open_home(home=home, endpoint=endpoint, base=BASE, token=TOKEN)).listed


def _theirs(endpoint: str, home: Path) -> int:
    """What people do now: list, download every repo whole, read its config; skip what raises."""
    from huggingface_hub import HfApi
    from peft import PeftConfig

    api = HfApi(endpoint=endpoint, token=TOKEN)
    seen = 0
    for model in api.list_models(filter=["peft", f"base_model:adapter:{BASE}"]):
        seen += 1
        try:
            PeftConfig.from_pretrained(api.snapshot_download(model.id, cache_dir=home / "cache"))
        except Exception as error:
            print(f"{model.id}: {type(error).__name__}", file=sys.stderr)
    return seen


def _ratios(steps: dict[str, dict[str, Any]], repos: int) -> dict[str, float]:
    first, changed = steps["first"], steps["changed"]
    ours, theirs = steps["subset"], steps["people's"]
    total: Callable[[dict[str, Any]], int] = lambda step: int(step["api"] + step["resolvers"])  # noqa: E731
    an_adapter = first["bytes"] / first["adapters"]
    return {
        "file requests an adapter": round(first["resolvers"] / first["adapters"], 3),
        "KiB an adapter": round(an_adapter / 1024, 1),
        "requests after 1% changed, of the first": round(total(changed) / total(first), 4),
        "people's requests of ours": round(total(theirs) / total(ours), 2),
        "people's bytes of ours": round(theirs["bytes"] / ours["bytes"], 1),
        "people's seconds of ours": round(theirs["seconds"] / ours["seconds"], 1),
        "a real median adapter's weights of our bytes": round(REAL_SIZES["median"] / an_adapter, 1),
    }


def _print(figures: dict[str, Any]) -> None:
    columns = ("repos", "adapters", "api", "resolvers", "refused")
    print(f"{'':<10}" + "".join(f"{name:>11}" for name in (*columns, "KiB each", "seconds", "ms each", "peak MiB")))
    for name, step in figures["steps"].items():
        each = step["adapters"] or 1
        shown = [f"{step[column]:,}" for column in columns]
        shown += [f"{step['bytes'] / each / 1024:.1f}", f"{step['seconds']:.1f}", f"{step['seconds'] / each * 1e3:.2f}"]
        print(f"{name:<10}" + "".join(f"{text:>11}" for text in [*shown, f"{step['peak_mib']:,}"]))
    for name, ratio in figures["ratios"].items():
        print(f"{name:<48}{ratio:>12,}")


if __name__ == "__main__":
    main()
