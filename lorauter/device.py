"""Device and dtype: which ones the engine and the encoder compute on.

Knows: what "auto" means, which names are allowed, and how much memory a device has.
Does not know: models, adapters, or how much memory anything needs.

A dtype is part of a score's identity (bf16 texts change with the batch size, fp32 ones do not), so
both choices are plain strings that a ledger can record.
"""

from __future__ import annotations

from pathlib import Path

import psutil
import torch

from catalog.errors import SettingError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
CPU_FLAGS = Path("/proc/cpuinfo")
CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


def choose_device(name: str = "auto") -> str:
    """The device to compute on: "cpu", "cuda" or "cuda:N".

    Args:
        name: "auto" (CUDA where there is one, else the CPU), or one of the above.

    Raises:
        SettingError: the name is unknown, or names a device that is not there.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and (kind == "cpu" or not index.isdigit())):
        raise SettingError(f"Device {name!r} is not known.", 'Use "auto", "cpu", "cuda" or "cuda:N".')
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise SettingError(f"Device {name!r} is not on this machine.", 'Use "auto" or "cpu".')
    return name


def choose_dtype(name: str = "auto", device: str = "cpu") -> str:
    """The dtype to compute in: "float32", "bfloat16" or "float16".

    Args:
        name: "auto" (bfloat16 where `device` is fast in it, else float32), or one of the above.
        device: what `choose_device` returned.

    Raises:
        SettingError: the name is unknown.
    """
    if name == "auto":
        fast = torch.cuda.is_bf16_supported() if device.startswith("cuda") else cpu_is_fast_in_bf16()
        return "bfloat16" if fast else "float32"
    if name not in DTYPES:
        raise SettingError(f"Dtype {name!r} is not known.", f'Use "auto" or one of {", ".join(DTYPES)}.')
    return name


def device_memory(device: str) -> int:
    """Bytes of memory that a device has, free or not; of the CPU what the machine has or the container may use."""
    if device.startswith("cuda"):
        return int(torch.cuda.get_device_properties(device).total_memory)
    return min([int(psutil.virtual_memory().total), *filter(None, map(_limit_in, CGROUP_LIMITS))])


def _limit_in(file: Path) -> int | None:
    """A container's limit; "max", no number, means none."""
    try:
        told = file.read_text(encoding="ascii").strip()
    except OSError:  # not in a container, or not Linux
        return None
    return int(told) if told.isdigit() else None


def cpu_is_fast_in_bf16() -> bool:
    """Whether the CPU multiplies bf16 matrices in hardware; elsewhere bf16 is slower than fp32."""
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    if any(getattr(torch.cpu, probe, lambda: False)() for probe in probes):
        return True
    try:
        flags = CPU_FLAGS.read_text(encoding="ascii", errors="ignore")
    except OSError:  # not Linux
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
