"""Adapter header: what an adapter would bring to which module, told before any of its weights are read.

Knows: config, safetensors header, tensors on the meta device, which have a shape and no bytes. Does not know: which
features are served (lorauter/adapters/weights), the base (lorauter/engine/bank/bank).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from catalog.adapters.parse import Problem, Tensor, header_length, module_name, parse_header
from catalog.errors import UnsupportedAdapter
from lorauter.adapters.weights import DTYPES, WEIGHTS_FILE, AdapterWeights, disk_error, read_config, weights_of


@dataclass(frozen=True, slots=True)
class AdapterHeader:
    """What config and header of one adapter say.

    Args:
        config: the parsed adapter_config.json.
        tensors: by name, on the meta device.
    """

    config: Mapping[str, Any]
    tensors: Mapping[str, torch.Tensor]

    @property
    def modules(self) -> list[str]:
        """The base's modules that any tensor of a LoRA belongs to, of a kind that is served or not."""
        places = (name.partition(".lora_") for name in self.tensors)
        names = (module_name(place) for place, lora, _ in places if lora)
        return list(dict.fromkeys(name.replace(".base_layer", "") for name in names))  # a second LoRA on one module

    def weights(self, passing: Collection[str] = ()) -> AdapterWeights:
        """The pairs without their bytes.

        Args:
            passing: as of `read_adapter`.

        Raises UnsupportedAdapter: as `read_adapter`.
        """
        return weights_of(self.config, self.tensors, passing)


def read_header(folder: Path) -> AdapterHeader:
    """Reads a folder's config and the header of its weights, both within bounds.

    Raises:
        UnsupportedAdapter: a file is missing or damaged.
    """
    config = read_config(folder)
    dtypes = {name: dtype for dtype, name in DTYPES.items()}
    tensors = ((t.name, t.shape, dtypes.get(t.dtype, torch.int8)) for t in _tensors(folder))  # int8: of what is refused
    return AdapterHeader(config, {name: torch.empty(shape, dtype=d, device="meta") for name, shape, d in tensors})


def _tensors(folder: Path) -> tuple[Tensor, ...]:
    path = folder / WEIGHTS_FILE
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = header_length(file.read(8), size)
            header = length if isinstance(length, Problem) else parse_header(file.read(length), size)
    except FileNotFoundError as error:
        raise _unreadable(str(error)) from error
    except OSError as error:
        raise disk_error(path, error) from error
    if isinstance(header, Problem):
        raise _unreadable(header.evidence)
    return header


def _unreadable(why: str) -> UnsupportedAdapter:
    return UnsupportedAdapter(f"The adapter has no readable {WEIGHTS_FILE} ({why}).", "Leave it out of the pool.")
