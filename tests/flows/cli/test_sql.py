"""The command `lorauter sql`: answers as people and programs want them, and nothing written but where it may be."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from catalog.errors import SettingError
from flows.cli.main import cli
from warehouse.ledger.ledger import Ledger
from warehouse.snapshots.snapshot import publish

HOSTILE = "eve/\n\x1b[2J'@1"
IN_BASE = {"base": "tiny/llama", "base_sha": "a"}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with one admitted and one rejected adapter, and one listing."""
    home = tmp_path / "home"
    Ledger(home / "ledger").append("repos", [{"target": "base:tiny/llama", "repo": "ann/x", "files": ["a", "b"]}])
    adapters = [
        {**IN_BASE, "adapter": "ann/x@1", "admitted": True, "size": 8},
        {**IN_BASE, "adapter": HOSTILE, "admitted": False, "reason": "gated"},
    ]
    publish(home / "snapshots", {"adapters": adapters}, {})
    return home


def ask(home: Path, *arguments: str, given: str = "") -> Result:
    return CliRunner().invoke(cli, ["--home", str(home), "sql", *arguments], input=given)


TWO = "SELECT adapter, size FROM adapters ORDER BY adapter"


def test_a_table_shows_no_control_character(home: Path) -> None:
    shown = ask(home, TWO).stdout
    assert "ann/x@1" in shown and "eve/" in shown and "�[2J'@1" in shown and "\x1b" not in shown


def test_a_table_that_is_too_wide_is_shown_row_by_row(home: Path) -> None:
    lines = ask(home, "FROM adapters WHERE NOT admitted").stdout.splitlines()
    assert lines[:5] == [
        "── row 1 ──",
        "base             tiny/llama",
        "base_sha         a",
        "adapter          eve/",
        "                 �[2J'@1",
    ]


def test_a_table_of_many_rows_says_that_it_is_cut(home: Path) -> None:
    asked = ask(home, "FROM range(1001)")
    assert asked.stderr == "The first 1,000 rows. --format csv, json or parquet gives all.\n"
    assert "│ 999   │" in asked.stdout and "│ 1000  │" not in asked.stdout


def test_csv(home: Path) -> None:
    asked = ask(home, f"SELECT *, [size] AS list, size = 8 AS eight FROM ({TWO})", "--format", "csv")
    assert asked.stdout == 'adapter,size,list,eight\nann/x@1,8,[8],true\n"eve/\n\x1b[2J\'@1",,[null],\n'


def test_json_is_an_object_a_line_and_always_json(home: Path) -> None:
    query = "SELECT 1 AS a, 2 AS a, 'nan'::DOUBLE AS b, [1.5, 'inf'::DOUBLE] AS c, DATE '2026-01-01' AS d"
    asked = ask(home, query, "--format", "json")
    assert asked.stdout == '{"a": 1, "a_1": 2, "b": null, "c": [1.5, null], "d": "2026-01-01"}\n'


def test_parquet_goes_through_a_pipe(home: Path) -> None:
    asked = ask(home, TWO, "--format", "parquet")
    found = pq.read_table(io.BytesIO(asked.stdout_bytes))
    assert found.to_pylist() == [{"adapter": "ann/x@1", "size": 8}, {"adapter": HOSTILE, "size": None}]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet"])
def test_a_file_is_written_in_the_form_of_its_ending(home: Path, tmp_path: Path, name: str) -> None:
    assert ask(home, TWO, "--out", str(tmp_path / name)).output == ""
    start = {"a.csv": b"adapter,size\n", "a.jsonl": b'{"adapter": ', "a.parquet": b"PAR1"}[name]
    assert (tmp_path / name).read_bytes().startswith(start)


def test_a_file_appears_whole_or_not_at_all(home: Path, tmp_path: Path) -> None:
    query = "SELECT CASE i WHEN 99999 THEN error('late') END FROM range(100_000) t(i)"
    for form in ("csv", "json", "parquet"):
        asked = ask(home, query, "--out", str(tmp_path / "out" / "a"), "--format", form)
        assert isinstance(asked.exception, SettingError) and "late" in str(asked.exception)
        assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("arguments", [["-"], ["--file", "-"], ["--file", "mine.sql"], [TWO]])
def test_a_query_comes_from_where_one_has_it(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.sql").write_text(f"-- mine\n{TWO};\n")
    asked = ask(home, *arguments, "--format", "csv", given=TWO)
    assert asked.stdout.splitlines()[:2] == ["adapter,size", "ann/x@1,8"]


@pytest.mark.parametrize("arguments", [[], [TWO, "--list"], [TWO, "--file", "-"], [TWO, "--format", "xml"]])
def test_wrong_use_has_exit_code_2(home: Path, arguments: list[str]) -> None:
    assert ask(home, *arguments).exit_code == 2


def test_every_name_is_listed_with_its_question(home: Path) -> None:
    listed = [json.loads(line) for line in ask(home, "--list", "--format", "json").stdout.splitlines()]
    questions = {row["name"]: row["question"] for row in listed}
    assert questions["ledger_repos"] == "What did the hub's listings say of a repo last?"
    assert [name for name, question in questions.items() if "?" not in question] == []


@pytest.mark.parametrize(
    ("query", "cause"),
    [
        ("FROM nope", "Catalog Error: Table with name nope does not exist!"),
        ("SELEC 1", "Parser Error: syntax error"),
        ("COPY adapters TO 'x.csv'", "Only queries are run here."),
        ("/* nothing */", "That is no query."),
    ],
)
def test_bad_sql_says_what_is_wrong(home: Path, query: str, cause: str) -> None:
    failed = ask(home, query).exception
    assert isinstance(failed, SettingError) and failed.cause.startswith(cause)


def test_a_reader_may_leave_early(home: Path) -> None:
    command = [sys.executable, "-m", "flows.cli", "--home", str(home), "sql", "FROM range(1000000)", "--format", "csv"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as asked:
        assert asked.stdout and asked.stderr and asked.stdout.readline() == b"range\n"
        asked.stdout.close()
        assert asked.stderr.read() == b""
    assert asked.returncode == 0


# --write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a link into the home."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "home" / "ledger")
    monkeypatch.chdir(folder)
    return folder


def content(home: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_with_write_tables_are_made_and_files_written_here(home: Path, folder: Path) -> None:
    script = f"CREATE TABLE mine AS {TWO}; COPY mine TO 'mine.parquet'; SELECT count(*) AS n FROM 'mine.parquet'"
    assert ask(home, script, "--write", "--format", "csv").stdout == "n\n2\n"
    assert pq.read_table(folder / "mine.parquet").num_rows == 2


def test_with_write_all_names_are_there(home: Path, folder: Path) -> None:
    read, written = ask(home, "FROM views", "--format", "csv"), ask(home, "FROM views", "--format", "csv", "--write")
    assert written.stdout == read.stdout and "ledger_repos" in read.stdout
    listing = ask(home, "SELECT repo, files, gone FROM ledger_repos", "--format", "csv", "--write")
    assert listing.stdout == 'repo,files,gone\nann/x,"[""a"", ""b""]",\n'


@pytest.mark.parametrize(
    "query",
    [
        "COPY (SELECT 1) TO '{home}/ledger/repos/evil.parquet'",
        "COPY (SELECT 1) TO '../home/ledger/repos/evil.parquet'",
        "COPY (SELECT 1) TO 'link/repos/evil.parquet'",
        "COPY (SELECT 1) TO '{home}/snapshots/evil.csv'",
        "EXPORT DATABASE '{home}/evil'",
        "ATTACH '{home}/evil.db'",
        "SET enable_external_access = true",
        "FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/passwd')",
    ],
)
def test_with_write_nothing_else_is_written_read_or_set(home: Path, folder: Path, query: str) -> None:
    before = content(home)
    assert isinstance(ask(home, query.format(home=home), "--write").exception, SettingError)
    assert content(home) == before


@pytest.mark.parametrize("where", [".", "home", "home/ledger/repos"])
def test_no_writing_where_the_home_is(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    monkeypatch.chdir(tmp_path / where)
    failed = ask(home, "SELECT 1", "--write").exception
    assert isinstance(failed, SettingError) and failed.next_step == "Run it in a folder beside the home."
