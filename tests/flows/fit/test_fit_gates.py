"""Gates are trained on a published catalog, answer by its state, and are evaluated where their adapters are gone."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.answer.options import AnswerOptions
from flows.evaluate.evaluate import EvaluateOptions
from flows.home.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.stages import answer, evaluate, fit
from lorauter.train import fits
from lorauter.train.lora_flow import LoraFlowFit
from lorauter.train.meteora import MeteoraFit
from lorauter.train.ramole import RamoleFit

BASE = "tiny/llama"
NAMES = ("lora_flow", "meteora", "ramole")
QUERY = "What colour is the 3 in the painting?"
SMALL = {"half": False, "steps": 3, "most_held": 2}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path, refreshed: Path) -> Iterator[Home]:
    """A home whose current snapshot holds the states of all three, trained for three steps."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("gates") / "home", symlinks=True)
    small = {one.name: one for one in (LoraFlowFit(**SMALL), MeteoraFit(**SMALL), RamoleFit(**SMALL))}
    with serve_in_thread(tiny_hub_folder) as hub, pytest.MonkeyPatch.context() as patch:
        for name, one in small.items():
            patch.setitem(fits.FITS, name, one)  # type: ignore[arg-type]
        home = open_home(home=root, endpoint=hub.endpoint, base=BASE, fit=NAMES)
        fit(home)
        yield home


def test_trained_gates_answer_from_the_snapshot_and_their_states_are_in_the_answers(home: Home, tmp_path: Path) -> None:
    (tmp_path / "q.jsonl").write_text(f'{{"input": "{QUERY}"}}\n')

    done = answer(home, tmp_path / "q.jsonl", tmp_path / "a.parquet", AnswerOptions(NAMES))

    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert (done.answers, done.failed) == (3, 0)
    assert [row["router"] for row in rows] == list(NAMES)
    assert all(row["composition"].startswith(f'["gate:{row["router"]}", {{"state": "') for row in rows)
    assert '"part": "colours"' in rows[0]["composition"]


def test_trained_gates_are_evaluated_without_their_tasks_own_adapters(home: Home) -> None:
    evaluated = evaluate(home, EvaluateOptions(NAMES, ("mixture",), items=1))

    gated = {(s.setting, s.router): items for s, items in evaluated.items.items() if s.router in NAMES}
    assert {setting for setting, _ in gated} == {"non-ood", "semi-ood", "ood"}
    assert all(isinstance(item.answer, str) for items in gated.values() for item in items)
    own = {"colours": "ann/colours", "animals": "bob/animals", "compass": "cleo/compass"}
    for (setting, _), items in gated.items():
        for item in items if setting != "non-ood" else ():
            assert own[item.task] not in {key.partition("@")[0] for key, _ in item.mixture}
