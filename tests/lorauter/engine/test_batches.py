"""How rows become batches, what memory says about their size, and what happens when it was wrong."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from catalog.errors import SettingError
from lorauter.device import device_memory
from lorauter.engine.batches import RowSize, halving_out_of_memory, plan_batches
from lorauter.engine.engine import Engine
from lorauter.engine.memory_budget import Budget, budget_for, logits_bytes, token_bytes
from lorauter.routing.routes import Mixture, Route

GIB = 2**30


def loads(batches: Sequence[Sequence[int]], rows: Sequence[RowSize], capacity: int) -> int:
    """How often an adapter is read, with the least recently used one dropped first."""
    held: OrderedDict[str, None] = OrderedDict()
    count = 0
    for batch in batches:
        wanted = dict.fromkeys(key for i in batch for key in rows[i].adapters)
        for key in wanted:
            if key in held:
                held.move_to_end(key)
        for key in wanted:
            if key not in held:
                count += 1
                held[key] = None
                while len(held) > capacity:
                    held.popitem(last=False)
    return count


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(1, 40)), max_size=120),
    st.integers(2, 6),
    st.integers(1, 40),
)
def test_an_adapter_is_read_once_however_its_rows_are_spread(
    asked: list[tuple[int, int]], capacity: int, tile_rows: int
) -> None:
    rows = [RowSize(length, 4, (f"{adapter:02}",)) for adapter, length in asked]

    batches = plan_batches(rows, 200, 8, capacity, tile_rows)

    assert loads(batches, rows, capacity) == len({row.adapters for row in rows})


def test_a_tile_goes_by_length_not_by_adapter() -> None:
    rows = [RowSize(length, 4, (key,)) for key in "ab" for length in (30, 10)]

    assert plan_batches(rows, 100, 2, 64) == [[1, 3], [0, 2]]


def test_one_row_over_the_budget_goes_alone() -> None:
    assert plan_batches([RowSize(10, 4), RowSize(900, 4), RowSize(11, 4)], 100, 64, 64) == [[0, 2], [1]]


def test_a_long_prompt_over_the_budget_is_answered(tiny_hub_folder: Path) -> None:
    engine = Engine(tiny_hub_folder / "tiny/llama", dtype="float32")
    prompts = ["red", "north " * 30, "blue"]

    texts = engine.answer(prompts, [Route(())] * 3, 3, budget=Budget(20, 2))

    assert texts == [engine.generate([prompt], [()], 3)[0] for prompt in prompts]


# -- memory ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def large() -> Any:
    """A Llama of 7B's shape, of which no weight exists."""
    config = LlamaConfig(max_position_embeddings=4096, dtype="bfloat16")
    with torch.device("meta"):
        return LlamaForCausalLM(config).to(torch.bfloat16)


def test_the_bytes_of_a_token_and_of_logits(large: Any) -> None:
    keys_and_values, layer = 2 * 32 * 4096, 9 * 4096 + 3 * 11008

    assert (token_bytes(large), logits_bytes(large)) == (2 * (keys_and_values + layer), 6 * 32000)


@pytest.mark.parametrize(
    ("device", "gib", "expected"),
    [
        ("cuda", 80, Budget(32768, 256)),
        ("cuda:1", 40, Budget(16384, 256)),
        ("cuda", 24, Budget(8192, 256)),
        ("cuda", 16, Budget(2048, 256)),
        ("cuda", 8, Budget(256, 1)),
        ("cpu", 80, Budget(8192, 128)),
        ("cpu", 15, Budget(1024, 128)),
    ],
)
def test_the_budget_follows_memory_in_powers_of_two(large: Any, device: str, gib: int, expected: Budget) -> None:
    assert budget_for(large, device, gib * GIB) == expected


def test_a_little_memory_more_or_less_changes_no_batch(large: Any) -> None:
    assert {budget_for(large, "cuda", 40 * GIB + more) for more in range(-GIB, GIB, GIB // 8)} == {Budget(16384, 256)}


def test_the_cpu_has_memory() -> None:
    assert device_memory("cpu") > 2**28


@pytest.mark.parametrize(("tokens", "rows"), [(0, 1), (1, 0)])
def test_an_empty_budget_is_refused(tokens: int, rows: int) -> None:
    with pytest.raises(SettingError, match="budget"):
        Budget(tokens, rows)


# -- when it runs out -----------------------------------------------------------------------------


def test_a_batch_is_halved_until_it_fits() -> None:
    done: list[list[int]] = []
    halved: list[int] = []

    def run(part: Sequence[int]) -> None:
        if len(part) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        done.append(list(part))

    halving_out_of_memory([5, 1, 4, 2, 3], run, halved.append)

    assert (done, halved) == ([[5, 1], [4], [2, 3]], [5, 3])


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        MemoryError(),
    ],
)
def test_a_single_row_that_finds_no_room_is_told(error: Exception) -> None:
    def run(part: Sequence[int]) -> None:
        raise error

    with pytest.raises(type(error)):
        halving_out_of_memory([1], run, print)


def test_other_errors_are_not_retried() -> None:
    tries: list[int] = []

    def run(part: Sequence[int]) -> None:
        tries.append(len(part))
        raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes"):
        halving_out_of_memory([1, 2], run, print)
    assert tries == [2]


class Tight(Engine):
    """An engine on a device with room for two rows."""

    def generate(self, prompts: Sequence[str], mixtures: Sequence[Mixture], *rest: Any) -> list[str]:
        if len(prompts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().generate(prompts, mixtures, *rest)


def test_the_engine_goes_on_with_halves_and_keeps_count(tiny_hub_folder: Path) -> None:
    prompts = ["red", "blue cat", "north", "dog", "south"]
    tight, roomy = (kind(tiny_hub_folder / "tiny/llama", device="cpu", dtype="float32") for kind in (Tight, Engine))

    texts = tight.answer(prompts, [Route(())] * 5, 3)

    assert (texts, tight.halved) == (roomy.answer(prompts, [Route(())] * 5, 3), [5, 3])
