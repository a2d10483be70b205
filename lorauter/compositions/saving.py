"""A merged adapter on disk: a plain PEFT folder that any engine reads alike.

Knows: PEFT's file and tensor names, and what other engines leave out. Does not know: how the weights came about.

vLLM and LoRAX read one `r` and one `lora_alpha` and pass over rank_pattern and alpha_pattern, LoRAX stacks the layers
and needs one rank in all. So the folder has neither pattern: scaling is folded into B, modules of smaller rank are
padded with zeros, and lora_alpha = r. That is exact; its cost is the padding, which PEFT's `cat` has too.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file

from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import CONFIG_FILE, PREFIX, WEIGHTS_FILE, AdapterWeights, LoraPair
from warehouse.storage.files import write_atomically, write_text


def save_merged(folder: Path, weights: AdapterWeights, base_id: str, dtype: torch.dtype = torch.float32) -> int:
    """Writes `adapter_model.safetensors`, then `adapter_config.json`: a folder with a config is whole.

    Args:
        folder: made if need be; files of these two names are replaced.
        base_id: `org/model`, for `base_model_name_or_path`.
        dtype: of the tensors; folded and padded in fp32 first.

    Returns:
        The rank r of all its modules.

    Raises:
        UnsupportedAdapter: it is a DoRA, whose folder can be copied and not rewritten.
    """
    if any(pair.magnitude is not None for pair in weights.modules.values()):
        raise UnsupportedAdapter("A DoRA cannot be written as a plain LoRA.", "Copy its own folder.")
    rank = max(pair.a.shape[0] for pair in weights.modules.values())
    tensors: dict[str, torch.Tensor] = {}
    for name, pair in weights.modules.items():
        a, b = _plain(pair, rank)
        tensors[f"{PREFIX}{name}.lora_A.weight"] = a.to(dtype).contiguous()
        tensors[f"{PREFIX}{name}.lora_B.weight"] = b.to(dtype).contiguous()
    write_atomically(folder / WEIGHTS_FILE, lambda part: save_file(tensors, part, metadata={"format": "pt"}))
    write_text(folder / CONFIG_FILE, json.dumps(_config(weights, rank, base_id), indent=2) + "\n")
    return rank


def _plain(pair: LoraPair, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A (rank, d_in) and s·B (d_out, rank), fp32, padded with zeros."""
    missing = rank - pair.a.shape[0]
    a = torch.nn.functional.pad(pair.a.float(), (0, 0, 0, missing))
    return a, torch.nn.functional.pad(pair.scaling * pair.b.float(), (0, missing))


def _config(weights: AdapterWeights, rank: int, base_id: str) -> dict[str, object]:
    return {
        "base_model_name_or_path": base_id,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "lora_alpha": rank,
        "lora_dropout": 0.0,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted(weights.modules),  # whole names: what it targets depends on no pattern
        "task_type": "CAUSAL_LM",
        "use_dora": False,
        "use_rslora": False,
    }
