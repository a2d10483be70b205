"""Batches that are killed: each goes on where it was, mixes nothing, and counts what failed before."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

from flows.answer_batch import answer_batch
from flows.home.home import Home, open_home
from tests.flows.answer.batches import BASE, queries_of, rows_of, settings_of, told
from tests.processes import ended, kill_when, start_command


@pytest.fixture
def command(published: Home, tmp_path: Path, prefect_url: str) -> Callable[..., BaseProcess]:
    """Starts `lorauter answer` on a copy of the home, from a file of queries to a.parquet."""
    home = shutil.copytree(published.root, tmp_path / "home", symlinks=True)
    environment = {"LORAUTER_ANSWER_ROWS": "4", "LORAUTER_BASE": BASE, "PREFECT_API_URL": prefect_url}
    environment |= {"LORAUTER_ENDPOINT": published.settings.endpoint}
    where = ["--home", str(home), "answer", "--out", str(tmp_path / "a.parquet"), "--in"]
    return lambda queries, flags=(): start_command([*where, str(queries), *flags], **environment)


@pytest.fixture
def killed(command: Callable[..., BaseProcess], tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Kills such a command when its first part is whole; gives the rows of what it had made by then."""

    def run(queries: Path, flags: Sequence[str] = ()) -> list[dict[str, Any]]:
        parts = tmp_path / ".a.parquet.parts"
        assert kill_when(command(queries, flags), lambda: [*parts.glob("*.parquet")])
        return [row for part in sorted(parts.glob("*.parquet")) for row in rows_of(part)]

    return run


def test_a_killed_batch_goes_on_where_it_was_and_ends_alike(
    published: Home,
    tmp_path: Path,
    command: Callable[..., BaseProcess],
    killed: Callable[..., list[dict[str, Any]]],
) -> None:
    """What was answered before the kill is taken as it is, with the seconds that it took then."""
    queries, undisturbed = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "u.parquet"
    answer_batch(str(queries), str(undisturbed), settings=settings_of(published))
    made = killed(queries)

    assert ended(command(queries)) == 0

    rows = rows_of(tmp_path / "a.parquet")
    assert 0 < len(made) < len(rows)
    assert rows[: len(made)] == made
    assert told(rows) == told(rows_of(undisturbed))
    assert not list(tmp_path.glob(".*.parts"))


def test_a_killed_batch_that_goes_on_with_other_flags_mixes_nothing(
    published: Home,
    tmp_path: Path,
    command: Callable[..., BaseProcess],
    killed: Callable[..., list[dict[str, Any]]],
) -> None:
    queries, undisturbed = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "u.parquet"
    drawn = ["--sample-temperature", "3", "--stop", "", "--max-new-tokens", "5", "--seed"]
    sampling = {"temperature": 3, "seed": 2}
    answer_batch(str(queries), str(undisturbed), settings=settings_of(published), sampling=sampling, stop=())
    made = killed(queries, [*drawn, "1"])

    assert ended(command(queries, [*drawn, "2"])) == 0

    rows = rows_of(tmp_path / "a.parquet")
    assert made and {row["text"] for row in made}.isdisjoint(row["text"] for row in rows)
    assert told(rows) == told(rows_of(undisturbed))
    assert not list(tmp_path.glob(".*.parts"))


def test_a_killed_batch_whose_answers_end_at_special_tokens_goes_on_alike(
    published: Home, tmp_path: Path, prefect_url: str
) -> None:
    homes = {}
    for name, special in (("shown", False), ("undisturbed", True), ("killed", True)):
        root = shutil.copytree(published.root, tmp_path / name, symlinks=True)
        _mark(next((root / "hub").glob("models--tiny--llama/**/tokenizer.json")), special)
        homes[name] = open_home(**{**settings_of(published), "home": str(root)})
    queries = queries_of(published, tmp_path / "q.jsonl")
    queries.write_text(queries.read_text().replace('"max_new_tokens": 3', '"max_new_tokens": 12'))
    shown, out = tmp_path / "shown.parquet", tmp_path / "a.parquet"
    answer_batch(str(queries), str(shown), settings=settings_of(homes["shown"]), stop=())
    marks = Counter(mark for row in rows_of(shown) for mark in set(re.findall(r"<\|\d+\|>", row["text"])))
    stops = [mark for mark, _ in marks.most_common(4)]
    undisturbed = tmp_path / "u.parquet"
    answer_batch(str(queries), str(undisturbed), settings=settings_of(homes["undisturbed"]), stop=stops)
    environment = {"LORAUTER_ANSWER_ROWS": "4", "LORAUTER_BASE": BASE, "PREFECT_API_URL": prefect_url}
    environment |= {"LORAUTER_ENDPOINT": published.settings.endpoint}
    arguments = ["--home", str(homes["killed"].root), "answer", "--out", str(out), "--in", str(queries)]
    arguments += [part for stop in stops for part in ("--stop", stop)]
    assert kill_when(start_command(arguments, **environment), lambda: [*tmp_path.glob(".a.parquet.parts/*.parquet")])

    assert ended(start_command(arguments, **environment)) == 0

    assert told(rows_of(out)) == told(rows_of(undisturbed))
    wholes = [re.split("|".join(map(re.escape, stops)), row["text"])[0] for row in rows_of(shown)]
    assert [row["text"] for row in rows_of(out)] == [re.sub(r"<\|\d+\|>", "", whole).lstrip() for whole in wholes]
    assert {whole == row["text"] for whole, row in zip(wholes, rows_of(shown), strict=True)} == {True, False}


def test_what_failed_before_a_kill_counts_after_the_resume(
    published: Home, tmp_path: Path, killed: Callable[..., list[dict[str, Any]]]
) -> None:
    queries = queries_of(published, tmp_path / "q.jsonl", [{"input": "x", "metric": "no"}])
    rows = queries.read_text().splitlines(keepends=True)
    queries.write_text("".join([rows[-1], *rows[:-1]]))  # the fault lies in the first chunk
    out = tmp_path / "a.parquet"

    made = killed(queries, ["--router", "base"])

    outcome = answer_batch(str(queries), str(out), ["base"], settings=settings_of(published))

    rows = rows_of(out)
    assert [row["error"] is not None for row in made] == [False, False, False, True]
    assert (outcome["failed"], sum(row["error"] is not None for row in rows)) == (1, 1)


def _mark(tokenizer: Path, special: bool) -> None:
    """Turns the tokenizer's bytes beyond ASCII into tokens `<|n|>`, special or not."""
    told = json.loads(tokenizer.read_text("utf-8"))
    vocabulary = {
        sign if sign.isascii() or {"Ġ", "Ċ"} & set(sign) else f"<|{n}|>": n
        for sign, n in told["model"]["vocab"].items()
    }
    told["model"]["vocab"] = vocabulary
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": special}
    marks = {n: sign for sign, n in vocabulary.items() if sign.startswith("<|")}
    told["added_tokens"] += [{"id": n, "content": marks[n], **flags} for n in sorted(marks)]
    tokenizer.unlink()  # it may be a link to what homes share
    tokenizer.write_text(json.dumps(told), "utf-8")
