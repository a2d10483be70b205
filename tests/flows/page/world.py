"""Rows of a snapshot for the page, one of them hostile wherever it can be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

BASE = {"base": "org/base", "base_sha": "b" * 40}
SCRIPT = "<script>document.title = 'owned'</script>"
HOSTILE = f'"><img src=x onerror="document.title=1">{SCRIPT}\u202egnp'
ANN, BOB, EVE = (f"{name}@{'a' * 40}" for name in ("ann/letters", "bob/letters", "eve/copy"))
Browse = Callable[[Path], Any]


def score_row(task: str, adapter: str, lift: float, chosen: bool = False, why: str = "behind") -> dict[str, Any]:
    told = {"n": 20, "mean": 0.5 + lift, "standard_error": 0.1, "lift": lift, "lift_standard_error": 0.05}
    return {**BASE, "task": task, "adapter": adapter, **told, "lift_n": 20, "rung": 2, "chosen": chosen, "why": why}


def best_row(task: str, adapter: str, lift: float) -> dict[str, Any]:
    told = {"score": 0.5 + lift, "standard_error": 0.1, "n": 12, "base_score": 0.5, "lift": lift}
    return {**BASE, "task": task, "adapter": adapter, **told, "lift_standard_error": 0.04}


def verdict_row(adapter: str, reason: str | None = None, licence: str = "mit") -> dict[str, Any]:
    findings = [{"reason": reason, "evidence": HOSTILE}] if reason else []
    judged = {"admitted": not reason, "downloaded": not reason, "reason": reason, "findings": findings}
    return {**BASE, "adapter": adapter, "repo": adapter.partition("@")[0], **judged, "licence": licence, "size": 1234}


def rung_row(task: str, adapter: str, rung: int, kept: bool) -> dict[str, Any]:
    told = {"rung": rung, "n": 10 * rung, "mean": 0.5, "kept": kept, "why": ""}
    return {**BASE, "task": task, "adapter": adapter, **told}
