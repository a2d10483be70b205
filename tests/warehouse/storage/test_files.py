"""Files are whole or absent."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from catalog.errors import DiskError
from warehouse.storage.files import read_table, write_atomically, write_table, write_text


def test_a_text_is_written_with_its_folders(tmp_path: Path) -> None:
    write_text(tmp_path / "a/b/c.txt", "é\n")
    assert (tmp_path / "a/b/c.txt").read_bytes() == "é\n".encode()


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def fail(part: Path) -> None:
        part.write_text("half")
        raise RuntimeError

    write_text(tmp_path / "x", "old")
    with pytest.raises(RuntimeError):
        write_atomically(tmp_path / "x", fail)
    assert [(p.name, p.read_text()) for p in tmp_path.iterdir()] == [("x", "old")]


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("folder", r"folder cannot be written \(Is a directory\)\. Name another file\."),
        ("file/x", r"x cannot be written \((File exists|Not a directory)\)\. Name another file\."),
    ],
)
def test_a_place_that_no_file_can_have_is_told(tmp_path: Path, path: str, told: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()

    with pytest.raises(DiskError, match=told):
        write_text(tmp_path / path, "x")

    assert sorted(one.name for one in tmp_path.iterdir()) == ["file", "folder"]


def test_a_file_is_readable_by_others(tmp_path: Path) -> None:
    write_text(tmp_path / "x", "")
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_equal_tables_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_table(tmp_path / name, pa.table({"x": [1, None], "y": ["é", ""]}))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    path = tmp_path / "x=1/y=2/t.parquet"
    write_table(path, pa.table({"x": ["mine"]}))
    assert read_table(path).to_pylist() == [{"x": "mine"}]


def test_no_flipped_bit_of_the_data_goes_unnoticed(tmp_path: Path) -> None:
    table = pa.table({"text": [f"row {n}" for n in range(50)], "n": list(range(50))})
    path = tmp_path / "t.parquet"
    write_table(path, table)
    whole = path.read_bytes()
    for position in range(4, len(whole) - int.from_bytes(whole[-8:-4], "little") - 8, 7):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 4]) + whole[position + 1 :])
        try:
            assert read_table(path).equals(table), position
        except ValueError as error:
            assert "cannot be read" in str(error)
