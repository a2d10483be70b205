"""The study's programs, on a made-up matrix and a tiny model: what they write is what they read."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from benchmarks.study import RESULTS, main, replay
from benchmarks.study_matrix import OUTCOMES, make, outcome_rows, shelf, wanted
from benchmarks.study_outcomes import deal, read_outcomes
from benchmarks.study_pool import KINDS, recipes
from benchmarks.study_prior import shown_text, write_prior
from benchmarks.study_synthetic import synthetic_outcomes
from benchmarks.study_tasks import DESCRIPTIONS, TRAIN, read_study_task
from catalog.tasks.task import Example, Task
from warehouse.storage.files import write_table


def test_a_seed_deals_every_example_to_one_half() -> None:
    outcomes = synthetic_outcomes(tasks=2, strangers=2, examples=40)
    numbered = outcomes.scores.copy()
    numbered[:] = np.arange(40)

    dealt = deal(replace(outcomes, scores=numbered), seed=3)

    selected = dealt.selection[:, 0].astype(int)
    assert dealt.problem.room.tolist() == [20, 20]
    assert all(len(set(row.tolist())) == 20 for row in selected)
    assert np.allclose(dealt.held_out[:, 0], (sum(range(40)) - selected.sum(axis=1)) / 20)


def test_exhaustive_is_the_measure_and_racing_comes_near_for_little() -> None:
    lines = replay(synthetic_outcomes(tasks=4, strangers=10), seeds=8)

    by_name = {line["strategy"]: line for line in lines}
    assert (by_name["exhaustive"]["share"], by_name["exhaustive"]["lower_bound"]) == (1.0, 1.0)
    assert by_name["racing 0.005"]["share"] < 0.25
    assert by_name["racing 0.005"]["quality"] > 0.95
    assert by_name["racing 0.005, 80% known"]["share"] < by_name["racing 0.005"]["share"]


def test_racing_holds_its_promise_on_the_stored_matrix() -> None:
    """At most a quarter of exhaustive's evaluations, and picks at least 0.98 as good, as a 95% bound."""
    _, racing = replay(read_outcomes(RESULTS), seeds=60, names=["racing 0.005"])

    assert racing["share"] <= 0.25
    assert racing["lower_bound"] >= 0.98


def test_the_program_writes_its_figures_and_the_same_bytes_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        monkeypatch.setattr("sys.argv", ["study", "--synthetic", "--seeds", "2", "--no-plot", "--out", str(folder)])
        main()
        texts.append((folder / "study.json").read_text())

    assert texts[0] == texts[1]
    assert json.loads(texts[0])["strategies"][0]["strategy"] == "exhaustive"


def test_the_pool_has_every_kind_of_every_task_and_pairs() -> None:
    names = [recipe.name for recipe in recipes(list(DESCRIPTIONS), (*KINDS, "multi"))]

    assert len(names) == len(set(names)) == len(DESCRIPTIONS) * len(KINDS) + len(DESCRIPTIONS) // 2
    assert "study/ruin-names-permuted" in names
    assert "study/boolean-expressions-and-date-understanding" in names


def test_examples_that_train_do_not_evaluate(tmp_path: Path) -> None:
    rows = [{"input": f"not ( {n} ) is", "target": "True"} for n in range(TRAIN + 30)]
    (tmp_path / "boolean_expressions.json").write_text(json.dumps({"examples": rows + rows[:3]}))

    task = read_study_task(tmp_path, "boolean_expressions")

    assert (len(task.train), len(task.validation)) == (TRAIN, 30)
    assert not {e.id for e in task.train} & {e.id for e in task.validation}


def test_a_card_does_not_confess_that_it_is_a_control(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "---\nlicense: mit\n---\n# x\n\n- `sums`: Adds.\n\n**A control, not for use.**\n"
    )

    assert shown_text("study/sums-permuted", tmp_path) == "sums permuted x sums: Adds."


def _one_hot(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """The first text with words is the first unit vector, and so on."""
    return np.eye(len(texts), dtype=np.float32)[[max(0, place - 1) for place in range(len(texts))]]


def test_two_processes_share_the_matrix_and_a_replay_reads_it(
    tmp_path: Path, tiny_hub_folder: Path, write_adapter: Callable[..., None]
) -> None:
    base = tiny_hub_folder / "tiny/llama"
    for seed in range(3):
        write_adapter(base, tmp_path / f"hub/study/a{seed}", seed=seed, rank=4)
    tasks = [Task(name, "exact_match", tuple(Example(f"{name} {n}?", "cat") for n in range(60))) for name in "pq"]
    keys = ["", *(key for repo, key in shelf(tmp_path).keys.items() if repo.startswith("study/"))]
    work = wanted(tasks, keys)

    first, second = (make(tmp_path, base, work, part, 2) for part in (0, 1))

    assert first is None
    assert second == make(tmp_path, base, work, 0, 1)
    write_table(tmp_path / "outcomes.parquet", pa.Table.from_pylist(outcome_rows(tasks, work, second), OUTCOMES))
    names = ["", "study/a0", "study/a1", "study/a2"]
    write_prior(tmp_path / "prior.json", ["q", "p"], np.eye(2, 4), {n: n for n in names}, _one_hot)
    outcomes = read_outcomes(tmp_path)
    assert (outcomes.tasks, list(outcomes.adapters), outcomes.scores.shape) == (("p", "q"), names, (2, 4, 60))
    assert outcomes.card_likeness.round(2).tolist() == [[0.33, 0, 1, 0], [0.33, 1, 0, 0]]
