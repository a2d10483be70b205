"""The router polar in the product: it answers, is told, learns, and a replay of what is stored is the run itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from catalog.errors import SettingError
from flows import stages
from flows.answer.options import AnswerOptions
from flows.answer.policy import lessons_on
from flows.answer_batch import answer_batch
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import engine_here, ledger_of, policies_of, snapshot_of
from lorauter.bandit.lessons import replay
from lorauter.bandit.state import PolarState, read_state, with_arms
from lorauter.routers.polar import PolarRouter, fresh_policy
from lorauter.routing.task_index import TaskIndex, load_index
from tests.flows.answer.batches import BASE, queries_of, rows_of, told
from warehouse.schemas.answers import ANSWERS, POLICY_ANSWERS

POLAR = {"resident": 2, "kappa": 0.5, "first_epoch": 8, "load_cost": 0.05, "seed": 4}


@pytest.fixture
def home(published: Home, tmp_path: Path) -> Home:
    root = shutil.copytree(published.root, tmp_path / "home", symlinks=True)
    endpoint = published.settings.endpoint
    return open_home(home=root, endpoint=endpoint, base=BASE, answer_rows=4, capacity=6, polar=POLAR)


def index_of(home: Home) -> TaskIndex:
    return load_index(snapshot_of(home), home.settings.base)


def states_of(home: Home) -> dict[int, PolarState]:
    return {int(path.stem): read_state(path) for path in (home.root / "polar" / "tiny--llama").iterdir()}


def batch(home: Home, tmp_path: Path, number: int, routers: tuple[str, ...] = ("polar",)) -> Path:
    """One batch answered; the person who reads it likes what the task's own adapter says."""
    out = tmp_path / f"{number}.parquet"
    answer_batch(str(queries_of(home, tmp_path / "q.jsonl")), str(out), routers=routers, settings=home.reference)
    return out


def liked(home: Home, out: Path) -> Path:
    own = dict(zip(index_of(home).tasks, index_of(home).best, strict=True))
    scores = [
        {
            "id": row["id"],
            "router": "polar",
            "score": float(own[row["task"]] in {a["adapter"] for a in row["adapters"]}),
        }
        for row in rows_of(out)
        if row["router"] == "polar"
    ]
    path = out.with_suffix(".scores.jsonl")
    path.write_text("".join(json.dumps(row) + "\n" for row in scores))
    return path


def test_batch_by_batch_it_learns_and_a_replay_of_answers_and_scores_is_the_run(home: Home, tmp_path: Path) -> None:
    outs = []
    for number in range(3):
        outs.append(batch(home, tmp_path, number))
        stages.feedback(home, liked(home, outs[-1]), outs[-1])
    online = policies_of(home).learned(index_of(home), ledger_of(home))

    states, rows = states_of(home), [row for out in outs for row in rows_of(out)]
    assert sorted(states) == [1, 2, 3, 4]
    assert online.polar.total == len(rows) > 30
    assert online.polar.epoch >= 2
    assert min(row["propensity"] for row in rows) < 1  # it probed
    assert len({str(row["adapters"]) for row in rows}) > 2

    fresh = with_arms(fresh_policy(index_of(home), home.settings.polar, 6), index_of(home).adapters)
    replayed = replay(fresh, lessons_on(ledger_of(home), online), list(online.learned))
    for name in ("cached", "pulls"):
        np.testing.assert_array_equal(getattr(replayed.polar, name), getattr(online.polar, name))
    np.testing.assert_array_equal(replayed.polar.arms.v, online.polar.arms.v)
    np.testing.assert_array_equal(replayed.polar.arms.b, online.polar.arms.b)
    assert replayed.resident == online.resident

    for row in rows:  # and every stored answer is what the state of its time chooses
        state = states[row["policy_version"]]
        draw = PolarRouter(index_of(home), lambda: None, state, 3)._draw(row["input"])  # type: ignore[arg-type,return-value]
        arm, propensity = state.polar.choose(np.array(row["context"]), np.array(draw))
        assert [state.names[int(arm)]] == ([a["adapter"] for a in row["adapters"]] or [""])
        assert float(propensity) == row["propensity"]
        assert row["resident"] == (not row["adapters"] or row["adapters"][0]["adapter"] in state.resident)


def test_its_resident_adapters_are_pinned_while_it_answers_and_not_afterwards(home: Home, tmp_path: Path) -> None:
    out = batch(home, tmp_path, 0)
    stages.feedback(home, liked(home, out), out)
    batch(home, tmp_path, 1)
    index, resident = index_of(home), states_of(home)[2].resident
    bank = engine_here(home, index.base, index.base_sha).bank
    assert 0 < len(resident) <= 2
    assert bank.pinned == set(resident)
    used = {a["adapter"] for row in rows_of(tmp_path / "1.parquet") for a in row["adapters"]}
    assert set(resident) & used <= set(bank.keys)

    stages.answer(
        home,
        queries_of(home, tmp_path / "q2.jsonl", [{"input": "One more?"}]),
        tmp_path / "b.parquet",
        AnswerOptions(("lorauter",)),
    )

    assert bank.pinned == set()


def test_the_same_command_again_learns_nothing_and_gives_the_same_answers(home: Home, tmp_path: Path) -> None:
    first, again = batch(home, tmp_path, 0), batch(home, tmp_path, 1)

    assert told(rows_of(first)) == told(rows_of(again))
    assert sorted(states_of(home)) == [1]


def test_beside_it_another_router_answers_as_it_does_alone_and_alone_has_the_old_columns(
    home: Home, tmp_path: Path
) -> None:
    both, alone = batch(home, tmp_path, 0, ("polar", "lorauter")), batch(home, tmp_path, 1, ("lorauter",))

    assert pq.read_schema(both).names == POLICY_ANSWERS.names
    assert pq.read_schema(alone).names == ANSWERS.names
    others = [{name: row[name] for name in ANSWERS.names} for row in rows_of(both) if row["router"] == "lorauter"]
    by_id = sorted(told(others), key=lambda row: str(row["id"]))
    assert by_id == sorted(told(rows_of(alone)), key=lambda row: str(row["id"]))


def test_the_command_stores_what_it_is_told_and_says_who_learns(home: Home, tmp_path: Path) -> None:
    out = batch(home, tmp_path, 0)
    where = ["--home", str(home.root), "feedback", "--answers", str(out), "--in", str(liked(home, out))]

    first, again = CliRunner().invoke(cli, where), CliRunner().invoke(cli, where)

    count = len(rows_of(out))
    teaching = f" {count} of them teach the router polar when it answers next."
    assert first.output == f"{count} scores, {count} new.{teaching}\n"
    assert again.output == f"{count} scores, 0 new.{teaching}\n"


def test_a_policy_of_another_encoder_or_a_damaged_one_is_refused_with_words(home: Home, tmp_path: Path) -> None:
    batch(home, tmp_path, 0)
    index = index_of(home)
    other = _changed(index, encoder=_changed(index.encoder, hash="other"))
    with pytest.raises(SettingError, match="learned on the encoder"):
        policies_of(home).current(other)

    (home.root / "polar" / "tiny--llama" / "000001.safetensors").write_bytes(b"no")
    with pytest.raises(SettingError, match=r"000001\.safetensors cannot be used"):
        policies_of(home).current(index)


def _changed(record: Any, **fields: Any) -> Any:
    from dataclasses import replace

    return replace(record, **fields)
