"""An adapter that cannot be run is set aside with its reason; everything else goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.adapters.adapter import AdapterId
from catalog.errors import DiskError, SettingError
from catalog.tasks.answer import Failed
from flows.home.home import Home, open_home
from flows.home.parts import conditions_on, engine_here, ledger_of, model_folder, open_outputs
from flows.score.score import Scores
from flows.stages import crawl, score, validate
from lorauter.compositions import spelled
from lorauter.engine.engine import Engine
from lorauter.engine.version import SERVING_VERSION
from lorauter.routing.routes import Route
from warehouse.plans.plan import Work
from warehouse.tasks.folder import read_tasks, store_task

BASE, HOPELESS = "tiny/llama", "bob/animals"


@pytest.fixture
def home(tmp_path: Path, tiny_hub: str, tiny_tasks: Path) -> Home:
    """A home whose pool is validated, one adapter's weights spoilt on the disk since."""
    opened = open_home(home=tmp_path / "home", endpoint=tiny_hub, base=BASE)
    for task in read_tasks(tiny_tasks):
        store_task(opened.task_folder, task)
    crawl(opened)
    validate(opened)
    weights = next((opened.root / "hub").glob("models--bob--animals/snapshots/*/adapter_model.safetensors"))
    weights.resolve().write_bytes(b"\x08" + bytes(7) + b"no JSON!")
    return opened


def scores_of(home: Home) -> Scores:
    return score(home, validate(home).bases[0])


def test_a_hopeless_adapter_is_quarantined_with_its_reason(home: Home) -> None:
    scores_of(home)
    rows = [row for row in ledger_of(home).current("rungs") if AdapterId.parse(row["adapter"]).name == HOPELESS]
    assert {(row["task"], row["rung"], row["n"], row["kept"]) for row in rows} == {
        (task, 1, 0, False) for task in ("animals", "colours", "compass")
    }
    assert all(row["why"].startswith("quarantined: bob/animals@") for row in rows)
    assert all("has no readable adapter_model.safetensors" in row["why"] for row in rows)


def test_the_others_are_scored_as_ever(home: Home) -> None:
    best = {found.task.name: AdapterId.parse(found.best).name for found in scores_of(home).tasks}
    assert (best["colours"], best["compass"]) == ("ann/colours", "cleo/compass")
    assert best["animals"] != HOPELESS


def test_what_failed_is_kept_and_not_tried_again(home: Home) -> None:
    first = scores_of(home)
    failed = [row for row in ledger_of(home).read("outputs").to_pylist() if row["error"]]
    again = scores_of(home)
    assert (first.new > 0, again.new) == (True, 0)
    assert {(row["text"], AdapterId.parse(row["adapters"][0]).name) for row in failed} == {(None, HOPELESS)}


def test_a_bug_of_ours_is_no_fault_of_the_adapter(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once mended, the same run goes on, and every adapter is scored as if nothing had been."""
    answer = Engine.answer

    def broken(engine: Engine, prompts: Any, routes: Any, *rest: Any, **more: Any) -> Any:
        if any(AdapterId.parse(key).name == "cleo/compass" for route in routes for key, _ in route.mixture):
            raise KeyError("a slip of the pen")
        return answer(engine, prompts, routes, *rest, **more)

    monkeypatch.setattr(Engine, "answer", broken)
    with pytest.raises(KeyError, match="a slip of the pen"):
        scores_of(home)
    errors = [row["error"] for row in ledger_of(home).read("outputs").to_pylist() if row["error"]]
    assert [error for error in errors if HOPELESS not in error] == []

    monkeypatch.setattr(Engine, "answer", answer)

    best = {found.task.name: AdapterId.parse(found.best).name for found in scores_of(home).tasks}
    assert best["compass"] == "cleo/compass"


def test_what_an_older_engine_could_not_run_is_tried_again_by_a_newer_one(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The weights are sound again as if the newer engine could read them."""
    first = scores_of(home)
    assert {row["refused_by"] for row in ledger_of(home).read("outputs").to_pylist() if row["error"]} == {
        SERVING_VERSION
    }
    weights = next((home.root / "hub").glob("models--bob--animals/snapshots/*/adapter_model.safetensors"))
    weights.resolve().unlink()
    weights.unlink()
    assert scores_of(home).new == 0  # the same engine does not

    for module in ("lorauter.racing.race", "lorauter.answers", "flows.outputs.outputs"):
        monkeypatch.setattr(f"{module}.SERVING_VERSION", "newer")
    second, third = scores_of(home), scores_of(home)

    best = [{found.task.name: AdapterId.parse(found.best).name for found in s.tasks} for s in (second, third)]
    assert best == [{"animals": "bob/animals", "colours": "ann/colours", "compass": "cleo/compass"}] * 2
    assert (first.new > 0, second.new > 0, third.new) == (True, True, 0)


def test_a_disk_that_fails_is_no_fault_of_the_adapter(home: Home) -> None:
    weights = next((home.root / "hub").glob("models--bob--animals/snapshots/*/adapter_model.safetensors"))
    blob = weights.resolve()
    blob.unlink()
    blob.mkdir()  # a file that is here and cannot be read

    with pytest.raises(DiskError, match="cannot be read"):
        scores_of(home)

    assert not [row for row in ledger_of(home).read("outputs").to_pylist() if row["error"]]


def test_a_base_that_cannot_be_run_is_nobodys_fault_but_its_own(home: Home) -> None:
    """The base is no adapter: without it nothing can be scored, and a person must know."""
    weights = model_folder(home, BASE, validate(home).bases[0].sha) / "model.safetensors"
    weights.resolve().write_bytes(b"")
    with pytest.raises(SettingError, match="cannot be read"):
        scores_of(home)
    assert not [row for row in ledger_of(home).read("outputs").to_pylist() if row["error"]]


@pytest.mark.parametrize("composition", ["mixture", "cat"])
def test_a_mixture_with_a_hopeless_member_fails_alone(home: Home, composition: str) -> None:
    scores_of(home)
    keys = {AdapterId.parse(row["adapter"]).name: row["adapter"] for row in ledger_of(home).current("rungs")}
    good, fine, hopeless = keys["ann/colours"], keys["cleo/compass"], keys[HOPELESS]
    mixtures = [((good, 0.5), (hopeless, 0.5)), ((good, 0.5), (fine, 0.5)), ((good, 1.0),), ()]
    work = [Work("red", mixture, 3, composition=spelled(composition)) for mixture in mixtures]
    base = validate(home).bases[0]
    conditions = conditions_on(home, base.id, base.sha)

    answers, new = open_outputs(home).ensure(work, conditions, lambda _: None)

    engine = engine_here(home, base.id, base.sha)
    assert answers[1:] == engine.answer(["red"] * 3, [Route(mixture) for mixture in mixtures[1:]], 3)
    assert (new, isinstance(answers[0], Failed)) == (4, True)
