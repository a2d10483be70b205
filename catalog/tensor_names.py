"""PEFT's names for the tensors of an adapter, and what else may lie beside the LoRA pairs.

Knows: which names PEFT 0.21 loads, which it passes over in silence, what a tensor beside the pairs is for.
Does not know: the bytes of a header (catalog/parse), whether a feature is wanted (catalog/rules).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from catalog.parse import Tensor, module_name

PREFIX = "base_model.model."
# PEFT takes the adapter's name out of keys as it saves them; a key that kept `default` still loads as it is.
_LORA_KEY = re.compile(r"(?P<module>.+)\.lora_[AB](?:\.default)?\.weight")
_FEATURES = {  # endings of names → what the tensor is for
    ".lora_embedding_A": "LoRA on embeddings",
    ".lora_embedding_B": "LoRA on embeddings",
    ".lora_B.bias": "lora_bias",
    ".base_layer.weight": "a saved base layer",
    ".base_layer.bias": "a saved base layer",
    ".token_adapter.trainable_tokens_delta": "trainable tokens",
    ".bias": "a trained bias",
    ".weight": "a saved module",
}
_SAVED = re.compile(r"(?P<module>.+?)(?:\.base_layer|\.modules_to_save(?:\.default)?|\.original_module)?\.weight")
_EMBEDDING_A = re.compile(r"(?P<module>.+)\.lora_embedding_A(?:\.default)?")


def unloaded_key(tensors: Iterable[Tensor]) -> str | None:
    """The first LoRA tensor whose name PEFT would not find in any model, or None.

    PEFT loads with strict=False: a prefix that is missing or doubled leaves every B at zero, and the output
    is the base's, without an error.
    """
    for tensor in tensors:
        if ".lora_A" in tensor.name or ".lora_B" in tensor.name:
            found = _LORA_KEY.fullmatch(tensor.name)
            module = tensor.name.removeprefix(PREFIX)
            single = module != tensor.name and not module.startswith(PREFIX)
            if not single or (found is None and not tensor.name.endswith(".lora_B.bias")):
                return tensor.name
    return None


def magnitudes(tensors: Iterable[Tensor]) -> dict[str, tuple[int, ...]]:
    """DoRA's magnitude vectors: module → shape."""
    found = {t: t.name.removesuffix(".weight").removesuffix(".default") for t in tensors}
    ending = ".lora_magnitude_vector"
    return {module_name(n.removesuffix(ending)): t.shape for t, n in found.items() if n.endswith(ending)}


def feature_of(name: str) -> str:
    """What a tensor that is no LoRA pair is for, in words."""
    return next((feature for ending, feature in _FEATURES.items() if name.endswith(ending)), "unknown")


def saved_rows(tensors: Iterable[Tensor]) -> dict[str, int]:
    """Whole modules that the adapter carries, and LoRA on embeddings: module → rows."""
    rows = {}
    for tensor in tensors:
        if found := _EMBEDDING_A.fullmatch(tensor.name):
            rows[module_name(found["module"])] = tensor.shape[-1] if tensor.shape else 0
        elif ".lora_" not in tensor.name and (found := _SAVED.fullmatch(tensor.name)) and len(tensor.shape) == 2:
            rows[module_name(found["module"])] = tensor.shape[0]
    return rows
