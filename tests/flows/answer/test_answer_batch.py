"""Batch answers: rows with faults, adapters that vanish, whose answers a row gets; a tiny world, all real."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from catalog.adapters.adapter import AdapterId
from catalog.errors import SettingError
from catalog.formats.table import format_named
from flows.answer_batch import answer_batch
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.refresh import refresh
from lorauter.engine.decoding import read_spelled
from tests.flows.answer.batches import BASE, queries_of, rows_of, settings_of
from warehouse.queries.queries import read_queries
from warehouse.snapshots.snapshot import current_snapshot


def test_a_row_with_a_fault_carries_it_and_the_rest_is_answered(published: Home, tmp_path: Path) -> None:
    faults: list[dict[str, Any]] = [{"input": " "}, {"input": "x", "max_new_tokens": 0}, {"input": "x", "metric": "no"}]
    faults[0]["id"] = "half a pair: \ud800"
    queries, out = queries_of(published, tmp_path / "q.jsonl", faults), tmp_path / "a.parquet"

    outcome = answer_batch(str(queries), str(out), settings=settings_of(published))

    rows = rows_of(out)
    assert (outcome["answers"], outcome["failed"]) == (len(queries.read_text().splitlines()), 3)
    assert [row["error"].partition(": ")[2] for row in rows if row["error"]] == [
        "field input must be text that is not empty.",
        "field max_new_tokens is '0': use 1 to 4096.",
        f"field metric is 'no': use one of {', '.join(TEXT_METRICS)}.",
    ]
    assert all(row["text"] is not None and row["route_seconds"] > 0 for row in rows if not row["error"])
    assert not list(tmp_path.glob(".*.parts"))


TEXT_METRICS = (
    *("exact_match", "lenient_match", "token_f1", "bleu", "rouge_1", "rouge_2", "rouge_l"),
    "struct_to_text",
)


def test_a_vanished_adapter_gives_way_to_the_tasks_next_best_and_the_row_says_so(
    published: Home, hub_folder: Path, tmp_path: Path
) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"
    best = next(r for r in current_snapshot(published.snapshots).read("best") if r["task"] == "colours")
    lost = [hub_folder / best["repo"], *(published.root / "hub").glob("models--" + best["repo"].replace("/", "--"))]
    for folder in lost:
        folder.rename(tmp_path / f"away-{len(list(tmp_path.iterdir()))}")
    aways = sorted(tmp_path.glob("away-*"), key=lambda path: path.name)

    try:
        answer_batch(str(queries), str(out), settings=settings_of(published))
    finally:
        for away, folder in zip(aways, lost, strict=True):
            away.rename(folder)

    scores = current_snapshot(published.snapshots).read("scores")
    others = [
        row
        for row in scores
        if row["task"] == "colours" and row["adapter"] not in ("", best["adapter"]) and row["lift"] > 0
    ]
    next_best = min(others, key=lambda row: (-row["mean"], -row["n"], row["adapter"]))["adapter"] if others else ""
    routed = [row for row in rows_of(out) if row["tasks"][0]["task"] == "colours"]
    assert {(f["task"], f["gone"], f["used"]) for row in routed for f in row["fallbacks"]} == {
        ("colours", best["adapter"], next_best)
    }
    assert not [row for row in rows_of(out) if best["adapter"] in {a["adapter"] for a in row["adapters"]}]
    assert AdapterId.parse(best["adapter"]).name == "ann/colours"


def test_other_settings_route_otherwise(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    answer_batch(str(queries), str(out), settings={**settings_of(published), "routing": {"top_k": 1}})

    assert {len(row["tasks"]) for row in rows_of(out)} == {1}


def test_a_plain_prompt_is_the_input_itself(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    answer_batch(str(queries), str(out), ["base"], template="plain", settings=settings_of(published))

    prompts = {row["prompt"] for row in ledger_of(published).read("outputs").to_pylist()}
    inputs = {row["input"] for row in rows_of(out)}
    assert len(inputs) == 12 and inputs <= prompts


def test_a_named_format_makes_the_prompts_and_brings_its_stops(published: Home, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text(json.dumps({"id": "1", "input": "Which pet barks?"}) + "\n")
    ways: list[dict[str, Any]] = [
        {"template": "chatml"},
        {"template": "chatml", "stop": ["\n"]},
        {"template": "alpaca"},
        {"template": "Q: {input} A:"},
    ]

    for number, way in enumerate(ways):
        answer_batch(str(queries), str(tmp_path / f"{number}.parquet"), settings=settings_of(published), **way)

    spelled = [rows_of(tmp_path / f"{number}.parquet")[0]["decoding"] for number in range(len(ways))]
    assert [read_spelled(text)[1] for text in spelled] == [("\n", "<|im_end|>"), *[("\n",)] * 3]
    prompts = {row["prompt"] for row in ledger_of(published).read("outputs").to_pylist()}
    assert prompts >= {
        "<|im_start|>user\nWhich pet barks?<|im_end|>\n<|im_start|>assistant\n",
        format_named("alpaca").prompt("Which pet barks?"),
        "Q: Which pet barks? A:",
    }


def test_a_base_without_a_chat_template_is_told(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    with pytest.raises(SettingError, match="no chat template"):
        answer_batch(str(queries), str(out), template="chat", settings=settings_of(published))


def test_one_input_asked_for_two_tasks_goes_to_each_tasks_own_adapter(published: Home, tmp_path: Path) -> None:
    queries, out = tmp_path / "q.jsonl", tmp_path / "a.parquet"
    rows = [{"id": task, "input": "Which way to the red cat?", "task": task} for task in ("animals", "colours")]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows))

    answer_batch(str(queries), str(out), ["oracle"], settings=settings_of(published))

    told = [(row["id"], row["tasks"][0]["task"], row["adapters"][0]["adapter"]) for row in rows_of(out)]
    assert [(id_, task, AdapterId.parse(key).name) for id_, task, key in told] == [
        ("animals", "animals", "bob/animals"),
        ("colours", "colours", "ann/colours"),
    ]


def test_bounds_of_a_column_with_gaps_are_read_as_pandas_writes_them(published: Home, tmp_path: Path) -> None:
    """A gap makes a column of whole numbers one of floats."""
    import pandas as pd

    frame = pd.DataFrame({"input": ["Which pet barks?"] * 3, "max_new_tokens": [2, None, 3]})
    parquet, csv, out = tmp_path / "q.parquet", tmp_path / "q.csv", tmp_path / "a.parquet"
    frame.to_parquet(parquet)
    frame.to_csv(csv)

    bounds = [[query.max_new_tokens for query in read_queries(path, 7)] for path in (parquet, csv)]

    assert bounds == [[2, 7, 3]] * 2
    assert answer_batch(str(csv), str(out), ["base"], settings=settings_of(published))["failed"] == 0


def test_the_majority_answer_is_that_of_the_base_that_is_asked(published: Home, tmp_path: Path) -> None:
    """A snapshot of two bases whose task has other examples by now."""
    home = open_home(**{**settings_of(published), "home": str(tmp_path / "home")})
    shutil.copytree(published.root, home.root, dirs_exist_ok=True, symlinks=True)
    other = open_home(**{**settings_of(home), "base": "tiny/other"})
    folder = other.task_folder / "colours"
    lines = [json.dumps({"input": f"{n}", "target": "other"}) + "\n" for n in range(6)]
    (folder / "validation.jsonl").write_text("".join(lines))
    refresh(other.reference)
    queries, out = tmp_path / "q.jsonl", tmp_path / "a.parquet"
    queries.write_text(json.dumps({"input": "Which?", "task": "colours"}))

    told = {}
    for base in (BASE, "tiny/other"):
        answer_batch(str(queries), str(out), ["majority"], settings={**settings_of(home), "base": base})
        told[base] = rows_of(out)[0]["text"]

    rows = current_snapshot(home.snapshots).read("tasks")
    own = {row["base"]: row["majority"] for row in rows if row["task"] == "colours"}
    assert told == own
    assert own["tiny/other"] == "other" != own[BASE]


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--router", "lorater"], "There is no router 'lorater'."),
        (["--compose", "blend"], "There is no composition 'blend'."),
        (["--template", "alpacca"], "No prompt format is called 'alpacca'. Near names: alpaca, "),
        (["--template", "alpaca_input"], "The prompt format alpaca_input needs an instruction."),
    ],
)
def test_a_slip_of_the_pen_is_told_before_prefect_starts(
    flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Path] = []
    monkeypatch.setattr("flows.cli.answer.begin_with_prefect", started.append)
    queries = tmp_path / "q.jsonl"
    queries.write_text('{"input": "Why?"}\n')

    run = CliRunner().invoke(
        cli, ["--home", str(tmp_path), "answer", "--in", str(queries), "--out", "a.parquet", *flags]
    )

    assert said in f"{run.exception}{run.output}"
    assert started == []
