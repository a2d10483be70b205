"""Merges on disk: PEFT loads what was saved, and what is read back is what was written."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import LlamaForCausalLM

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights, read_adapter
from lorauter.compositions.base import Merging
from lorauter.compositions.cat import cat
from lorauter.compositions.saving import save_merged
from lorauter.routing.routes import Mixture
from tests.lorauter.compositions.kinds import (
    IDS,
    Q_PROJ,
    TOLERANCE,
    compose,
    delta,
    served,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    ("name", "mixture", "rank"),
    [
        ("cat", (("qv", 0.6), ("wide", -0.3), ("pattern", 0.5), ("rslora", 0.2)), 4 + 8 + 2 + 4),
        ("ties", (("qv", 0.6), ("mlp", 0.4)), 4),
    ],
)
def test_peft_loads_a_saved_merge_with_the_same_logits(
    name: str,
    mixture: Mixture,
    rank: int,
    base: LlamaForCausalLM,
    read: Callable[[str], AdapterWeights],
    tmp_path: Path,
) -> None:
    composed = compose(name, mixture)
    assert composed.merge

    saved = save_merged(tmp_path, composed.merge.weights(read), "org/base")

    config = json.loads((tmp_path / "adapter_config.json").read_text())
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path)).eval()
    with torch.inference_mode():
        logits = loaded(IDS).logits
    assert (saved, config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (
        rank,
        rank,
        rank,
        "org/base",
    )
    torch.testing.assert_close(logits, served(base, composed, read), **TOLERANCE)


def test_a_saved_adapter_is_read_back_and_keeps_patterns_as_padding(
    read: Callable[[str], AdapterWeights], tmp_path: Path
) -> None:
    save_merged(tmp_path, read("pattern"), "org/base")

    again = read_adapter(tmp_path).modules

    assert {pair.a.shape[0] for pair in again.values()} == {4}
    for name, pair in read("pattern").modules.items():
        torch.testing.assert_close(delta(again[name]), delta(pair))


def test_a_dora_is_not_written_as_a_lora(read: Callable[[str], AdapterWeights], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAdapter, match="DoRA cannot be written"):
        save_merged(tmp_path, read("dora"), "org/base")


def test_a_merge_of_one_can_be_asked_for(read: Callable[[str], AdapterWeights]) -> None:
    composition: Merging = cat()

    merged = composition.merge((("qv", 0.5),)).weights(read).modules

    torch.testing.assert_close(delta(merged[Q_PROJ]), 0.5 * delta(read("qv").modules[Q_PROJ]))
