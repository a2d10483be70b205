"""The page of a large catalog: its bytes and the seconds to write it.

    python -m benchmarks.page [--adapters N] [--tasks N] [--home FOLDER] [--json OUT]

A generated snapshot: every adapter enters every task's halving, and a card, a repo and a verdict say about as much as
real ones do. Nothing is run; the scores are drawn. No pair is missing, which is
the largest that so many can be.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.stages import write_page
from warehouse.snapshots.snapshot import Snapshot, publish

IN_BASE = {"base": "meta-llama/Llama-2-7b-hf", "base_sha": "0" * 40}
DIMENSIONS, ROUNDS, LEAST = 384, (37, 33, 50, 75), 3
REASONS = ("wrong_base", "peft_type", "no_weights", "truncated", "licence")
LICENCES = ("apache-2.0", "mit", "llama2", "cc-by-4.0", "cc-by-nc-4.0", "")
WORDS = [
    "a",
    "low",
    "rank",
    "adapter",
    "tuned",
    "for",
    "summaries",
    "questions",
    "letters",
    "code",
    "and",
    "dialogue",
    "on",
    "open",
    "data",
    "with",
    "care",
]


def main() -> None:
    """Publish, write, say."""
    flags = _flags()
    with tempfile.TemporaryDirectory() as folder:
        home = open_home(home=flags.home or Path(folder) / "home")
        snapshot = generate(home, flags.adapters, flags.tasks)
        out = home.root / "report.html"
        start = time.perf_counter()
        write_page(home, snapshot, out)
        seconds = round(time.perf_counter() - start, 2)
        found = {"adapters": flags.adapters, "tasks": flags.tasks, "bytes": out.stat().st_size, "seconds": seconds}
    print(f"{flags.adapters} adapters × {flags.tasks} tasks: {found['bytes']:,} bytes, {seconds} s")
    if flags.json:
        flags.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def generate(home: Home, adapters: int, tasks: int) -> Snapshot:
    """Publish a drawn snapshot of so many admitted adapters, a tenth as many rejected ones, and tasks."""
    random = np.random.default_rng(0)
    names = [f"{_author(n)}/llama-2-7b-{WORDS[n % len(WORDS)]}-lora-{n}" for n in range(adapters + adapters // 10)]
    keys = [f"{name}@{random.bytes(20).hex()}" for name in names]
    skill = random.normal(0, 0.12, (adapters, 8))
    tables: dict[str, Any] = {name: [] for name in ("tasks", "best", "scores", "rungs")}
    for number in range(tasks):
        task = {**IN_BASE, "task": f"{WORDS[number % len(WORDS)]}_of_{WORDS[number // 3 % len(WORDS)]}_{number}"}
        truth = np.clip(0.35 + skill @ random.dirichlet(np.full(8, 0.3)), 0.01, 0.99)
        _add_task(tables, task, keys[:adapters], truth, random)
    tables["adapters"] = [_verdict(key, n, n < adapters, random) for n, key in enumerate(keys)]
    now = datetime.now(UTC)
    ledger_of(home).append(
        "cards", [{"adapter": key, "text": _words(random, 60), "at": now} for key in keys[:adapters]]
    )
    ledger_of(home).append("repos", [_repo(name, now) for name in names])
    return publish(home.snapshots, tables, {"bases": {}})


def _add_task(
    tables: dict[str, Any],
    task: dict[str, Any],
    keys: list[str],
    truth: np.ndarray,
    random: np.random.Generator,
) -> None:
    seen, left, base = 0, np.arange(len(keys)), 0.35
    for rung, size in enumerate(ROUNDS, 1):
        seen += size
        means = random.binomial(seen, truth[left]) / seen
        order = left[np.argsort(-means)]
        kept = set(order[: max(LEAST, len(order) // 2)].tolist()) if rung < len(ROUNDS) else {int(order[0])}
        for place, mean in zip(left.tolist(), means.tolist(), strict=True):
            error = float(np.sqrt(mean * (1 - mean) / seen))
            row = {**task, "adapter": keys[place], "n": seen, "mean": mean, "standard_error": error, "rung": rung}
            tables["rungs"].append({**row, "task_hash": "0", "race": "0", "kept": place in kept})
            if place not in kept or rung == len(ROUNDS):
                lift = {"lift": mean - base, "lift_standard_error": error, "lift_n": seen, "chosen": place in kept}
                tables["scores"].append({**row, **lift, "why": f"{mean - base:+.2f} ± {error:.2f} against the leader"})
        left = np.asarray(sorted(kept))
    best = keys[int(left[0])]
    score = float(truth[left[0]])
    lifts = {"base_score": base, "lift": score - base, "lift_standard_error": 0.03, "standard_error": 0.03}
    tables["best"].append({**task, "adapter": best, "score": score, "n": 80, **lifts})
    embedding = random.standard_normal(DIMENSIONS).astype(np.float32).tolist()
    tables["tasks"].append({**task, "metric": "exact_match", "n_validation": 200, "embedding": embedding})


def _verdict(key: str, number: int, admitted: bool, random: np.random.Generator) -> dict[str, Any]:
    name, _, sha = key.partition("@")
    reason = None if admitted else REASONS[number % len(REASONS)]
    return {
        **IN_BASE,
        **{"adapter": key, "repo": name, "path": "", "sha": sha, "admitted": admitted, "downloaded": admitted},
        **{"reason": reason, "findings": [{"reason": reason, "evidence": _words(random, 12)}] if reason else []},
        **{"licence": LICENCES[number % len(LICENCES)], "size": 16_000_000 + number, "sha256": random.bytes(32).hex()},
        **{"base_named": IN_BASE["base"], "base_source": "config", "peft_type": "LORA", "task_type": "CAUSAL_LM"},
        **{"peft_version": "0.14.0", "rank": 16, "modules": 128, "matched": 128, "dtypes": ["F16"]},
        **{"dora": False, "rslora": False, "downloads": number, "rules_version": "2"},
    }


def _repo(name: str, now: datetime) -> dict[str, Any]:
    tags = ["peft", "safetensors", "lora", f"base_model:adapter:{IN_BASE['base']}", "region:us"]
    modified = "2026-01-01T00:00:00.000Z"
    return {"target": f"base:{IN_BASE['base']}", "repo": name, "tags": tags, "last_modified": modified, "at": now}


def _words(random: np.random.Generator, count: int) -> str:
    return " ".join(random.choice(WORDS, count).tolist())


def _author(number: int) -> str:
    return f"{WORDS[number * 7 % len(WORDS)]}-lab-{number % 97}"


def _flags() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=1000)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--home", type=Path, help="Folder to keep the generated home in.")
    parser.add_argument("--json", type=Path, help="File for the figures.")
    return parser.parse_args()


if __name__ == "__main__":
    main()
