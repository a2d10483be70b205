"""History: what was published when, going back, making room; what changed in between."""

from __future__ import annotations

import json
import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from catalog.errors import SettingError, SnapshotError
from warehouse.snapshots.diff import changes
from warehouse.snapshots.history import kept, remove, resolve, rollback, spare
from warehouse.snapshots.manifest import MANIFEST, verify
from warehouse.snapshots.pointer import PUBLISHED, ROLLED_BACK, swap, swaps
from warehouse.snapshots.snapshot import Snapshot, current_snapshot, open_snapshot, publish

IN_BASE = {"base": "tiny/llama", "base_sha": "a" * 40}


def score(
    adapter: str, lift: float, chosen: bool = False, task: str = "colours", format: str | None = None
) -> dict[str, Any]:
    told = {"mean": 0.5 + lift, "lift": lift, "chosen": chosen, "format": format}
    return {**IN_BASE, "task": task, "adapter": adapter, **told}


def published(root: Path, *scores: dict[str, Any]) -> Snapshot:
    best = [{**IN_BASE, "task": "colours", "adapter": "", "lift": 0.0}]
    return publish(root, {"scores": list(scores), "best": best}, {})


@pytest.fixture(scope="module")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A root and the ids of its three snapshots; its log says that they were published a day apart, at noon."""
    root = tmp_path_factory.mktemp("three")
    ids = [published(root, score("ann/x@1", lift)).id for lift in (0.1, 0.2, 0.3)]
    days = [datetime(2026, 11, day, 12, tzinfo=UTC).isoformat() for day in (1, 2, 3)]
    lines = [{"at": at, "id": id_, "why": "publish"} for at, id_ in zip(days, ids, strict=True)]
    (root / "swaps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root, ids


@pytest.fixture
def three(tmp_path: Path, three_days: tuple[Path, list[str]]) -> list[Snapshot]:
    """The three snapshots, in a root to be changed."""
    root, ids = three_days
    shutil.copytree(root, tmp_path, dirs_exist_ok=True)
    return [open_snapshot(tmp_path / id_) for id_ in ids]


@pytest.mark.parametrize(
    ("which", "place"),
    [
        (None, 2),
        ("current", 2),
        ("2026-11-01", 0),
        ("2026-11-02T11:59", 0),
        ("2026-11-02T12:00", 1),
        ("2026-11-02T14:00+02:00", 1),
        ("2026-11-30", 2),
    ],
)
def test_a_date_means_what_was_published_then(
    tmp_path: Path, three: list[Snapshot], which: str | None, place: int
) -> None:
    assert resolve(tmp_path, which) == three[place].folder


def test_an_id_its_beginning_and_a_folder_mean_a_snapshot(tmp_path: Path, three: list[Snapshot]) -> None:
    assert [resolve(tmp_path, which) for which in (three[0].id, three[0].id[:8], str(three[0].folder))] == [
        three[0].folder
    ] * 3


@pytest.mark.parametrize(("which", "told"), [("2026-10-31", "Nothing was published at"), ("ffff-no", "is no snapshot")])
def test_what_means_nothing_is_told(tmp_path: Path, three: list[Snapshot], which: str, told: str) -> None:
    with pytest.raises(SettingError, match=told):
        resolve(tmp_path, which)


def test_a_beginning_of_several_is_told(tmp_path: Path, three: list[Snapshot]) -> None:
    shutil.copytree(three[0].folder, tmp_path / (three[0].id[:12] + "0000"))
    with pytest.raises(SettingError, match="begins several snapshots"):
        resolve(tmp_path, three[0].id[:12])


def test_after_a_rollback_both_are_told(tmp_path: Path, three: list[Snapshot]) -> None:
    assert rollback(tmp_path, "2026-11-01").id == three[0].id

    assert current_snapshot(tmp_path).id == three[0].id
    assert [(one.id, one.why) for one in swaps(tmp_path)][2:] == [(three[2].id, PUBLISHED), (three[0].id, ROLLED_BACK)]
    assert resolve(tmp_path, "2026-11-03") == three[2].folder


def test_a_damaged_snapshot_is_not_rolled_back_to(tmp_path: Path, three: list[Snapshot]) -> None:
    (three[0].folder / "best.parquet").write_bytes(b"")
    with pytest.raises(SnapshotError, match=r"checksum of best\.parquet"):
        rollback(tmp_path, three[0].id)
    assert current_snapshot(tmp_path).id == three[2].id


def test_a_swap_that_a_kill_left_untold_is_told_from_the_pointer(tmp_path: Path, three: list[Snapshot]) -> None:
    (tmp_path / "current").write_text(three[0].id + "\n")
    moment = datetime(2026, 11, 5, tzinfo=UTC)
    os.utime(tmp_path / "current", (moment.timestamp(), moment.timestamp()))

    swap(tmp_path, three[1].id, PUBLISHED)

    found = swaps(tmp_path)
    assert [one.id for one in found] == [three[0].id, three[1].id, three[2].id, three[0].id, three[1].id]
    assert found[3].at == moment


def test_the_last_published_and_the_current_are_kept(tmp_path: Path, three: list[Snapshot]) -> None:
    rollback(tmp_path, three[0].id)
    now = datetime.now(UTC) + timedelta(days=1)

    assert [one.id for one in spare(tmp_path, keep=2, now=now)] == [three[1].id]
    assert [one.id for one in spare(tmp_path, keep=1, now=now)] == sorted(
        [three[1].id, three[2].id], key=[one.id for one in kept(tmp_path)].index
    )
    assert spare(tmp_path, keep=1) == [one for one in kept(tmp_path) if one.id == three[1].id]  # grace
    assert spare(tmp_path, now=now) == []
    assert spare(tmp_path, days=10_000, now=now) == []


def test_a_removed_snapshot_is_gone_and_its_date_says_so(tmp_path: Path, three: list[Snapshot]) -> None:
    remove(next(one for one in kept(tmp_path) if one.id == three[0].id))

    assert {one.id for one in kept(tmp_path)} == {three[1].id, three[2].id}
    with pytest.raises(SettingError, match="has been removed"):
        resolve(tmp_path, "2026-11-01")


def test_what_is_listed_has_its_size_and_damage(tmp_path: Path, three: list[Snapshot]) -> None:
    (three[1].folder / MANIFEST).write_text("{")

    found = {one.id: one for one in kept(tmp_path)}

    assert found[three[2].id].current and not found[three[0].id].current
    assert "is unreadable" in str(found[three[1].id].problem)
    assert found[three[0].id].size == sum(path.stat().st_size for path in three[0].folder.rglob("*") if path.is_file())


def test_changes_are_told_by_name_over_revisions(tmp_path: Path) -> None:
    before = published(
        tmp_path,
        score("ann/up@1", 0.1, chosen=True),
        score("bob/down:x@1", 0.2),
        score("cy/same@1", 0.3),
        score("dan/went@1", 0.4),
        score("", 0.0),
    )
    now = published(
        tmp_path,
        score("ann/up@2", 0.2),
        score("bob/down:x@1", 0.1),
        score("cy/same@2", 0.3, chosen=True),
        score("eve/came@1", 0.5),
        score("", 0.0),
    )

    told = {row["adapter"]: (row["change"], row["lift_before"], row["lift"]) for row in now.read("changes")}

    assert told == {
        "ann/up@2": ("rose", 0.1, 0.2),
        "bob/down:x@1": ("fell", 0.2, 0.1),
        "cy/same@2": ("rose", 0.3, 0.3),
        "dan/went@1": ("went", 0.4, None),
        "eve/came@1": ("came", None, 0.5),
    }
    assert {row["since"] for row in now.read("changes")} == {before.id}
    assert changes(before.folder, now.folder, 0.15).num_rows == 4  # ann/up fell: it is chosen no more
    assert changes(now.folder, now.folder).num_rows == 0


def test_an_adapter_or_a_base_that_is_asked_in_another_format_is_told_of(tmp_path: Path) -> None:
    before = published(
        tmp_path,
        score("ann/pick@1", 0.3, chosen=True),
        score("bob/rises@1", 0.1, format="alpaca"),
        score("cy/same@1", 0.2, format="alpaca"),
        score("", 0.0),
    )
    now = published(
        tmp_path,
        score("ann/pick@1", 0.3, chosen=True, format="own 12345678"),
        score("bob/rises@1", 0.2, format="chatml"),
        score("cy/same@1", 0.2, format="alpaca"),
        score("", 0.0, format="chatml"),
    )

    told = {row["adapter"]: (row["change"], row["format_before"], row["format"]) for row in now.read("changes")}

    assert told == {
        "ann/pick@1": ("switched", None, "own 12345678"),
        "bob/rises@1": ("rose", "alpaca", "chatml"),
        "": ("switched", None, "chatml"),
    }
    assert changes(now.folder, before.folder).num_rows == 3


def test_scores_of_a_version_without_formats_compare_as_the_tasks_own(tmp_path: Path) -> None:
    before = published(tmp_path, score("ann/x@1", 0.3), score("", 0.0))
    now = published(tmp_path, score("ann/x@1", 0.3, format="chatml"), score("", 0.0))
    old = tmp_path / "old"
    old.mkdir()
    duckdb.execute(f"COPY (SELECT * EXCLUDE format FROM '{before.folder}/scores.parquet') TO '{old}/scores.parquet'")

    told = changes(old, now.folder).to_pylist()

    assert [(row["adapter"], row["change"], row["format_before"], row["format"]) for row in told] == [
        ("ann/x@1", "switched", None, "chatml")
    ]


def test_the_first_snapshot_has_no_changes(tmp_path: Path) -> None:
    assert published(tmp_path, score("ann/x@1", 0.1)).read("changes") == []


def test_weights_travel_and_are_part_of_the_id(tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin", "training_args.bin"):
        (adapter / name).write_text(name)
    bare = published(tmp_path / "root", score("ann/x@1", 0.1))

    best = [{**IN_BASE, "task": "colours", "adapter": "", "lift": 0.0}]
    tables = {"scores": [score("ann/x@1", 0.1)], "best": best}
    snapshot = publish(tmp_path / "root", tables, {}, weights={"ann/x:../up@1": adapter})

    folder = snapshot.weights("ann/x:../up@1")
    assert folder is not None and folder.parent == snapshot.folder / "weights"
    assert sorted(path.name for path in folder.iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    assert snapshot.id != bare.id and bare.weights("ann/x@1") is None
    (folder / "adapter_model.safetensors").write_text("other")
    assert open_snapshot(snapshot.folder) == snapshot
    with pytest.raises(SnapshotError, match=r"checksum of weights/ann%2Fx%3A\.\.%2Fup%401/adapter_model\.safetensors"):
        verify(snapshot.folder)
