"""Snapshots: named by their content, whole or refused, and open to any DuckDB."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from catalog.errors import SnapshotError
from warehouse.schemas.columns import SCHEMA_VERSION, table_of
from warehouse.schemas.snapshot import SNAPSHOT
from warehouse.snapshots.snapshot import current_snapshot, open_snapshot, publish
from warehouse.snapshots.sorted_tables import GROUP

IN_BASE = {"base": "tiny/llama", "base_sha": "a" * 40}
CONTEXT = {"policy": {"max_rank": 64}}
TABLES = ("tasks", "best", "scores", "rungs", "adapters")


def tables(score: float = 0.75) -> dict[str, list[dict[str, Any]]]:
    """Two tasks: one with a published adapter, one left to the base."""
    adapters = [
        {**IN_BASE, "adapter": "ann/x@1", "admitted": True, "downloaded": True},
        {**IN_BASE, "adapter": "eve/y@1", "admitted": False, "downloaded": False, "reason": "gated"},
    ]
    best = [
        {**IN_BASE, "task": "colours", "adapter": "ann/x@1", "score": score, "lift": 0.5},
        {**IN_BASE, "task": "animals", "adapter": "", "score": 0.5, "lift": 0.0},
    ]
    rungs = [{**IN_BASE, "task": "colours", "rung": n, "adapter": "ann/x@1", "n": 8, "mean": n / 2} for n in (0, 1)]
    scores = [{**IN_BASE, "task": "colours", "adapter": "ann/x@1", "n": 8, "mean": 0.5, "rung": 1}]
    tasks = [{**IN_BASE, "task": name, "embedding": [0.5, 0.25]} for name in ("colours", "animals")]
    return {"tasks": tasks, "best": best, "scores": scores, "rungs": rungs, "adapters": adapters}


def test_a_published_snapshot_is_current_and_sorted(tmp_path: Path) -> None:
    snapshot = publish(tmp_path, tables(), CONTEXT)
    assert current_snapshot(tmp_path) == snapshot == open_snapshot(tmp_path / snapshot.id)
    assert [row["task"] for row in snapshot.read("best")] == ["animals", "colours"]
    assert snapshot.context == CONTEXT
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["current", "swaps.jsonl", snapshot.id])


def test_equal_content_has_one_id_whatever_its_order_and_time(tmp_path: Path) -> None:
    other = {name: rows[::-1] for name, rows in tables().items()}
    other["adapters"] = [{**row, "at": datetime.now(UTC)} for row in other["adapters"]]
    assert publish(tmp_path / "a", tables(), CONTEXT).id == publish(tmp_path / "b", other, CONTEXT).id


def test_rows_an_arrow_table_and_files_have_one_id(tmp_path: Path) -> None:
    as_arrow = {name: table_of(rows[::-1], SNAPSHOT[name][0]) for name, rows in tables().items()}
    for name, table in as_arrow.items():
        pq.write_table(table, tmp_path / f"{name}.parquet", row_group_size=1)
    as_files = {name: ds.dataset(tmp_path / f"{name}.parquet") for name in as_arrow}
    found = [publish(tmp_path / str(n), one, CONTEXT).id for n, one in enumerate((tables(), as_arrow, as_files))]
    assert len(set(found)) == 1


def test_many_rows_in_any_order_have_one_id(tmp_path: Path) -> None:
    """More than a row group, given in parts of other sizes."""
    rows = [{**IN_BASE, "task": "colours", "adapter": f"ann/x{n}@1", "mean": n / 7} for n in range(GROUP + 1)]
    whole = table_of(rows, SNAPSHOT["scores"][0])
    parts = pa.concat_tables([whole.slice(20_000), whole.slice(0, 7), whole.slice(7, 19_993)])
    assert publish(tmp_path, {"scores": whole}, {}).id == publish(tmp_path, {"scores": parts}, {}).id
    written = pq.ParquetFile(tmp_path / current_snapshot(tmp_path).id / "scores.parquet")
    assert [written.metadata.row_group(n).num_rows for n in range(2)] == [GROUP, 1]
    assert written.read()["adapter"].to_pylist() == sorted(row["adapter"] for row in rows)


def test_how_it_came_about_stays_out_of_the_id(tmp_path: Path) -> None:
    changes = [{**IN_BASE, "task": "colours", "adapter": "ann/x@1", "change": "came", "mean": 0.5}]
    told = publish(tmp_path / "a", tables(), CONTEXT, {"changes": changes})
    assert told.id == publish(tmp_path / "b", tables(), CONTEXT).id
    assert [(row["adapter"], row["change"]) for row in told.read("changes")] == [("ann/x@1", "came")]


def test_another_value_or_context_has_another_id(tmp_path: Path) -> None:
    ids = {
        publish(tmp_path, tables(), CONTEXT).id,
        publish(tmp_path, tables(score=0.7500001), CONTEXT).id,
        publish(tmp_path, tables(), {"policy": {"max_rank": 8}}).id,
    }
    assert len(ids) == 3


def test_publishing_again_changes_no_file(tmp_path: Path) -> None:
    first = publish(tmp_path, tables(), CONTEXT)
    inode = (first.folder / "best.parquet").stat().st_ino
    assert publish(tmp_path, tables(), CONTEXT).created == first.created
    assert (first.folder / "best.parquet").stat().st_ino == inode


def test_a_snapshot_is_open_to_other_readers(tmp_path: Path) -> None:
    snapshot = publish(tmp_path, tables(), CONTEXT)
    assert snapshot.folder.stat().st_mode & 0o777 == 0o755


def test_nothing_published_is_told_with_the_next_step(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"Nothing is published in .* Run `lorauter refresh`"):
        current_snapshot(tmp_path)


@pytest.mark.parametrize("name", ["", "../x", "/etc", "0" * 17, "\0"])
def test_a_pointer_to_no_snapshot_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "current").write_text(name)
    with pytest.raises(SnapshotError, match=r"names no snapshot. Publish again"):
        current_snapshot(tmp_path)


# Damage


def edit(folder: Path, **fields: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return publish(tmp_path, tables(), CONTEXT).folder


@pytest.mark.parametrize("name", [*(f"{table}.parquet" for table in TABLES), "views.sql"])
def test_a_flipped_bit_is_found_in_every_file(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 2] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(SnapshotError, match=f"the checksum of {name}") as caught:
        open_snapshot(folder)
    assert "run `lorauter publish`" in caught.value.next_step


def test_no_flipped_bit_of_the_manifest_passes_but_in_its_date(folder: Path) -> None:
    path = folder / "manifest.json"
    whole, sound = path.read_bytes(), open_snapshot(folder)
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        try:
            opened = open_snapshot(folder)
        except SnapshotError:
            continue
        assert (opened.id, opened.context) == (sound.id, sound.context), position


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "best.parquet").unlink()
    with pytest.raises(SnapshotError, match=r"best.parquet is missing"):
        open_snapshot(folder)


def test_a_folder_without_a_manifest_is_no_snapshot(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    with pytest.raises(SnapshotError, match=r"it has no manifest.json. Name a folder under snapshots/"):
        open_snapshot(folder)


def test_another_schema_is_told_apart_from_damage(folder: Path) -> None:
    edit(folder, schema="99")
    with pytest.raises(SnapshotError, match=f"has schema 99, this version reads 2 and {SCHEMA_VERSION}. Publish again"):
        open_snapshot(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b"])
def test_a_manifest_names_no_file_outside_its_folder(folder: Path, name: str) -> None:
    edit(folder, files={name: "0"})
    with pytest.raises(SnapshotError, match="lists files outside the folder"):
        open_snapshot(folder)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[" * 100_000, '{"schema": "1", "files": []}'])
def test_a_manifest_that_is_none_is_damage(folder: Path, text: str) -> None:
    (folder / "manifest.json").write_text(text)
    with pytest.raises(SnapshotError, match=r"Publish again|run `lorauter publish`"):
        open_snapshot(folder)


def test_publishing_again_replaces_a_damaged_snapshot(folder: Path) -> None:
    (folder / "best.parquet").write_bytes(b"")
    healed = publish(folder.parent, tables(), CONTEXT)
    assert healed.folder == folder and len(healed.read("best")) == 2


def test_a_file_that_breaks_after_opening_is_an_error_for_people(folder: Path) -> None:
    snapshot = open_snapshot(folder)
    (folder / "best.parquet").write_bytes(b"x")
    with pytest.raises(SnapshotError, match="is damaged"):
        snapshot.read("best")


_PUBLISHER = """
import json, sys
from pathlib import Path
from warehouse.snapshots.snapshot import publish
made = json.loads(sys.argv[2])
print("ready", flush=True)
for n in range(100_000):
    publish(Path(sys.argv[1]), made, {"round": n % 3})
"""


def test_a_publish_killed_at_any_moment_leaves_a_whole_snapshot(tmp_path: Path) -> None:
    publish(tmp_path, tables(), CONTEXT)
    draw = random.Random(0)
    for number in range(6):
        shutil.rmtree(tmp_path / current_snapshot(tmp_path).id)  # the hardest case: what is current is made anew
        publish(tmp_path, tables(), {"round": number % 3})
        command = [sys.executable, "-c", _PUBLISHER, str(tmp_path), json.dumps(tables())]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as publisher:
            assert publisher.stdout and publisher.stdout.readline() == "ready\n"
            time.sleep(draw.uniform(0.0, 0.15))
            publisher.kill()
        assert len(current_snapshot(tmp_path).read("best")) == 2
    assert current_snapshot(tmp_path).id != publish(tmp_path, tables(), CONTEXT).id == current_snapshot(tmp_path).id


# Without our code

_PLAIN = """
import duckdb
connection = duckdb.connect()
connection.execute(open("views.sql").read())
print(connection.execute("SELECT task, adapter, score FROM catalog").fetchall())
print(connection.execute("FROM funnel").fetchall())
print(connection.execute("SELECT reason, adapters FROM rejections").fetchall())
print(connection.execute("SELECT rung, mean FROM scores").fetchall())
print(connection.execute("SELECT task, embedding FROM 'tasks.parquet' ORDER BY task").fetchall())
"""


def test_any_duckdb_opens_a_snapshot_without_our_code(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", _PLAIN], cwd=folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[('colours', 'ann/x@1', 0.75), ('animals', '(base)', 0.5)]",
        "[(2, 1, 1, 1, 1)]",
        "[('gated', 1)]",
        "[(1, 0.5)]",
        "[('animals', [0.5, 0.25]), ('colours', [0.5, 0.25])]",
    ]
