"""Exports: a file of queries as requests to vLLM and LoRAX, through the command line, on a published snapshot."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from catalog.errors import SettingError
from flows.answer.export import ExportOptions
from flows.answer_batch import answer_batch
from flows.cli.main import cli
from flows.home.home import Home, open_home
from flows.home.parts import adapter_folder, model_folder
from flows.mirror.server import serve_in_thread
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Route
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.storage.files import read_table

BASE = "tiny/llama"
QUERIES: list[dict[str, Any]] = [
    {"id": "colour", "input": "What colour is the boat in the painting?", "max_new_tokens": 3},
    {"id": "[/b]lank", "input": " "},
    {"id": "way", "input": "Which way does the compass needle point?", "task": "compass"},
    {"id": "pet", "input": "Which pet barks?"},
]
Export = Callable[..., Result]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, tiny_hub_folder: Path, refreshed: Path) -> Iterator[Home]:
    """A home with a published snapshot of three tasks, each with its own adapter."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("published") / "home", symlinks=True)
    with serve_in_thread(tiny_hub_folder) as hub:
        (root / "lorauter.toml").write_text(f'base = "{BASE}"\nendpoint = "{hub.endpoint}"\n')
        yield open_home(home=root)


@pytest.fixture
def export(published: Home, tmp_path: Path) -> Export:
    """Runs the command on QUERIES; requests go to requests.jsonl."""
    queries = tmp_path / "queries.jsonl"
    queries.write_text("".join(json.dumps(row) + "\n" for row in QUERIES))

    def run(*flags: str) -> Result:
        where = ["--in", str(queries), "--out", str(tmp_path / "requests.jsonl")]
        return CliRunner().invoke(cli, ["--home", str(published.root), "export", *where, *flags])

    return run


def lines_of(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]


def best_of(home: Home) -> dict[str, str]:
    return {row["task"]: row["adapter"] for row in current_snapshot(home.snapshots).read("best")}


def test_vllm_gets_a_line_a_query_and_the_command_that_serves_its_adapters(
    published: Home, export: Export, tmp_path: Path
) -> None:
    best = best_of(published)
    chosen = [("colour", best["colours"]), ("way", best["compass"]), ("pet", best["animals"])]

    run = export("--for", "vllm", "--top-k", "1")

    assert run.exit_code == 0, run.output
    inputs = {row["id"]: row for row in QUERIES}
    assert lines_of(tmp_path) == [
        {
            "custom_id": name,
            "method": "POST",
            "url": "/v1/completions",
            "body": {
                "model": adapter or BASE,
                "prompt": f"{inputs[name]['input']}\nAnswer:",
                "max_tokens": inputs[name].get("max_new_tokens", 32),
                "temperature": 0,
            },
        }
        for name, adapter in chosen
    ]
    served = list(dict.fromkeys(adapter for _, adapter in chosen if adapter))
    assert served
    modules = [f"{adapter}={adapter_folder(published, adapter).resolve()}" for adapter in served]
    start = ["vllm", "serve", BASE, "--enable-lora", "--max-lora-rank", "16", "--lora-modules"]
    assert shlex.split(run.stdout) == start + modules
    assert run.stderr.splitlines()[-1] == (
        f"3 requests in {tmp_path / 'requests.jsonl'}, {len(served)} adapters, 1 queries left out."
    )
    assert "[/b]lank is left out: row 2: field input must be text that is not empty." in run.stderr


def test_a_mixture_becomes_a_cat_folder_that_answers_as_the_mixture_does(
    published: Home, export: Export, tmp_path: Path
) -> None:
    run = export("--for", "lorax", "--compose", "cat", "--adapters", str(tmp_path / "out"), "--max-new-tokens", "5")

    assert run.exit_code == 0, run.output
    lines = lines_of(tmp_path)
    folders = [Path(line["body"]["parameters"].pop("adapter_id")) for line in lines]
    assert {(line["url"], json.dumps(line["body"]["parameters"])) for line in lines[1:]} == {
        (
            "/generate",
            '{"adapter_source": "local", "do_sample": false, "max_new_tokens": 5, "return_full_text": false}',
        )
    }
    told = [line.split("\t") for line in run.stdout.splitlines()]
    assert [(Path(folder), name[:4]) for name, folder, _ in told] == [(folder, "cat:") for folder in folders]
    assert {folder.parent for folder in folders} == {tmp_path / "out"}
    engine = Engine(model_folder(published, BASE, base_sha(published)), dtype="float32", find_adapter=Path)
    prompts, limits = [line["body"]["inputs"] for line in lines], [3, 5, 5]
    merged = engine.answer(prompts, [Route(((str(folder), 1.0),)) for folder in folders], limits)
    queries, out = tmp_path / "queries.jsonl", tmp_path / "a.parquet"
    answer_batch(str(queries), str(out), settings=published.reference, max_new_tokens=5)
    texts = {row["id"]: row["text"] for row in read_table(out).to_pylist()}
    assert merged == [texts[line["custom_id"]] for line in lines]


def base_sha(home: Home) -> str:
    return str(current_snapshot(home.snapshots).read("best")[0]["base_sha"])


def test_decoding_is_told_in_each_engines_words(export: Export, tmp_path: Path) -> None:
    flags = ["--sample-temperature", "0.7", "--top-p", "0.9", "--sample-top-k", "40", "--seed", "3", "--stop", "###"]

    assert export("--for", "vllm", *flags).exit_code == 0
    vllm = [line["body"] for line in lines_of(tmp_path)]
    assert export("--for", "lorax", *flags).exit_code == 0
    lorax = [line["body"]["parameters"] for line in lines_of(tmp_path)]

    drawn = {"temperature": 0.7, "top_p": 0.9, "top_k": 40}
    assert all(body.items() >= {**drawn, "seed": body["seed"]}.items() and body["stop"] == ["###"] for body in vllm)
    assert all(body.items() >= {**drawn, "do_sample": True}.items() and body["stop"] == ["###"] for body in lorax)
    assert [body["seed"] for body in vllm] == [body["seed"] for body in lorax]
    assert len({body["seed"] for body in vllm}) == 3
    assert all(1 <= body["seed"] <= 2**31 for body in vllm)


def test_an_export_that_fails_leaves_the_old_file(export: Export, tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text("old\n")

    run = export("--for", "lorax", *(part for stop in "abcde" for part in ("--stop", stop)))

    assert "5 stops are given; LoRAX takes 4." in str(run.exception)
    assert (tmp_path / "requests.jsonl").read_text() == "old\n"
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--router", "nearest"], "There is no router 'nearest'."),
        (["--compose", "blend"], "There is no composition 'blend'."),
        (["--template", "chat"], "no chat template"),
    ],
)
def test_wrong_names_are_told_before_anything_is_written(
    flags: list[str], said: str, export: Export, tmp_path: Path
) -> None:
    run = export("--for", "vllm", *flags)

    assert said in str(run.exception)
    assert not (tmp_path / "requests.jsonl").exists()


def test_a_second_export_finds_the_folders_of_the_first(export: Export, tmp_path: Path) -> None:
    flags = ("--for", "lorax", "--compose", "cat", "--adapters", str(tmp_path / "out"))
    first = export(*flags).stdout
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}

    again = export(*flags).stdout

    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == written


def test_a_gate_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="'arrow' weighs adapters token by token and cannot be exported"):
        ExportOptions("vllm", tmp_path / "adapters", router="arrow")
