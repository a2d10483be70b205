"""`refresh --plan`: counted where the home knows, assumed where it does not; nothing starts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.errors import SettingError
from catalog.tasks.task import Task
from flows.cli.main import cli
from flows.home.home import Home
from flows.home.parts import ledger_of
from flows.home.presets import config_file
from flows.home.settings import load_settings
from flows.plan.counts import tokens_of
from flows.plan.forecast import Figure
from flows.stages import forecast
from warehouse.tasks.folder import read_tasks, store_task, stored_tasks

BASE = "tiny/llama"
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LORAUTER_CONFIG", "")  # --config sets it for the process
    monkeypatch.delenv("LORAUTER_CONFIG")


def _home(root: Path, **settings: str) -> Home:
    return Home(load_settings(home=root, endpoint=NOWHERE, base=BASE, **settings))


def _values(figures: list[Figure]) -> dict[str, float]:
    return {figure.name: figure.value for figure in figures}


def test_an_empty_home_is_all_assumption_and_stays_empty(tmp_path: Path) -> None:
    home = tmp_path / "none"
    asked = ["--home", str(home), "refresh", "--endpoint", NOWHERE, "--plan", "--format", "json"]

    told = CliRunner().invoke(cli, [*asked, "--config", "llama-2-7b-flan48"], catch_exceptions=False)

    found = json.loads(told.stdout)
    figures = {figure["name"]: figure for figure in found["figures"]}
    exhaustive, prefill, decode = 48 * 200 * 1568, 2 * 6.74e9 * 200 / 1e14, 50 * 6.74e9 * 2 / 1.3e12 / 64
    raced = -(-exhaustive // 10)
    assert found["base"] == "meta-llama/Llama-2-7b-hf"
    assert {name: figure["value"] for name, figure in figures.items()} == {
        "listing requests": 4,
        "file requests": 2 * 1567 + 3 * 1567 + 20,
        "waiting for the hub": 10,  # 7,855 requests of 3,000 a window: the third window opens after ten minutes
        "configs and headers": 1567 * 35 * 1024,
        "adapter weights": 1567 * 2**25,
        "base and encoder": 2 * 6.74e9 + 90 * 2**20,
        "evaluations": pytest.approx(raced, abs=1),
        "exhaustive, for comparison": exhaustive,
        "tokens": pytest.approx(raced * 250, abs=250),
        "GPU hours": pytest.approx(raced * (prefill + decode) / 3600, rel=1e-5),
        "disk": pytest.approx(1567 * (2**25 + 2**14) + 2 * 6.74e9 + 90 * 2**20 + raced * 200, rel=1e-6),
    }
    assert not any(figure["counted"] for figure in figures.values())
    assert not home.exists()


def test_after_a_refresh_all_is_counted_and_nothing_is_left_to_do(refreshed: Path) -> None:
    home = _home(refreshed)
    before = sorted(refreshed.rglob("*"))

    figures = forecast(home)

    values = _values(figures)
    admitted = sum(row["admitted"] for row in ledger_of(home).current("verdicts"))
    assert values["exhaustive, for comparison"] == (admitted + 1) * sum(
        len(t.validation) for t in stored_tasks(home.task_folder)
    )
    left = ("file requests", "configs and headers", "adapter weights", "base and encoder", "evaluations", "GPU hours")
    assert [values[name] for name in left] == [0] * 6
    assert all(figure.counted for figure in figures)
    assert sorted(refreshed.rglob("*")) == before


def test_a_further_task_is_new_for_every_adapter(refreshed: Path, tmp_path: Path, tiny_tasks: Path) -> None:
    shutil.copytree(refreshed, tmp_path / "home")
    home = _home(tmp_path / "home", strategy="exhaustive")
    examples = read_tasks(tiny_tasks)[0].validation[:5]
    store_task(home.task_folder, Task("other", "exact_match", examples))

    evaluations = _values(forecast(home))["evaluations"]

    admitted = sum(row["admitted"] for row in ledger_of(home).current("verdicts"))
    every = (admitted + 1) * sum(len(task.validation) for task in stored_tasks(home.task_folder))
    assert evaluations == pytest.approx(every / 4, abs=1)  # one of four tasks


def test_lengths_are_those_of_the_tasks(tiny_tasks: Path) -> None:
    task = next(task for task in read_tasks(tiny_tasks) if task.name == "colours")

    prompt, new = tokens_of(task)

    letters = [len(f"{example.input}\nAnswer:") for example in task.validation]
    assert (prompt, new) == (-(-sum(letters) // (4 * len(letters))), 3)


def test_a_settings_file_may_be_named_by_its_path(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('base = "org/mine"\n[plan]\nadapters = 5\n')
    asked = ["--home", str(tmp_path / "none"), "refresh", "--config", str(mine), "--plan", "--format", "json"]

    found = json.loads(CliRunner().invoke(cli, asked, catch_exceptions=False).stdout)

    headers = next(figure for figure in found["figures"] if figure["name"] == "configs and headers")
    assert (found["base"], headers["value"]) == ("org/mine", 5 * 35 * 1024)


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(SettingError, match="no settings file 'llama'") as caught:
        config_file("llama")

    assert caught.value.next_step == "Name a toml file, or a preset: llama-2-7b-flan48."


def test_assumptions_that_make_no_sense_are_told() -> None:
    with pytest.raises(SettingError, match="plan adapters is 0"):
        load_settings(plan={"adapters": 0})
