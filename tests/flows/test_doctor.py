"""The doctor: one request of each kind, told in words."""

from __future__ import annotations

from pathlib import Path

from flows.doctor import Check, examine
from flows.home import open_home

BASE = "tiny/llama"


def told(checks: list[Check]) -> dict[str, str]:
    return {check.name: check.said for check in checks}


def test_one_request_of_each_kind_is_told_in_words(tmp_path: Path, tiny_hub: str) -> None:
    said = told(examine(open_home(home=tmp_path, endpoint=tiny_hub, base=BASE)))
    print({n: said[n] for n in ("token", "listing", "text", "weights", "windows")})
