"""A pool far larger than the bank: every row is answered, and what is held does not grow."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

from lorauter.engine.bank.batch_plan import Place
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Route

POOL, CAPACITY, DISTINCT = 400, 16, 5
MODULES = 4  # q and v in two layers


def held_pairs() -> int:
    """Pairs alive anywhere in the process: other tests' engines may hold some too."""
    gc.collect()
    return sum(isinstance(found, Place) for found in gc.get_objects())


def test_a_pool_of_400_streams_through_room_for_16(
    tiny_hub_folder: Path, tmp_path: Path, write_adapter: Callable[..., None]
) -> None:
    base = tiny_hub_folder / "tiny/llama"
    folders = [tmp_path / str(seed) for seed in range(DISTINCT)]
    for seed, folder in enumerate(folders):
        write_adapter(base, folder, seed=seed, rank=64)  # 128 KiB: 400 of them would be seen
    before = held_pairs()
    loaded: list[str] = []
    alive: list[int] = []
    resident: list[int] = []

    def find(key: str) -> Path:
        loaded.append(key)
        if len(loaded) % 100 == 0:
            alive.append(held_pairs())
            resident.append(psutil.Process().memory_info().rss)
        return folders[int(key) % DISTINCT]

    engine = Engine(base, device="cpu", dtype="float32", capacity=CAPACITY, find_adapter=find)
    keys = [f"{number:04}" for number in range(POOL)] * 2
    prompts = ["red cat" if row < POOL else "Which way is north?" for row in range(2 * POOL)]

    texts = engine.answer(prompts, [Route(((key, 1.0),)) for key in keys], 2, stop="")

    one_by_one = {
        (prompt, seed): engine.generate([prompt], [((f"{seed:04}", 1.0),)], 2, stop="")[0]
        for prompt in set(prompts)
        for seed in range(DISTINCT)
    }
    assert texts == [one_by_one[prompt, int(key) % DISTINCT] for prompt, key in zip(prompts, keys, strict=True)]
    assert loaded[: 2 * POOL] == sorted(set(keys)) * 2  # each checked, then read once for rows of two lengths
    assert len(engine.bank.keys) == CAPACITY
    assert max(alive) - before <= (CAPACITY + 1) * MODULES  # one more while it takes the place of another
    assert resident[-1] - resident[2] < 40 * 2**20


def test_a_dropped_adapter_leaves_nothing(tiny_hub_folder: Path) -> None:
    engine = Engine(
        tiny_hub_folder / "tiny/llama", dtype="float32", capacity=1, find_adapter=lambda key: tiny_hub_folder / key
    )
    before = held_pairs()
    for key in ("ann/colours", "bob/animals", "cleo/compass"):
        engine.generate(["red"], [((key, 1.0),)], 1)

    assert held_pairs() - before == MODULES
    assert isinstance(engine.model.get_output_embeddings(), torch.nn.Linear)
