"""The thread from crawl to answers, on a tiny world, with the real client, encoder, engine and flows."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.home import Home, open_home
from warehouse.snapshots import current_snapshot
from warehouse.tasks import read_tasks, store_task

BASE = "tiny/llama"


@pytest.fixture
def home(tmp_path: Path, tiny_hub: str, tiny_tasks: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    opened = open_home(home=tmp_path / "home", endpoint=tiny_hub, base=BASE)
    for task in read_tasks(tiny_tasks):
        store_task(opened.task_folder, task)
    return opened


def test_refresh_judges_every_adapter_and_publishes(home: Home) -> None:
    from flows.refresh import refresh

    outcome = refresh(home.reference)

    snapshot = current_snapshot(home.snapshots)
    assert snapshot.id == outcome["snapshot"]
    reasons = {row["adapter"].partition("@")[0]: row["reason"] for row in snapshot.read("adapters")}
    print(reasons)
    assert [row["task"] for row in snapshot.read("best")] == ["animals", "colours", "compass"]
    from flows.answer_batch import answer_batch
    q = home.root / "q.jsonl"
    q.write_text('{"input": "What colour is the sky?"}\n')
    print(answer_batch(str(q), str(home.root / "a.parquet"), ["lorauter", "base"], settings=home.reference))
    print(pq.read_table(home.root / "a.parquet").to_pylist())
