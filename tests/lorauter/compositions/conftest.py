"""The tiny Llama and its adapters, made once; and PEFT with all of them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from lorauter.adapters.weights import AdapterWeights
from lorauter.compositions.reading import reader
from tests.lorauter.compositions.kinds import (
    KINDS,
)


@pytest.fixture(scope="session")
def base() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def find(base: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("adapters")
    for seed, (kind, options) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        model = get_peft_model(copy.deepcopy(base), LoraConfig(init_lora_weights=False, **options))
        model.save_pretrained(str(root / kind))
    return lambda key: root / key


@pytest.fixture(scope="session")
def read(find: Callable[[str], Path]) -> Callable[[str], AdapterWeights]:
    return reader(find)


@pytest.fixture(scope="session")
def peft(base: LlamaForCausalLM, find: Callable[[str], Path]) -> PeftModel:
    model = PeftModel.from_pretrained(copy.deepcopy(base), str(find("qv")), adapter_name="qv")
    for kind in KINDS:
        if kind != "qv":
            model.load_adapter(str(find(kind)), adapter_name=kind)
    return model.eval()
