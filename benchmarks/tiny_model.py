"""A tiny model for benchmarks and tests: a random two-layer Llama, and random adapters that PEFT saves.

Knows: their files, with the card and base name of a hub's repos. Does not know: what is asked of them.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """A token a byte, and one that ends a text."""
    vocabulary = {sign: n for n, sign in enumerate(["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def write_base(folder: Path, tokenizer: PreTrainedTokenizerFast, seed: int = 0) -> None:
    """A random two-layer Llama, in float32, with its tokenizer, whose token 0 ends a text."""
    torch.manual_seed(seed)
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


def write_adapter(base: Path, folder: Path, seed: int, rank: int, base_id: str) -> None:
    """A random q/v adapter of the base in folder `base`, which its config and card call `base_id`."""
    torch.manual_seed(seed)
    config = LoraConfig(
        r=rank, lora_alpha=32, target_modules=["q_proj", "v_proj"], init_lora_weights=False, task_type="CAUSAL_LM"
    )
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(folder)
    saved = folder / "adapter_config.json"
    saved.write_text(json.dumps(json.loads(saved.read_text()) | {"base_model_name_or_path": base_id}))
    card = f"---\nbase_model: {base_id}\nlibrary_name: peft\nlicense: apache-2.0\n---\n# {folder.name}\n"
    (folder / "README.md").write_text(card)
