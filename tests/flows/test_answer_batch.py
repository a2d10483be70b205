"""Batch answers: rows with faults, adapters that vanish, chunks, kills; a tiny world, all real."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from io import StringIO
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import lorauter
from catalog.adapters.adapter import AdapterId
from catalog.errors import SettingError
from catalog.formats.table import format_named
from flows import stages
from flows.answer.route_texts import RouteOptions
from flows.answer_batch import answer_batch
from flows.cli.main import cli
from flows.cli.options import stops_given
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of, model_folder, open_engine
from flows.mirror.server import serve_in_thread
from flows.refresh import refresh
from lorauter.engine.decoding import read_spelled
from lorauter.engine.stopping import cut_at_stop
from tests.processes import ended, kill_when, start_command
from warehouse.queries.queries import read_queries
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.tasks.folder import stored_tasks

BASE = "tiny/llama"


@pytest.fixture(scope="module")
def hub_folder(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path) -> Path:
    folder = tmp_path_factory.mktemp("own") / "hub"
    shutil.copytree(tiny_hub_folder, folder)
    return folder


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, hub_folder: Path, refreshed: Path) -> Iterator[Home]:
    """A home with a published snapshot."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("published") / "home", symlinks=True)
    with serve_in_thread(hub_folder) as hub:
        yield open_home(home=root, endpoint=hub.endpoint, base=BASE, answer_rows=4)


def settings_of(home: Home) -> dict[str, Any]:
    return {**home.reference, "answer_rows": 4}


def queries_of(home: Home, path: Path, extra: list[dict[str, Any]] | None = None) -> Path:
    rows = [
        {"id": f"{task.name}-{n}", "input": e.input, "task": task.name, "max_new_tokens": 3}
        for task in stored_tasks(home.task_folder)
        for n, e in enumerate(task.test)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, *(extra or [])]))
    return path


def rows_of(out: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out).to_pylist()
    return rows


def told(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows but for what a clock says."""
    return [{k: v for k, v in row.items() if not k.endswith("_seconds")} for row in rows]


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


# -- decoding -------------------------------------------------------------------------------------


def answered(home: Home, queries: Path, out: Path, **how: Any) -> tuple[int, list[dict[str, Any]]]:
    """How many outputs were new, and the rows."""
    outcome = answer_batch(str(queries), str(out), settings=settings_of(home), **how)
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
    answer_batch(str(back), str(tmp_path / "2.parquet"), settings=settings, sampling=sampling, stop=())
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
        answer_batch(str(queries), str(out), settings=settings_of(published), **how)

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


def test_a_composition_serves_the_route_its_own_way_and_the_row_says_which(published: Home, tmp_path: Path) -> None:
    queries = queries_of(published, tmp_path / "q.jsonl")

    texts = {}
    for name in ("mixture", "cat", "selection"):
        out = tmp_path / f"{name}.parquet"
        answer_batch(str(queries), str(out), compose=name, settings=settings_of(published))
        rows = rows_of(out)
        texts[name] = [row["text"] for row in rows]
        assert {(json.loads(row["composition"] or '["mixture"]')[0], row["error"]) for row in rows} == {(name, None)}

    assert texts["cat"] == texts["mixture"]
    kept = {row["composition"] for row in ledger_of(published).read("outputs", ["composition"]).to_pylist()}
    assert len(kept) == 3


def test_routes_that_a_composition_refuses_carry_the_reason(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    answer_batch(str(queries), str(out), compose="ties", settings=settings_of(published))

    refused = [row["error"] for row in rows_of(out) if row["error"]]
    assert refused
    assert all("rank" in error for error in refused)


def test_an_unknown_composition_is_told_before_anything_runs(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    with pytest.raises(SettingError, match="no composition 'blend'"):
        answer_batch(str(queries), str(out), compose="blend", settings=settings_of(published))


def test_a_named_format_makes_the_prompts_and_brings_its_stops(published: Home, tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text(json.dumps({"id": "1", "input": "Which pet barks?"}) + "\n")
    ways: list[dict[str, Any]] = [
        {"template": "chatml"},
        {"template": "chatml", "stop": ["\n"]},
        {"template": "alpaca"},
        {"template": "Q: {input} A:"},
    ]

    rows = [answered(published, queries, tmp_path / f"{n}.parquet", **way)[1][0] for n, way in enumerate(ways)]

    assert [read_spelled(row["decoding"])[1] for row in rows] == [("\n", "<|im_end|>"), *[("\n",)] * 3]
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


def test_a_gates_answers_are_stored_and_are_those_of_the_gate_itself(published: Home, tmp_path: Path) -> None:
    from lorauter.gates.protocol import GatedRoute
    from lorauter.gates.singular_rows import singular_rows_of
    from lorauter.gates.spectr import SpectrGate

    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"
    settings = settings_of(published)

    first = answer_batch(str(queries), str(out), ["spectr"], settings=settings)
    rows = rows_of(out)
    out.unlink()
    again = answer_batch(str(queries), str(out), ["spectr"], settings=settings)

    assert (first["new"], again["new"], first["failed"]) == (len(rows), 0, 0)
    assert [row["text"] for row in rows_of(out)] == [row["text"] for row in rows]
    verdicts = current_snapshot(published.snapshots).read("adapters")
    pool = sorted(row["adapter"] for row in verdicts if row["admitted"] and not row["dora"])
    assert {row["composition"] for row in rows} == {'["gate:spectr", {}]'}
    assert all(row["adapters"] == [{"adapter": key, "weight": None} for key in pool] for row in rows)
    engine = open_engine(published, BASE, verdicts[0]["base_sha"])
    gate = GatedRoute(SpectrGate(pool, singular_rows_of(engine.weights_of)))
    templates = {task.name: task.template for task in stored_tasks(published.task_folder)}
    prompts = [templates[row["task"]].replace("{input}", row["input"]) for row in rows]
    assert [row["text"] for row in rows] == engine.answer(prompts, [gate] * len(rows), 3)


def test_a_gates_candidates_are_those_that_can_still_be_had(published: Home, hub_folder: Path, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"
    lost = next(r["adapter"] for r in current_snapshot(published.snapshots).read("best") if r["adapter"])
    repo = AdapterId.parse(lost).repo
    folders = [hub_folder / repo, *(published.root / "hub").glob("models--" + repo.replace("/", "--"))]
    for number, folder in enumerate(folders):
        folder.rename(tmp_path / f"away-{number}")

    try:
        answer_batch(str(queries), str(out), ["arrow", "logo"], settings=settings_of(published))
    finally:
        for number, folder in enumerate(folders):
            (tmp_path / f"away-{number}").rename(folder)

    used = {row["router"]: {a["adapter"] for a in row["adapters"]} for row in rows_of(out)}
    assert used["arrow"] and used["logo"] and lost not in used["arrow"] | used["logo"]
    assert not [row for row in rows_of(out) if row["error"]]


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


def test_a_gate_is_not_composed(published: Home, tmp_path: Path) -> None:
    queries, out = queries_of(published, tmp_path / "q.jsonl"), tmp_path / "a.parquet"

    with pytest.raises(SettingError, match="'lag' weighs adapters token by token and cannot be composed"):
        answer_batch(str(queries), str(out), ["lorauter", "lag"], compose="cat", settings=settings_of(published))
    assert not out.exists()


@pytest.mark.parametrize("router", ["logo", "lorahub"])
def test_a_router_that_asks_the_base_is_loaded_with_an_engine(published: Home, tmp_path: Path, router: str) -> None:
    snapshot, task = current_snapshot(published.snapshots), stored_tasks(published.task_folder)[0]
    engine = open_engine(published, BASE, snapshot.read("tasks")[0]["base_sha"])
    query, made = task.test[0].input, []

    def loaded() -> Any:
        made.append(router)
        return engine

    opened = lorauter.load(
        snapshot.folder,
        router=router,
        encoder=lambda wanted: model_folder(published, wanted.id, wanted.sha),
        engine=loaded,
        prompt_of=task.prompt,
    )
    assert made == []
    route = opened.route([query])[0]

    path, out = tmp_path / "q.jsonl", tmp_path / "a.parquet"
    path.write_text(json.dumps({"id": "1", "input": query, "task": task.name}))
    answer_batch(str(path), str(out), [router], settings=settings_of(published))
    assert made == [router]
    assert [(a["adapter"], a["weight"]) for a in rows_of(out)[0]["adapters"]] == list(route.mixture)


def test_a_gates_route_is_told_by_its_candidates(published: Home) -> None:
    verdicts = current_snapshot(published.snapshots).read("adapters")

    told = StringIO()
    stages.route(published, ["Which pet barks?"], RouteOptions("lag"), told)

    admitted = sorted(row["adapter"] for row in verdicts if row["admitted"])
    assert told.getvalue().splitlines() == [f"token\t{key}" for key in admitted]
