"""What the engine is made of: batches within bounds, a bank of few places, devices and dtypes that are known."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.weights import PREFIX, read_adapter
from lorauter.device import choose_device, choose_dtype
from lorauter.engine.bank.bank import AdapterBank
from lorauter.engine.batches import RowSize, plan_batches
from lorauter.engine.engine import Engine
from lorauter.engine.memory_budget import Budget
from lorauter.routing.routes import Route
from tests.lorauter.engine.kinds import ONE_EACH, PROMPTS, load

pytestmark = pytest.mark.usefixtures("one_thread")


def test_answers_come_in_the_order_asked(base_dir: Path, find: Callable[[str], Path], engine: Engine) -> None:
    small = Engine(base_dir, device="cpu", dtype="float32", capacity=2, find_adapter=find)
    routes = [Route(mixture) for mixture in ONE_EACH]

    texts = small.answer(PROMPTS, routes, 6, budget=Budget(4096, 4))

    assert texts == engine.generate(PROMPTS, ONE_EACH, 6)


ROWS = st.lists(
    st.builds(
        RowSize,
        st.integers(1, 60),
        st.integers(1, 8),
        st.lists(st.sampled_from("abcd"), max_size=2, unique=True).map(tuple),
    ),
    max_size=40,
)


@given(ROWS, st.integers(1, 300), st.integers(1, 9), st.integers(2, 4))
def test_batches_hold_every_row_once_within_bounds(
    rows: list[RowSize], budget: int, max_rows: int, max_adapters: int
) -> None:
    batches = plan_batches(rows, budget, max_rows, max_adapters)

    assert sorted(i for batch in batches for i in batch) == list(range(len(rows)))
    for batch in batches:
        longest = max(rows[i].prompt_tokens + rows[i].max_new_tokens for i in batch)
        assert len(batch) <= max_rows
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert len({key for i in batch for key in rows[i].adapters}) <= max_adapters


def test_the_least_recently_used_adapter_goes_first(base_dir: Path, find: Callable[[str], Path]) -> None:
    bank = AdapterBank(load(base_dir), "cpu", torch.float32, capacity=2)
    bank.ensure(["qv", "alpha"], find)
    bank.ensure(["qv"], find)

    bank.ensure(["linear"], find)

    assert bank.keys == ("qv", "linear")


def test_a_batch_over_the_capacity_is_refused(base_dir: Path, find: Callable[[str], Path]) -> None:
    bank = AdapterBank(load(base_dir), "cpu", torch.float32, capacity=2)

    with pytest.raises(SettingError, match="needs 3 adapters and the bank holds 2"):
        bank.ensure(["qv", "alpha", "linear"], find)


def test_modules_that_no_adapter_touches_do_no_work(base_dir: Path, find: Callable[[str], Path]) -> None:
    bank = AdapterBank(load(base_dir), "cpu", torch.float32, capacity=2)
    bank.add("qv", read_adapter(find("qv")))

    plan = bank.plan([(("qv", 1.0),), ()])

    assert set(plan.modules) == {f"model.layers.{i}.self_attn.{m}" for i in range(3) for m in ("q_proj", "v_proj")}


@pytest.mark.parametrize(
    ("module", "d_in", "reason"),
    [
        ("model.layers.0.self_attn.q_proj", 32, "shape mismatch at model.layers.0.self_attn.q_proj"),
        (
            "model.layers.9.self_attn.q_proj",
            64,
            "targets model.layers.9.self_attn.q_proj, which the base lacks",
        ),
        ("model.embed_tokens", 64, "targets model.embed_tokens, a Embedding and not a Linear"),
        ("model.norm", 64, "targets model.norm, a LlamaRMSNorm and not a Linear"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    base_dir: Path, tmp_path: Path, module: str, d_in: int, reason: str
) -> None:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": [module.rpartition(".")[2]]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    pair = {"lora_A": torch.ones(2, d_in), "lora_B": torch.ones(64, 2)}
    save_file(
        {f"{PREFIX}{module}.{name}.weight": t for name, t in pair.items()},
        tmp_path / "adapter_model.safetensors",
    )
    engine = Engine(base_dir, device="cpu", dtype="float32", find_adapter=lambda key: tmp_path)

    with pytest.raises(UnsupportedAdapter, match=f"org/one@abc: The adapter .*{reason}"):
        engine.generate(["Why?"], [(("org/one@abc", 1.0),)], 2)


def test_auto_chooses_something_known() -> None:
    assert (choose_device("cpu"), choose_dtype("float32", "cpu")) == ("cpu", "float32")
    assert choose_dtype("auto", "cpu") in ("bfloat16", "float32")


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:x", "cuda:99"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        choose_device(name)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(SettingError, match="float8"):
        choose_dtype("float8", "cpu")


def test_a_folder_without_a_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        Engine(tmp_path)
