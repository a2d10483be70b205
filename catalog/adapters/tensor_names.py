"""PEFT's names for the tensors of an adapter, and what else may lie beside the LoRA pairs.

Knows: which names PEFT 0.21 loads, which it passes over in silence, what a tensor beside the pairs is for.
Does not know: the bytes of a header (catalog/adapters/parse), whether a feature is wanted (catalog/rules).
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

from catalog.adapters.parse import Tensor, module_name

PREFIX = "base_model.model."
# PEFT takes the adapter's name out of keys as it saves them; a key that kept `default` still loads as it is.
_LORA_KEY = re.compile(r"(?P<module>.+)\.lora_[AB](?:\.default)?\.weight")
# Parts that wrappers put into names as a model is saved: torch.compile, DataParallel, FSDP, activation checkpoints, and
# PEFT about PEFT. No causal model of transformers has a part of these, or the same part twice at its start.
_WRAPPERS = re.compile(r"(?:^|\.)(?:_\w+|module|base_model|original_module)\.|^(?P<part>\w+)\.(?P=part)\.")
_ANY_LORA_KEY = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[\w-]+)?\.weight")
_FEATURES = {  # endings of names → what the tensor is for
    ".lora_embedding_A": "LoRA on embeddings",
    ".lora_embedding_B": "LoRA on embeddings",
    ".lora_B.bias": "lora_bias",
    ".lora_a": "LoRA as MLX names it",
    ".lora_b": "LoRA as MLX names it",
    ".base_layer.weight": "a saved base layer",
    ".base_layer.bias": "a saved base layer",
    ".token_adapter.trainable_tokens_delta": "trainable tokens",
    ".bias": "a trained bias",
    ".weight": "a saved module",
}
_SAVED = re.compile(r"(?P<module>.+?)(?:\.base_layer|\.modules_to_save(?:\.default)?|\.original_module)?\.weight")
_EMBEDDING_A = re.compile(r"(?P<module>.+)\.lora_embedding_A(?:\.default)?")


def unloaded_key(tensors: Iterable[Tensor], known: Container[str] = ()) -> str | None:
    """The first LoRA tensor whose name PEFT would not find in any model, or None.

    PEFT loads with strict=False: a prefix that is missing or doubled, or a wrapper's part in the name, leaves every B
    at zero, and the output is the base's, without an error.

    Args:
        known: modules of the base, where it is at hand: what they are called is no wrapper's part.
    """
    for tensor in tensors:
        if ".lora_A" in tensor.name or ".lora_B" in tensor.name:
            match = _LORA_KEY.fullmatch(tensor.name)
            if match is None and not tensor.name.endswith(".lora_B.bias"):
                return tensor.name
            module = tensor.name.removeprefix(PREFIX)
            own = module.partition(".lora_")[0]
            if module == tensor.name or (own not in known and _WRAPPERS.search(own + ".")):
                return tensor.name
    return None


def broken_pairs(tensors: Iterable[Tensor], whole: Container[str]) -> dict[str, str]:
    """Modules with lora_A or lora_B that make no pair: module → what is wrong.

    Args:
        whole: the modules that have a pair.
    """
    sides: dict[str, list[tuple[str, tuple[int, ...]]]] = {}
    for tensor in tensors:
        if match := _ANY_LORA_KEY.fullmatch(tensor.name):
            sides.setdefault(module_name(match["module"]), []).append((match["side"], tensor.shape))
    faults = {module: _fault(tensors_there, module in whole) for module, tensors_there in sides.items()}
    return {module: fault for module, fault in faults.items() if fault}


def _fault(sides: list[tuple[str, tuple[int, ...]]], is_whole: bool) -> str | None:
    """What keeps the sides at one module from being a pair."""
    twice = next((side for side in "AB" if [s for s, _ in sides].count(side) > 1), None)
    if twice:
        return f"two tensors for one place (lora_{twice})"
    if is_whole:
        return None
    told = " and ".join(f"lora_{side} {shape}" for side, shape in sorted(sides))
    if any(len(shape) > 2 for _, shape in sides):
        return f"LoRA on a convolution ({told})"
    if len(sides) == 1:
        return f"only one of lora_A and lora_B ({told})"
    return f"a shape mismatch ({told})"


def is_side(name: str) -> bool:
    """Whether a tensor is called A or B of a pair, by PEFT's names, with whatever adapter's name in it."""
    return _ANY_LORA_KEY.fullmatch(name) is not None


def is_of_mlx(name: str) -> bool:
    """Whether MLX calls a pair's tensors so."""
    return name.endswith((".lora_a", ".lora_b"))


def magnitudes(tensors: Iterable[Tensor]) -> dict[str, tuple[int, ...]]:
    """DoRA's magnitude vectors: module → shape."""
    ending = ".lora_magnitude_vector"
    names = {t: t.name.removesuffix(".weight").removesuffix(".default") for t in tensors}
    return {module_name(n.removesuffix(ending)): t.shape for t, n in names.items() if n.endswith(ending)}


def feature_of(name: str) -> str:
    """What a tensor that is no LoRA pair is for, in words."""
    return next((feature for ending, feature in _FEATURES.items() if name.endswith(ending)), "unknown")


def saved_rows(tensors: Iterable[Tensor]) -> dict[str, int]:
    """Whole modules that the adapter carries, and LoRA on embeddings: module → rows."""
    rows = {}
    for tensor in tensors:
        if match := _EMBEDDING_A.fullmatch(tensor.name):
            rows[module_name(match["module"])] = tensor.shape[-1] if tensor.shape else 0
        elif ".lora_" not in tensor.name and (match := _SAVED.fullmatch(tensor.name)) and len(tensor.shape) == 2:
            rows[module_name(match["module"])] = tensor.shape[0]
    return rows
