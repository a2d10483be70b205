"""An adapter races in the format that its own repo's chat template says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.answer_batch import answer_batch
from flows.home.home import open_home
from flows.mirror.server import serve_in_thread
from flows.refresh import refresh
from lorauter.engine.engine import Engine
from warehouse.snapshots.snapshot import current_snapshot

BASE, OWN = "tiny/llama", "bob/animals"
TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{{ '<me>' if add_generation_prompt }}"
OF_THE_BASE = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
PROMPT = "<user>{input}<me>"


@pytest.fixture
def hub_folder(tmp_path: Path, tiny_hub_folder: Path) -> Path:
    """The small hub, in which bob's repo has a chat template beside its weights, and the base has another one."""
    folder = shutil.copytree(tiny_hub_folder, tmp_path / "hub")
    (folder / OWN / "chat_template.jinja").write_text(TEMPLATE)
    config = folder / BASE / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), "chat_template": OF_THE_BASE}))
    return folder


@pytest.fixture
def task(tmp_path: Path, hub_folder: Path) -> Path:
    """A task whose targets are what bob's adapter says where it is asked as its template has it."""
    engine = Engine(hub_folder / BASE, dtype="float32", find_adapter=lambda name: hub_folder / name)
    inputs = [f"Which pet barks or purrs, number {number}?" for number in range(30)]
    prompts = [PROMPT.replace("{input}", text) for text in inputs]
    texts = engine.generate(prompts, [((OWN, 1.0),)] * len(prompts), 3)
    folder = tmp_path / "tasks" / "pets"
    folder.mkdir(parents=True)
    (folder / "task.json").write_text('{"name": "pets", "metric": "exact_match", "max_new_tokens": 3}')
    rows = [
        {"input": text, "target": str(target)} for text, target in zip(inputs, texts, strict=True) if target.strip()
    ]
    (folder / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_what_a_repo_says_wins_a_task_and_answers_are_asked_alike(
    tmp_path: Path, hub_folder: Path, task: Path, prefect_url: str
) -> None:
    queries, out = tmp_path / "queries.jsonl", tmp_path / "answers.parquet"
    example = json.loads((task / "validation.jsonl").read_text().splitlines()[0])
    queries.write_text(json.dumps({**example, "task": "pets", "metric": "exact_match"}) + "\n")
    with serve_in_thread(hub_folder) as hub:
        settings = {"home": str(tmp_path / "home"), "endpoint": hub.endpoint, "base": BASE}
        home = open_home(**settings)
        shutil.copytree(task, home.task_folder / "pets")
        plain = refresh({**settings, "formats": "task"})["snapshot"]
        refresh(settings)
        answer_batch(str(queries), str(out), ("oracle",), settings=settings, max_new_tokens=3)

    best = current_snapshot(home.snapshots).read("best")[0]
    assert pq.read_table(home.snapshots / plain / "best.parquet")["format"].to_pylist() == [None]
    assert (best["repo"], best["template"], best["score"]) == (OWN, PROMPT, 1.0)
    assert pq.read_table(out)["score"].to_pylist() == [1.0]
