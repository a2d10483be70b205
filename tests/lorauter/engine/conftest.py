"""The tiny Llama and its adapters, made once; an engine over them, and PEFT."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.tiny_model import byte_tokenizer
from flows.demo.base import export_base
from lorauter.engine.engine import Engine
from tests.lorauter.engine.kinds import CONTEXT, KINDS, Reference, load, randomise


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's real base. Where tests run in several processes, the first that needs it makes it for all."""
    own = tmp_path_factory.getbasetemp()
    shared = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    with (shared / "smollm2.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return export_base(shared / "smollm2")


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        attention_bias=True,
        tie_word_embeddings=False,
        initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    randomise(model, "bias")  # transformers starts biases at zero, which would hide a wrong one
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def find(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("adapters")
    for seed, (kind, options) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **options)
        model = get_peft_model(load(base_dir), config)
        randomise(model, "lora_magnitude_vector")
        model.save_pretrained(str(folder / kind), save_embedding_layers=False)
    return lambda key: folder / key


@pytest.fixture(scope="session")
def engine(base_dir: Path, find: Callable[[str], Path]) -> Engine:
    return Engine(base_dir, device="cpu", dtype="float32", find_adapter=find)


@pytest.fixture(scope="session")
def reference(base_dir: Path, find: Callable[[str], Path], engine: Engine) -> Reference:
    peft = PeftModel.from_pretrained(load(base_dir), str(find("qv")), adapter_name="qv")
    for kind in KINDS:
        if kind != "qv":
            peft.load_adapter(str(find(kind)), adapter_name=kind)
    return Reference(load(base_dir), peft.eval(), engine.tokenizer)
