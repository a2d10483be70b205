"""Routers are trained on a published catalog, published with it, found again, and refused where they do not belong."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lorauter
from catalog.errors import SettingError
from flows.answer.options import AnswerOptions
from flows.evaluate.evaluate import EvaluateOptions
from flows.fit.fit import Fitted, belonging, still_belong
from flows.fit.states import States
from flows.home.home import Home, open_home
from flows.home.parts import fit_parts, model_folder, open_router, snapshot_of, states_of
from flows.mirror.server import serve_in_thread
from flows.publish.run_record import Run
from flows.stages import answer, evaluate, fit, publish, read_base, score
from lorauter.racing.selection import split_examples
from lorauter.train import steps
from lorauter.train.dlp_lora import DlpLoraFit
from lorauter.train.fit import grounds_of
from lorauter.train.fits import FITS
from lorauter.train.found_states import catalog_of
from lorauter.train.two_stage import TwoStageFit
from lorauter.trained.state import TrainedState, state_file
from warehouse.snapshots.manifest import verify
from warehouse.snapshots.snapshot import Snapshot, with_trained
from warehouse.storage.storage import FolderStorage
from warehouse.tasks.folder import store_task, stored_tasks

BASE = "tiny/llama"
NAMES = ("dlp_lora", "two_stage")
QUERIES = ["What colour is the 3 in the painting?", "Which way does the compass needle point at mile 7?"]
pytestmark = pytest.mark.usefixtures("few_steps")


@pytest.fixture(scope="module", autouse=True)
def few_steps() -> Iterator[None]:
    """Both fits end soon."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DlpLoraFit, "options", {**DlpLoraFit.options, "steps": 200, "width": 32})
        patch.setattr(TwoStageFit, "options", {**TwoStageFit.options, "steps": 50})
        yield


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path, refreshed: Path) -> Iterator[Home]:
    """A home whose current snapshot holds the states of both."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("fitted") / "home", symlinks=True)
    with serve_in_thread(tiny_hub_folder) as hub:
        yield open_home(home=root, endpoint=hub.endpoint, base=BASE, fit=NAMES)


@pytest.fixture(scope="module")
def fitted(home: Home) -> Snapshot:
    return fit(home).snapshot


def states_in(snapshot: Snapshot) -> dict[str, str]:
    return {
        state.router: state.sha for path in snapshot.trained for state in [TrainedState.read(path.parent, path.stem)]
    }


def test_a_fit_publishes_the_catalog_again_with_what_was_learned(home: Home, fitted: Snapshot, refreshed: Path) -> None:
    before = snapshot_of(open_home(home=refreshed, base=BASE))

    assert verify(fitted.folder)["id"] == fitted.id == snapshot_of(home).id != before.id
    assert sorted(states_in(fitted)) == list(NAMES)
    assert fitted.context == before.context and fitted.read("best") == before.read("best")


def test_what_is_trained_is_not_trained_again_and_again_gives_the_same_bytes(home: Home, fitted: Snapshot) -> None:
    told = fit(home).told
    anew = fit(home, ("two_stage",), again=True)

    assert [line.partition(" (")[0] for line in told] == [f"{name}: trained before" for name in NAMES]
    assert anew.snapshot.id == fitted.id and anew.told[0].startswith("two_stage: trained in ")


@pytest.mark.parametrize("name", NAMES)
def test_a_trained_router_finds_the_task_with_the_home_and_without(home: Home, fitted: Snapshot, name: str) -> None:
    index = open_router(home, fitted, "lorauter").index  # type: ignore[attr-defined]
    encoder = model_folder(home, index.encoder.id, index.encoder.sha)

    routes = open_router(home, fitted, name).route(QUERIES)

    assert [route.tasks[0].task for route in routes] == ["colours", "compass"]
    assert lorauter.load(fitted.folder, router=name, encoder=encoder).route(QUERIES) == routes


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_training_goes_on_and_gives_the_same_bytes(
    home: Home, fitted: Snapshot, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "CHECKPOINT_SECONDS", 0.0)
    parts = fit_parts(home, fitted, BASE)

    def die(step: int, _most: int, _loss: float) -> None:
        if step == 30:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        FITS[name].train(parts, 60, 0, die, tmp_path)
    resumed = FITS[name].train(parts, 60, 0, lambda *_: None, tmp_path)

    whole = states_of(home).read(states_in(fitted)[name])
    assert resumed.bytes == whole.bytes and resumed.facts.items() <= whole.facts.items()


def test_no_fit_sees_a_test_example_nor_one_that_reports_on_a_winner(home: Home, fitted: Snapshot) -> None:
    parts = fit_parts(home, fitted, BASE)

    outcomes = parts.outcomes()

    assert not any(task.test for task in parts.tasks) and all(task.validation for task in parts.tasks)
    for task, best in zip(parts.tasks, parts.index.best, strict=True):
        chose = {task.validation.index(example) for example in split_examples(task, home.settings.report)[0]}
        met = outcomes[task.name]
        assert best in met and set().union(*met.values()) <= chose
        assert met[best].keys() >= met[""].keys() and set(met[best].values()) <= {0.0, 1.0}


@pytest.mark.parametrize("name", NAMES)
def test_poison_in_the_test_splits_changes_no_byte_of_a_state(
    home: Home, fitted: Snapshot, tmp_path: Path, name: str
) -> None:
    root = shutil.copytree(home.root, tmp_path / "home", symlinks=True)
    other = open_home(home=root, endpoint=home.settings.endpoint, base=BASE)
    tasks = stored_tasks(other.task_folder)
    for task, poison in zip(tasks, [*tasks[1:], tasks[0]], strict=True):  # each tests on another one's examples
        store_task(other.task_folder, replace(task, test=poison.validation))

    done = fit(other, (name,), again=True)

    assert states_in(done.snapshot) == states_in(fitted)


def test_a_state_of_other_code_or_of_no_training_is_refused_in_words(
    home: Home, fitted: Snapshot, refreshed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DlpLoraFit, "version", "2")
    with pytest.raises(
        SettingError, match=r"'dlp_lora' belongs to another version of its code. Train it again: lorauter"
    ):
        open_router(home, fitted, "dlp_lora").route(QUERIES)
    with pytest.raises(SettingError, match=r"'two_stage' is not trained for this catalog. Train it: lorauter fit two"):
        open_router(home, snapshot_of(open_home(home=refreshed, base=BASE)), "two_stage").route(QUERIES)
    with pytest.raises(SettingError, match=r"'arrow' is not trained by lorauter fit. Choose from: dlp_lora, "):
        fit(home, ("arrow",))


def test_a_task_that_changed_since_it_was_published_is_told(home: Home, fitted: Snapshot, tmp_path: Path) -> None:
    root = shutil.copytree(home.root, tmp_path / "home", symlinks=True)
    other = open_home(home=root, endpoint=home.settings.endpoint, base=BASE)
    task = stored_tasks(other.task_folder)[0]
    store_task(other.task_folder, replace(task, validation=task.validation[1:]))

    with pytest.raises(SettingError, match=r"'animals' is no longer as it was published. Publish it anew"):
        fit(other, ("dlp_lora",), again=True)


def test_a_publish_takes_along_what_still_belongs(home: Home, fitted: Snapshot) -> None:
    base = read_base(home)

    published = publish(home, base, score(home, base), Run.begin("publish"))

    assert published.id == fitted.id


def test_what_others_published_while_a_fit_trained_stays_published(
    home: Home, fitted: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(home.root, tmp_path / "home", symlinks=True)
    other = open_home(home=root, endpoint=home.settings.endpoint, base=BASE)
    bare = with_trained(other.snapshots, snapshot_of(other), {})
    train = DlpLoraFit.train

    def slowly(self: DlpLoraFit, *parts: Any) -> TrainedState:
        fit(other, ("two_stage",))
        return train(self, *parts)

    monkeypatch.setattr(DlpLoraFit, "train", slowly)
    done = fit(other, ("dlp_lora",), again=True)

    assert bare.trained == [] and states_in(done.snapshot) == states_in(fitted)


def test_a_state_of_a_catalog_that_has_gone_meanwhile_is_told_and_not_published(
    home: Home, fitted: Snapshot, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    states, name = states_of(home), state_file("dlp_lora", states_in(fitted)["dlp_lora"])
    index = open_router(home, fitted, "lorauter").index  # type: ignore[attr-defined]
    published = catalog_of(fitted, index)
    changed = replace(published, task_hashes={**published.task_hashes, "animals": "0" * 16})
    before, ours = len(fitted.trained), [Fitted("dlp_lora", name, True)]

    assert still_belong(ours, published, states) == ours and still_belong(ours, changed, states) == []
    assert belonging(changed, states, (), 0, fitted) == {} and before == 2

    told = " ".join(capsys.readouterr().err.split())
    assert "another catalog came meanwhile; the state belongs to other tasks, or tasks that have changed, and" in told
    assert "two_stage: its trained state belongs to other tasks" in told and "lorauter fit two_stage." in told


def test_of_two_states_that_belong_the_published_one_stays_and_a_damaged_one_is_never_taken(
    home: Home, fitted: Snapshot, tmp_path: Path
) -> None:
    state = states_of(home).read(states_in(fitted)["dlp_lora"])
    states = States(FolderStorage(tmp_path), tmp_path / "none")
    names = sorted(states.keep(TrainedState(state.tensors, {**state.facts, "steps": n})) for n in (1, 2, 3))
    index = open_router(home, fitted, "lorauter").index  # type: ignore[attr-defined]
    grounds = grounds_of(FITS["dlp_lora"], catalog_of(fitted, index))

    assert states.known(grounds, 0) == names[0] and states.known(grounds, 0, {names[1]}) == names[1]

    (tmp_path / f"{names[0]}.safetensors").unlink()
    (tmp_path / f"{names[1]}.safetensors").write_bytes(state.bytes[:-4])
    shutil.copy(tmp_path / f"{names[2]}.json", tmp_path / f"{names[1]}.json")
    assert states.known(grounds, 0, {names[1]}) == names[2]


def test_a_machine_finds_a_state_in_the_shared_storage_or_in_a_snapshot(
    home: Home, fitted: Snapshot, tmp_path: Path
) -> None:
    sha = states_in(fitted)["dlp_lora"]
    shared = States(FolderStorage(home.root / "trained"), tmp_path)
    copied = States(FolderStorage(tmp_path / "nothing"), home.snapshots)

    assert shared.read(sha).sha == copied.read(sha).sha == sha
    with pytest.raises(SettingError, match=r"The trained state 0000000000000000 is neither in"):
        shared.read("0" * 64)


def test_they_answer_and_are_evaluated_in_every_setting(home: Home, fitted: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text('{"input": "' + QUERIES[0] + '"}\n')

    done = answer(home, tmp_path / "q.jsonl", tmp_path / "a.parquet", AnswerOptions(NAMES))
    found = evaluate(home, EvaluateOptions(NAMES, ("mixture",), items=1))

    assert (done.answers, done.failed) == (2, 0)
    masked = [item for system, items in found.items.items() if system.setting == "ood" for item in items]
    assert len(masked) == 6 and all(item.task not in item.tasks for item in masked)
