"""Adapter weights: one PEFT folder read to the pairs A, B that the engine serves.

Knows: PEFT 0.21's file names and tensor names, what numbers no adapter may hold. Does not know: which features have
no exact serving (catalog/rules/function, the same rules that a catalog admits by), scaling (catalog/adapters/scaling),
the base model (lorauter/engine/bank/bank checks modules and shapes), devices, or where folders come from.

Only safetensors are read: a pickle can run code. Whatever could change the output and is not
served exactly is refused by name, so a text from the engine is always what PEFT would give.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from catalog.adapters.parse import CONFIG_LIMIT, Problem, Tensor, parse_config
from catalog.adapters.patterns import Patience
from catalog.adapters.scaling import scaling_of
from catalog.errors import DiskError, UnsupportedAdapter
from catalog.rules.table import judge_alone
from lorauter.adapters.pair_check import is_finite, is_zero, overflows

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"
PREFIX = "base_model.model."
SUFFIXES = {  # PEFT drops the adapter's name from keys as it saves them; one that kept `default` loads as it is
    **{f".lora_{side}{name}.weight": side.lower() for side in "AB" for name in ("", ".default")},
    **{f".lora_magnitude_vector{end}": "magnitude" for end in ("", ".weight", ".default.weight")},
}
# What only a catalog can decide: it knows the base's revision, and its policy may let the tensors' rank count. Who
# serves what a catalog admitted lets these reasons pass; who reads a folder of his own does not.
JUDGED = ("base_revision", "rank_mismatch")
DTYPES = {  # torch's → the name in a safetensors header
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float8_e4m3fn: "F8_E4M3",
    torch.float8_e5m2: "F8_E5M2",
}


@dataclass(frozen=True, slots=True, eq=False)
class LoraPair:
    """The adapter at one Linear: ΔW = scaling · B A, rescaled by rows where it is a DoRA.

    Args:
        a: (r, d_in), as stored.
        b: (d_out, r), as stored.
        scaling: alpha / r, or alpha / sqrt(r) for rsLoRA.
        magnitude: DoRA's m, (d_out,); None for a LoRA.
    """

    a: torch.Tensor
    b: torch.Tensor
    scaling: float
    magnitude: torch.Tensor | None = None


@dataclass(frozen=True, slots=True)
class AdapterWeights:
    """One adapter: its pairs by the dotted name of the base's module."""

    modules: Mapping[str, LoraPair]


def read_adapter(folder: Path, passing: Collection[str] = ()) -> AdapterWeights:
    """Reads `adapter_config.json` and `adapter_model.safetensors` of a folder, on the CPU.

    Args:
        passing: reasons of catalog.rules that are let pass, JUDGED for what a catalog admitted.

    Raises:
        UnsupportedAdapter: a file is missing or damaged, the adapter uses a feature that cannot be served exactly, or
            its numbers are not finite or change nothing.
        DiskError: a file is here and cannot be read, which says nothing of the adapter.
    """
    config = read_config(folder)
    try:
        tensors = load_file(folder / WEIGHTS_FILE)
    except (FileNotFoundError, SafetensorError) as error:
        raise _refusal(f"has no readable {WEIGHTS_FILE} ({error})") from error
    except OSError as error:
        raise disk_error(folder / WEIGHTS_FILE, error) from error
    weights = weights_of(config, tensors, passing)
    _refuse_numbers(weights, tensors)
    return weights


def weights_of(
    config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], passing: Collection[str] = ()
) -> AdapterWeights:
    """The pairs that a config makes of tensors, which may lie on any device, `meta` included.

    Args:
        passing: as of `read_adapter`.

    Raises:
        UnsupportedAdapter: as `read_adapter`; the numbers are not looked at.
    """
    header = (Tensor(name, _dtype_name(t), tuple(t.shape), 0, 0) for name, t in sorted(tensors.items()))
    for finding in judge_alone(config, tuple(header), passing):
        raise _refusal(f"is not served ({finding.reason}): {finding.evidence}")
    patience = Patience()
    return AdapterWeights({name: _pair(name, p, config, patience) for name, p in _group(tensors).items()})


def read_config(folder: Path) -> dict[str, Any]:
    """A folder's `adapter_config.json`.

    Raises:
        UnsupportedAdapter: it is missing, too large, or no JSON object.
        DiskError: it cannot be read.
    """
    try:
        with (folder / CONFIG_FILE).open("rb") as file:
            config = parse_config(file.read(CONFIG_LIMIT + 1))
    except FileNotFoundError as error:
        raise _refusal(f"has no readable {CONFIG_FILE} ({error})") from error
    except OSError as error:
        raise disk_error(folder / CONFIG_FILE, error) from error
    if isinstance(config, Problem):
        raise _refusal(f"has no readable {CONFIG_FILE} ({config.evidence})")
    return config


def _refuse_numbers(weights: AdapterWeights, tensors: Mapping[str, torch.Tensor]) -> None:
    pairs = weights.modules
    infinite = next((name for name, tensor in tensors.items() if not is_finite(tensor)), None)
    if infinite is not None:
        raise _refusal(f"is not served (non_finite): NaN or infinity in {infinite}")
    over = next((name for name, pair in pairs.items() if overflows(pair.a, pair.b, pair.scaling)), None)
    if over is not None:
        raise _refusal(f"is not served (non_finite): the product of A and B at {over} leaves float32")
    if all(pair.magnitude is None and is_zero(pair.a, pair.b) for pair in pairs.values()):
        raise _refusal("is not served (zero_b): every product of A and B is zero, it changes nothing")


def _dtype_name(tensor: torch.Tensor) -> str:
    return DTYPES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch."))


def _group(tensors: Mapping[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """Tensors by module, then by part ("a", "b", "magnitude"); the rules have refused all other tensors."""
    modules: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        suffix = next((s for s in SUFFIXES if key.endswith(s)), None)
        if suffix is None or not key.startswith(PREFIX):
            raise _refusal(f"holds a tensor that is not served ({key})")
        modules.setdefault(key[len(PREFIX) : -len(suffix)], {})[SUFFIXES[suffix]] = tensor
    return modules


def _pair(name: str, parts: Mapping[str, torch.Tensor], config: Mapping[str, Any], patience: Patience) -> LoraPair:
    a, b = parts["a"], parts["b"]
    return LoraPair(a, b, scaling_of(name, a.shape[0], config, patience), parts.get("magnitude"))


def disk_error(path: Path, error: OSError) -> DiskError:
    """What a file that is here and cannot be read means: the disk's fault, or a right that is lacking."""
    return DiskError(f"{path} cannot be read ({error.strerror or error}).", "Check the disk and who may read it.")


def _refusal(what: str) -> UnsupportedAdapter:
    return UnsupportedAdapter(f"The adapter {what}.", "Leave it out of the pool.")
