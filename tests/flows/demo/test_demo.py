"""The demo as a person runs it, small, on the real weights; then once more."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pytest

from flows.demo.base import BASE_ID
from flows.demo.run import QUALITY_SQL
from flows.demo.world import demo_tasks


def _demo(home: Path) -> tuple[dict[str, Any], str]:
    command = [sys.executable, "-m", "flows.cli", "--home", str(home), "demo", "--small"]
    environment = {
        **os.environ,
        "LORAUTER_DTYPE": "auto",
        "HF_TOKEN": "hf_of_somebody",
        "LORAUTER_ENDPOINT": "http://127.0.0.1:9",
    }
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-3000:]
    return json.loads((home / "small" / "demo.json").read_text()), run.stdout


def _check_the_token_budget(base: Path) -> None:
    """Prompts of at most 48 tokens, answers of at most 8, but for the one long task."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    for task in demo_tasks(small=False):
        longest = 24 if task.metric == "rouge_l" else 8
        assert task.max_new_tokens <= longest
        for example in (*task.validation, *task.test):
            assert len(tokenizer(task.prompt(example.input)).input_ids) <= 48
            assert len(tokenizer(" " + example.target).input_ids) < longest


def test_the_demo_leaves_a_catalog_alone(tmp_path: Path) -> None:
    settings = tmp_path / "lorauter.toml"
    settings.write_text('base = "my/base"\n')

    run = subprocess.run(
        [sys.executable, "-m", "flows.cli", "--home", str(tmp_path), "demo"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert run.returncode == 1
    assert f"Error: {tmp_path} holds a catalog of yours. Run the demo elsewhere" in run.stderr
    assert settings.read_text() == 'base = "my/base"\n'


@pytest.mark.timeout(600)
def test_the_demo_twice(tmp_path: Path) -> None:
    first, screen = _demo(tmp_path)

    second, _ = _demo(tmp_path)

    assert (second["file_requests"], second["evaluations"]["new"], second["evaluations"]["answers"]) == (0, 0, 0)
    kept = ("funnel", "quality", "snapshot")
    assert {name: first[name] for name in kept} == {name: second[name] for name in kept}
    funnel = first["funnel"]
    assert funnel["seen"] == funnel["rejected"] + funnel["admitted"] == 27
    assert sum(funnel["reasons"].values()) == funnel["rejected"]
    assert funnel["scored"] == funnel["admitted"] == 5
    assert first["quality"]["routed"] >= 0.95 * first["quality"]["oracle"]
    assert first["quality"]["base"] <= 0.6 * first["quality"]["oracle"]
    assert first["peak_rss_mib"] < 4096
    recomputed = dict(
        duckdb.sql(QUALITY_SQL.format(answers=tmp_path / "small" / "demo" / "answers.parquet")).fetchall()
    )
    assert recomputed == first["quality"]
    _check_the_token_budget(tmp_path / "small" / "demo" / "hub" / BASE_ID)
    assert "Best adapter of each task" in screen
    assert first["snapshot"] in screen
