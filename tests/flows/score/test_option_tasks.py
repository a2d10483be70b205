"""A task whose options are weighed: from its file through scoring to the published best."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.adapters.adapter import AdapterId
from flows.cli.main import cli
from flows.home.home import open_home
from flows.home.parts import ledger_of
from flows.stages import crawl, score, validate
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Route

BASE, OWN = "tiny/llama", "ann/colours"
WORDS = ["red", "blue", "cat", "dog", "north", "south", "east", "moon", "tree", "stone", "river", "glass"]


@pytest.fixture
def task_file(tmp_path: Path, tiny_hub_folder: Path) -> Path:
    """Questions whose right option is what one adapter finds likeliest, and the base does not."""
    engine = Engine(tiny_hub_folder / BASE, dtype="float32", find_adapter=lambda name: tiny_hub_folder / name)
    inputs = [f"Question {number}: which of these?" for number in range(200)]
    prompts = [f"{text}\nAnswer:" for text in inputs]
    options = [tuple(WORDS[(number + step) % 12] for step in (0, 1, 3, 7)) for number in range(200)]
    choices = []
    for mixture in (((OWN, 1.0),), ()):
        found = engine.score_options(prompts, options, [Route(mixture)] * 200)
        choices.append(
            [given[max(range(4), key=row.totals.__getitem__)] for given, row in zip(options, found, strict=True)]
        )
    rows = [
        {"input": text, "target": ours, "options": given}
        for text, given, ours, base in zip(inputs, options, *choices, strict=True)
        if ours != base
    ]
    path = tmp_path / "choice.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:20]))
    return path


def test_the_adapter_that_finds_the_right_options_likeliest_is_chosen(
    tmp_path: Path, tiny_hub: str, task_file: Path
) -> None:
    home = open_home(home=tmp_path / "home", endpoint=tiny_hub, base=BASE)
    command = ["--home", str(home.root), "tasks", "add", str(task_file), "--metric", "option_loglikelihood"]
    added = CliRunner().invoke(cli, command)
    crawl(home)
    scores = score(home, validate(home).bases[0])
    again = score(home, validate(home).bases[0])
    outputs = ledger_of(home).read("outputs").to_pylist()
    assert (added.exit_code, added.output) == (0, "choice: 20 validation, 0 test examples\n")
    assert [(AdapterId.parse(s.best).name, set(s.report.own)) for s in scores.tasks] == [(OWN, {1.0})]
    assert again.new == 0
    kept = {(row["text"], len(row["options"]), len(row["option_logprobs"])) for row in outputs}
    assert kept == {(None, 4, 4)}
