"""Decoding of a batch: drawn texts are the row's own, a stored text counts under its own decoding, stops and bounds.

Flows are called without Prefect (`.fn`), which would take a second each; test_answer_batch has them whole.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catalog.errors import SettingError
from flows.answer_batch import answer_batch
from flows.cli.main import cli
from flows.cli.options import stops_given
from flows.home.home import Home, open_home
from lorauter.engine.stopping import cut_at_stop
from tests.flows.answer.batches import queries_of, rows_of, settings_of


def answered(home: Home, queries: Path, out: Path, **how: Any) -> tuple[int, list[dict[str, Any]]]:
    """How many outputs were new, and the rows."""
    outcome = answer_batch.fn(str(queries), str(out), settings=settings_of(home), **how)
    return outcome["new"], rows_of(out)


def test_drawn_texts_are_the_rows_own_whatever_the_chunk(published: Home, tmp_path: Path) -> None:
    """Two seeds, two texts; another chunk size and another order, the same texts."""
    rows = [{"id": str(n), "input": "What colour is the cat?", "max_new_tokens": 6} for n in range(9)]
    forth, back = tmp_path / "forth.jsonl", tmp_path / "back.jsonl"
    forth.write_text("".join(json.dumps(row) + "\n" for row in rows))
    back.write_text("".join(json.dumps(row) + "\n" for row in rows[::-1]))
    other = open_home(**{**published.reference, "home": str(tmp_path / "home")})
    shutil.copytree(published.root, other.root, dirs_exist_ok=True, symlinks=True)
    sampling = {"temperature": 2.0, "top_p": 0.95, "seed": 1}

    new, drawn = answered(published, forth, tmp_path / "1.parquet", sampling=sampling, stop=())

    texts = {row["id"]: row["text"] for row in drawn}
    assert (new, len(set(texts.values()))) == (9, 9)
    settings = {**other.reference, "answer_rows": 5}
    answer_batch.fn(str(back), str(tmp_path / "2.parquet"), settings=settings, sampling=sampling, stop=())
    assert {row["id"]: row["text"] for row in rows_of(tmp_path / "2.parquet")} == texts
    _, reseeded = answered(published, forth, tmp_path / "3.parquet", sampling={**sampling, "seed": 2}, stop=())
    assert not {row["text"] for row in reseeded} & set(texts.values())


def test_a_stored_text_is_used_only_under_its_own_decoding(published: Home, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text(json.dumps({"id": "1", "input": "Which way to the south gate?"}) + "\n")
    ways: list[dict[str, Any]] = [
        {},
        {"stop": ["\n", "e"]},
        {"stop": ()},
        {"max_new_tokens": 3},
        {"sampling": {"temperature": 1.0}},
        {"sampling": {"temperature": 1.0, "seed": 1}},
        {"sampling": {"temperature": 1.0, "top_p": 0.5}},
        {"sampling": {"temperature": 1.0}, "stop": "e"},
    ]

    first = [answered(published, queries, tmp_path / f"1-{n}.parquet", **way) for n, way in enumerate(ways)]

    assert [new for new, _ in first] == [1] * len(ways)
    again = [answered(published, queries, tmp_path / f"2-{n}.parquet", **way) for n, way in enumerate(ways)]
    assert [new for new, _ in again] == [0] * len(ways)
    assert [rows[0]["text"] for _, rows in again] == [rows[0]["text"] for _, rows in first]
    assert [rows[0]["decoding"] for _, rows in first[:4]] == [
        "greedy",
        '{"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0, "stop": ["\\n", "e"]}',
        '{"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0, "stop": []}',
        "greedy",
    ]


def test_a_text_ends_at_the_first_stop_and_at_the_rows_own_bound(published: Home, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    asked = {"input": "Which pet barks?"}
    queries.write_text("".join(json.dumps(row) + "\n" for row in (asked, {**asked, "max_new_tokens": 2})))
    _, (whole, short) = answered(published, queries, tmp_path / "1.parquet", stop=(), max_new_tokens=12)
    stops = [whole["text"][7], whole["text"][3]]

    _, (cut, _) = answered(published, queries, tmp_path / "2.parquet", stop=stops, max_new_tokens=12)

    assert cut["text"] == cut_at_stop(whole["text"], stops)[0]
    assert 0 < len(cut["text"]) <= 3 < len(whole["text"])
    assert whole["text"].startswith(short["text"]) and len(short["text"]) < len(whole["text"])


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"sampling": {"heat": 1}}, "Decoding has no heat. Use temperature, top_p, top_k, seed."),
        ({"sampling": {"temperature": -1}}, "Decoding's temperature is -1."),
        ({"max_new_tokens": 0}, "max_new_tokens is 0. Use 1 to 4096."),
        ({"stop": [1]}, "stop is [1]. Give a text, or a list of texts."),
    ],
)
def test_wrong_decoding_is_told_before_anything_runs(published: Home, tmp_path: Path, how: Any, said: str) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    with pytest.raises(SettingError, match=re.escape(said)):
        answer_batch.fn(str(queries), str(out), settings=settings_of(published), **how)

    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("flag", [["--top-p", "0.9"], ["--seed", "1"], ["--sample-top-k", "3"]])
def test_a_flag_that_would_mean_nothing_is_refused(flag: list[str], tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text('{"input": "Why?"}\n')

    run = CliRunner().invoke(
        cli, ["--home", str(tmp_path), "answer", "--in", str(queries), "--out", "a.parquet", *flag]
    )

    assert run.exit_code == 2
    assert f"{flag[0]} is for drawn texts: give --sample-temperature above 0 too." in run.output


def test_stops_are_written_as_people_write_them() -> None:
    assert stops_given({"stops": (r"\n\n", "###", "é\\t")}) == ["\n\n", "###", "é\t"]
    assert (stops_given({"stops": ()}), stops_given({"stops": ("",)})) == (None, [""])
