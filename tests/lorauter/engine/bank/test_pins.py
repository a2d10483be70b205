"""Pinned adapters stay in the bank, whatever else passes through."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.errors import SettingError
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Route

CAPACITY = 3
POOL = 8


@pytest.fixture
def folders(tiny_hub_folder: Path, tmp_path: Path, write_adapter: Callable[..., None]) -> dict[str, Path]:
    found = {f"a{number}": tmp_path / str(number) for number in range(POOL)}
    for seed, folder in enumerate(found.values()):
        write_adapter(tiny_hub_folder / "tiny/llama", folder, seed=seed, rank=4)
    return found


def engine_over(tiny_hub_folder: Path, folders: dict[str, Path], loaded: list[str], capacity: int = CAPACITY) -> Engine:
    def find(key: str) -> Path:
        loaded.append(key)
        return folders[key]

    base = tiny_hub_folder / "tiny/llama"
    return Engine(base, device="cpu", dtype="float32", capacity=capacity, find_adapter=find)


def test_two_pinned_adapters_are_loaded_once_while_the_others_share_one_place(
    tiny_hub_folder: Path, folders: dict[str, Path]
) -> None:
    loaded: list[str] = []
    engine = engine_over(tiny_hub_folder, folders, loaded)
    engine.bank.pin(["a0", "a1"])
    keys = [key for other in range(2, POOL) for key in ("a0", f"a{other}", "a1")]

    for key in keys:
        engine.bank.ensure([key], engine.find_adapter)

    assert [loaded.count(key) for key in ("a0", "a1")] == [1, 1]
    assert engine.bank.keys == ("a0", "a7", "a1")
    engine.bank.pin([])
    engine.bank.ensure(["a2", "a3"], engine.find_adapter)
    assert set(engine.bank.keys) == {"a1", "a2", "a3"}  # what is pinned no longer goes like any other


def test_a_batch_over_pinned_and_other_adapters_answers_as_a_bank_with_room_for_all(
    tiny_hub_folder: Path, folders: dict[str, Path]
) -> None:
    routes = [Route(((key, 1.0),)) for key in [*folders, "a0", "a1", "a5"]]
    prompts = ["red cat"] * len(routes)
    loaded: list[str] = []
    small, large = engine_over(tiny_hub_folder, folders, loaded), engine_over(tiny_hub_folder, folders, [], POOL)
    small.bank.pin(["a0", "a1"])

    texts = small.answer(prompts, routes, 2, stop="")

    assert texts == large.answer(prompts, routes, 2, stop="")
    assert {"a0", "a1"} <= set(small.bank.keys)


def test_pins_leave_a_place_free_and_a_mixture_that_needs_more_is_refused(
    tiny_hub_folder: Path, folders: dict[str, Path]
) -> None:
    engine = engine_over(tiny_hub_folder, folders, [])
    with pytest.raises(SettingError, match="3 adapters are to stay in a bank of 3"):
        engine.bank.pin(["a0", "a1", "a2"])
    engine.bank.pin(["a0", "a1"])

    with pytest.raises(SettingError, match="A batch needs 2 adapters and the bank holds 1 beside 2 that stay"):
        engine.answer(["red"], [Route((("a0", 0.2), ("a2", 0.4), ("a3", 0.4)))], 2)
