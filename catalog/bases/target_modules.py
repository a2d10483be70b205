"""Which modules of a base an adapter's config targets, and how long the header of its weights will be.

Knows: PEFT 0.21's reading of target_modules, exclude_modules, layers_to_transform, layers_pattern and
modules_to_save; its names for saved tensors. Does not know: what tensors there really are.
None means that it cannot be decided: no target_modules, a pattern that is no regular expression or takes too long.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from catalog.adapters.patterns import Patience, Undecided
from catalog.bases.base import Base

ALL_LINEAR = "all-linear"
# Output heads of causal models, which all-linear leaves out: by the last part of the name, and by the whole of it.
HEADS = ("lm_head", "embed_out", "output_layer", "output_projection", "lm_loss", "generator_lm_head")
WHOLE_HEADS = ("decoder", "head", "output", "pred_layer.proj")
_LAYER = r".*?\.[^.]*\.(?P<idx>\d+)\."
_ENTRY = '"base_model.model.{}.lora_A.weight":{{"dtype":"BF16","shape":[{},{}],"data_offsets":[{},{}]}},'
_FIELDS = ("target_modules", "exclude_modules", "modules_to_save", "layers_to_transform", "layers_pattern")
_MOST_RESOLVED = 256
_RESOLVED: dict[tuple[str, tuple[str, ...]], frozenset[str]] = {}  # most adapters of a base ask the same few questions
_METADATA = 64  # bytes: the format tag, and the padding to a multiple of 8


def resolve_targets(config: Mapping[str, Any], base: Base, patience: Patience | None = None) -> frozenset[str] | None:
    """The base's Linear and Conv1D modules that the config targets, as PEFT would find them; None: undecidable."""
    return targeted(config, base.modules, patience)


def targeted(
    config: Mapping[str, Any], modules: Iterable[str], patience: Patience | None = None
) -> frozenset[str] | None:
    """Those of `modules`, all the names a base has or some, that the config targets; None: undecidable.

    Args:
        patience: what the adapter's patterns may still take.
    """
    names = tuple(modules)
    try:
        key = (json.dumps([config.get(field) for field in _FIELDS]), names)
        if (resolved := _RESOLVED.get(key)) is not None:
            return resolved
        fields = _TargetFields(config, patience or Patience())
        resolved = frozenset(module for module in names if fields.target(module))
    except (Undecided, TypeError, ValueError, RecursionError):
        return None
    if len(_RESOLVED) >= _MOST_RESOLVED:
        _RESOLVED.clear()
    _RESOLVED[key] = resolved
    return resolved


def expected_header_bytes(config: Mapping[str, Any], base: Base) -> int | None:
    """An estimate, a little too high, of where the header of the adapter's weights file ends; None: unknown.

    Counted as bytes of the file's start: 8 for the length, then the JSON that PEFT and safetensors write.
    """
    rank, names = config.get("r", 8), resolve_targets(config, base)
    if names is None or type(rank) is not int or not 0 < rank < 1 << 20 or config.get("layer_replication"):
        return None
    embeddings = targeted(config, base.embeddings) or frozenset()
    end, length = 0, 8 + _METADATA
    for name in sorted(names):
        d_in, d_out = base.modules[name]
        parts = [(name, rank, d_in), (name, d_out, rank), *([(name, d_out, 1)] if config.get("use_dora") else [])]
        for part, rows, columns in parts:
            end, start = end + 4 * rows * columns, end
            length += len(_ENTRY.format(part, rows, columns, start, end))
    for name in sorted(embeddings):
        length += 2 * len(_ENTRY.format(name, *base.embeddings[name], end, end))
    saved = config.get("modules_to_save")
    return length + (2 * len(json.dumps(saved)) + 512 if saved else 0)


def is_head(module: str) -> bool:
    """Whether a module of this name is a causal model's output head."""
    return module.rpartition(".")[2] in HEADS or module in WHOLE_HEADS


class _TargetFields:
    """The fields of one config that name modules, read once (PEFT's check_target_module_exists)."""

    def __init__(self, config: Mapping[str, Any], patience: Patience) -> None:
        target = config.get("target_modules")
        self._everything = isinstance(target, str) and target.lower() == ALL_LINEAR
        self._target, self._excluded = _names(target), _names(config.get("exclude_modules") or [])
        self._saved = [rf"(^|.*\.){name}($|\..*)" for name in config.get("modules_to_save") or ()]
        self._layers, self._layers_pattern = config.get("layers_to_transform"), config.get("layers_pattern")
        self._patience = patience

    def target(self, module: str) -> bool:
        """Whether they target a module. Raises Undecided, TypeError or ValueError where that cannot be told."""
        self._patience.spend()
        if self._is_in(self._excluded, module) or any(self._patience.starts(s, module) for s in self._saved):
            return False
        if self._everything:  # PEFT writes the names out first, and leaves out the output head
            return not is_head(module)
        if isinstance(self._target, frozenset) and module in self._target:
            return True  # a full path means its module, whatever its layer
        return self._is_in(self._target, module) and self._is_in_layers(module)

    def _is_in(self, names: str | frozenset[str] | None, module: str) -> bool:
        if isinstance(names, str):
            return self._patience.fullmatch(names, module)
        if names is None:
            raise Undecided("neither a text nor a list of texts")
        return not names.isdisjoint(_endings(module))

    def _is_in_layers(self, module: str) -> bool:
        layers, patterns = self._layers, self._layers_pattern
        if isinstance(self._target, str) or layers is None or layers == []:
            return True
        tried = [patterns] if isinstance(patterns, str) else patterns or []
        expressions = [rf"(?:^|.*?\.){p}\.(?P<idx>\d+)\." for p in tried if p] or [_LAYER]
        layers_read = (self._patience.layer_of(expression, module) for expression in expressions)
        index = next((i for i in layers_read if i is not None), None)
        return index is not None and (index == layers if isinstance(layers, int) else index in layers)


def _names(value: object) -> str | frozenset[str] | None:
    """A pattern as it is, a list of names as a set; None for anything else."""
    if isinstance(value, list):
        return frozenset(value) if all(isinstance(name, str) for name in value) else None
    return value if isinstance(value, str) else None


def _endings(module: str) -> Iterator[str]:
    """The name, and what follows each of its dots: a list means a module by any of these."""
    yield module
    for place, character in enumerate(module):
        if character == ".":
            yield module[place + 1 :]
