"""The paper's table: by hand on four lines, and the published figures where the authors' predictions are at hand."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from benchmarks.paper_table import lines, main, paper_table
from catalog.errors import TaskError

ROOT = Path(__file__).parents[2]
DATA = Path(os.environ.get("LORAUTER_TEST_DATA") or ROOT.parent / "shared" / "data")
PREDICTIONS = DATA / "flan48" / "predictions_llama2_7b.jsonl"

PUBLISHED = {  # method: mean over tasks, share of the oracle
    "oracle": (57.2, 100.0),
    "selection": (51.7, 90.0),
    "selection_ood": (44.0, 73.7),
    "mixture": (43.2, 78.5),
    "mixture_ood": (33.8, 61.9),
    "fusion": (31.9, 56.6),
    "fusion_ood": (42.0, 73.8),
    "base": (3.9, 10.7),
}
ROWS = [
    {"id": 0, "task": "rte", "domain": "nli", "metric": "em", "target": "yes", "oracle": "yes", "ours": "no"},
    {"id": 1, "task": "rte", "domain": "nli", "metric": "em", "target": "no", "oracle": "No.", "ours": "no"},
    {"id": 2, "task": "cb", "domain": "nli", "metric": "em", "target": "no", "oracle": "no", "ours": "no"},
    {"id": 3, "task": "wmt", "domain": "mt", "metric": "bleu", "target": "a b c d", "oracle": "a b c d", "ours": "a"},
]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.skipif(not PREDICTIONS.is_file(), reason="the authors' predictions are not here: set LORAUTER_TEST_DATA")
def test_the_published_figures_come_out() -> None:
    table = paper_table(PREDICTIONS)

    figures = {method: (table["tasks"][method]["mean"], table["share"][method]) for method in PUBLISHED}
    assert table["n"] == {"examples": 2395, "tasks": 48, "domains": 10}
    for method, published in PUBLISHED.items():
        assert figures[method] == pytest.approx(published, abs=0.1), method


def test_domains_average_tasks_and_the_share_averages_domains(tmp_path: Path) -> None:
    table = paper_table(write(tmp_path / "p.jsonl", ROWS))

    means = {domain: {method: cell["mean"] for method, cell in row.items()} for domain, row in table["domains"].items()}
    assert means == {"mt": {"oracle": 100.0, "ours": 0.0}, "nli": {"oracle": 100.0, "ours": 75.0}}
    assert table["share"] == {"oracle": 100.0, "ours": 37.5}
    assert {method: cell["mean"] for method, cell in table["tasks"].items()} == {"oracle": 100.0, "ours": 50.0}


def test_the_table_is_printed_and_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = write(tmp_path / "p.jsonl", ROWS * 2), tmp_path / "t.json"

    main(["--predictions", str(path), "--json", str(out)])

    printed = capsys.readouterr().out.splitlines()
    assert printed == lines(json.loads(out.read_text()))
    assert printed[0].split() == ["domain", "oracle", "ours"]
    assert printed[-1].split() == ["share", "100.0", "37.5"]


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"ours": None}, "row 2: field ours must be text."),
        ({"metric": "f1"}, "row 2: field metric is 'f1', not one of em, rouge, "),
        ({"extra": "x"}, "row 2: field extra must be text."),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, row: dict[str, object], fault: str) -> None:
    second = {**ROWS[1], **row}
    rows = [ROWS[0], second] if "extra" not in row else [{**ROWS[0], "extra": "x"}, ROWS[1]]
    path = write(tmp_path / "p.jsonl", rows)

    with pytest.raises(TaskError) as caught:
        paper_table(path)

    assert caught.value.cause.startswith(f"{path}, {fault}")


def test_an_oracle_that_is_no_method_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "p.jsonl", ROWS)

    with pytest.raises(SystemExit) as stopped:
        main(["--predictions", str(path), "--oracle", "best"])

    assert stopped.value.code == 1
    assert capsys.readouterr().err == (f"Error: {path}: there is no method 'best', only oracle, ours. Set --oracle.\n")
