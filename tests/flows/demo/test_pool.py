"""The committed pool is what the demo promises: kinds, controls, sizes, recipes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flows.demo.build_pool import CONTROLS, POOL_RECIPES
from flows.demo.world import POOL, demo_tasks
from warehouse.tasks.folder import read_tasks


def _configs() -> dict[str, dict[str, Any]]:
    """adapter_config.json by repo id."""
    found = sorted((POOL / "hub").glob("*/*/**/adapter_config.json"))
    return {"/".join(path.relative_to(POOL / "hub").parts[:2]): json.loads(path.read_text()) for path in found}


def _weights() -> list[Path]:
    return sorted((POOL / "hub").rglob("*.safetensors"))


def test_the_pool_is_what_the_recipes_make() -> None:
    assert sorted(_configs()) == sorted(recipe.name for recipe in POOL_RECIPES)


def test_at_least_18_honest_adapters_and_a_control_for_three_tasks() -> None:
    honest = [recipe for recipe in POOL_RECIPES if not recipe.shuffled_labels]

    assert len(honest) >= 18
    assert len(CONTROLS) * 3 >= len(demo_tasks(small=False))


def test_every_promised_kind_is_there() -> None:
    configs = _configs().values()

    assert {config["r"] for config in configs} == {4, 8, 16}
    assert {len(config["target_modules"]) for config in configs} == {2, 4, 7}
    assert any(config["use_dora"] for config in configs)
    assert any(config["use_rslora"] for config in configs)
    assert any(config["rank_pattern"] for config in configs)
    assert any(len(recipe.tasks) == 2 for recipe in POOL_RECIPES)


def test_the_pool_weighs_less_than_25_mb_and_holds_no_pickle() -> None:
    files = [path for path in (POOL / "hub").rglob("*") if path.is_file()]

    assert sum(path.stat().st_size for path in files) < 25_000_000
    assert {path.suffix for path in files} == {".safetensors", ".json", ".md"}


def test_every_task_declares_an_adapter_of_the_pool() -> None:
    assert {task.adapter for task in demo_tasks(small=False)} <= set(_configs())


def test_the_splits_are_as_large_as_promised() -> None:
    tasks = read_tasks(POOL / "tasks")

    assert len(tasks) >= 12
    assert {(len(task.validation), len(task.test)) for task in tasks} == {(64, 50)}
    assert len((POOL / "tasks" / "no_task.jsonl").read_text().splitlines()) == 30
