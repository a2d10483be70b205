"""From the bytes a hub sent to facts about an adapter. Pure: no request, no disk, no torch.

Knows: adapter_config.json, the safetensors header, PEFT's names for LoRA tensors, bounds on all of them.
Does not know: whether the facts are good (catalog/rules) or how bytes are fetched (catalog/hub).

The safetensors layout is 8 bytes little-endian header length N, N bytes of JSON, then the tensors.
Everything here may be hostile: lengths are checked before use, JSON depth and size are bounded, and a
fault becomes a `Problem` with a named reason, never an exception.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

from catalog.adapters.adapter import LoraShape

CONFIG_LIMIT = 1 << 20  # bytes of adapter_config.json
HEADER_LIMIT = 4 << 20  # bytes of safetensors header; a 70B model's LoRA needs about 0.2 MiB
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_HALF = re.compile(rb"\\u[dD][89a-fA-F]")  # an escape that stands for text only beside its other half
_SURROGATE = re.compile("[\ud800-\udfff]")
DEPTH_LIMIT = 64  # levels of JSON
_LORA_KEY = re.compile(r"(?P<module>.+)\.lora_(?P<side>[AB])(?:\.[\w-]+)?\.weight")
_PREFIXES = re.compile(r"\A(?:base_model\.model\.)+")
_DTYPE_BITS = {  # all that the safetensors library knows; it opens no file with another
    **dict.fromkeys(("F64", "I64", "U64", "C64"), 64),
    **dict.fromkeys(("F32", "I32", "U32"), 32),
    **dict.fromkeys(("F16", "BF16", "I16", "U16"), 16),
    **dict.fromkeys(("F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I8", "U8", "BOOL"), 8),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}


@dataclass(frozen=True, slots=True)
class Problem:
    """Bytes that could not be read as what they claim to be: a reason's name and the evidence."""

    reason: str
    evidence: str


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a safetensors header: its bytes are `start` to `end`, counted from the data's start."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


def is_lfs_pointer(head: bytes) -> bool:
    """Whether the bytes are a git-LFS pointer's text in place of the file."""
    return head.startswith(_LFS_POINTER)


def parse_config(raw: bytes) -> dict[str, Any] | Problem:
    """adapter_config.json as a dict, or why not (`bad_config`, `lfs_pointer`)."""
    if is_lfs_pointer(raw):
        return Problem("lfs_pointer", "adapter_config.json is a git-LFS pointer")
    value = _parse_object(raw, CONFIG_LIMIT, "utf-8-sig")
    if isinstance(value, str):
        return Problem("bad_config", f"adapter_config.json: {value}")
    if _HALF.search(raw) and not _is_text(json.dumps(value, ensure_ascii=False)):
        return Problem("bad_config", "adapter_config.json: a text with half a surrogate pair")
    return value


def header_length(head: bytes, size: int | None) -> int | Problem:
    """The header length that the first 8 bytes declare, checked against bounds and the file's size."""
    if is_lfs_pointer(head):
        return Problem("lfs_pointer", "the weights are a git-LFS pointer, the file itself is missing")
    if len(head) < 8:
        return Problem("truncated", f"the file has {len(head)} bytes, a safetensors file has at least 8")
    length = int.from_bytes(head[:8], "little")
    if length > HEADER_LIMIT:
        return Problem("bad_header", f"the header declares {length} bytes, the limit is {HEADER_LIMIT}")
    if size is not None and 8 + length > size:
        return Problem("bad_header", f"the header declares {length} bytes, the file has {size}")
    return length


def parse_header(header: bytes, size: int | None) -> tuple[Tensor, ...] | Problem:
    """The tensors of a safetensors header (the JSON alone), sorted by name, or why not.

    Args:
        header: the N header bytes.
        size: the whole file's size in bytes where known; a file that is shorter than its tensors is `truncated`.

    As strict as the safetensors library: what passes here, it opens.
    """
    value = _parse_object(header, HEADER_LIMIT, "utf-8", _natural)
    if isinstance(value, str):
        return Problem("bad_header", f"safetensors header: {value}")
    if not _is_metadata(value.pop("__metadata__", None)):
        return Problem("bad_header", "safetensors header: __metadata__ is not a map of texts")
    tensors = []
    for name, entry in sorted(value.items()):
        tensor = _parse_tensor(name, entry)
        if tensor is None:
            return Problem("bad_header", f"safetensors header: tensor {name[:80]!r} is malformed")
        tensors.append(tensor)
    return _misplaced(tensors, 8 + len(header), size) or tuple(tensors)


def _misplaced(tensors: list[Tensor], head: int, size: int | None) -> Problem | None:
    """Why tensors do not lie end to end from byte `head` to the end of the file, or None."""
    end = 0
    for tensor in sorted(tensors, key=lambda t: (t.start, t.end)):
        if tensor.start != end:
            return Problem(
                "bad_header", f"safetensors header: {tensor.name[:80]!r} starts at {tensor.start}, not {end}"
            )
        end = tensor.end
    needed = head + end
    if size is not None and size < needed:
        return Problem("truncated", f"the tensors end at byte {needed}, the file has {size}")
    if size is not None and size > needed:
        return Problem("bad_header", f"the tensors end at byte {needed}, the file goes on to {size}")
    return None


def lora_shapes(tensors: tuple[Tensor, ...]) -> tuple[tuple[LoraShape, ...], tuple[str, ...]]:
    """LoRA pairs by module, and the names of all other tensors.

    A pair needs A (r × d_in) and B (d_out × r) of one rank; halves, 1-D tensors and a second tensor for the
    same side of a module count as other.
    """
    sides: dict[str, dict[str, Tensor]] = {}
    other = []
    for tensor in tensors:
        match = _LORA_KEY.fullmatch(tensor.name)
        pair = sides.setdefault(module_name(match["module"]), {}) if match else {}
        if match and len(tensor.shape) == 2 and match["side"] not in pair:
            pair[match["side"]] = tensor
        else:
            other.append(tensor.name)
    shapes = []
    for module, pair in sorted(sides.items()):
        a, b = pair.get("A"), pair.get("B")
        if a and b and a.shape[0] == b.shape[1] > 0:
            shapes.append(LoraShape(module, a.shape[0], a.shape[1], b.shape[0], a.dtype))
        else:
            other.extend(t.name for t in pair.values())
    return tuple(shapes), tuple(other)


def module_name(key: str) -> str:
    """The base's module name in a PEFT key: without `base_model.model.`, however often it repeats."""
    return _PREFIXES.sub("", key)


def base_modules(tensors: tuple[Tensor, ...]) -> dict[str, tuple[int, int]]:
    """Linear-like modules of a base from its checkpoint's header: name → (d_in, d_out)."""
    return {
        t.name.removesuffix(".weight"): (t.shape[1], t.shape[0])
        for t in tensors
        if t.name.endswith(".weight") and len(t.shape) == 2
    }


def _parse_tensor(name: str, entry: object) -> Tensor | None:
    if not isinstance(entry, Mapping) or len(entry) != 3:  # any field more is no writer's
        return None
    dtype, shape, offsets = entry.get("dtype"), entry.get("shape"), entry.get("data_offsets")
    if not (isinstance(dtype, str) and _naturals(shape) and _naturals(offsets) and len(offsets) == 2):
        return None
    start, end = offsets
    width = _DTYPE_BITS.get(dtype) if _is_text(name) else None
    if end < start or width is None or (end - start) * 8 != math.prod(shape) * width:
        return None
    if math.prod(size for size in shape if size) >> 60:  # the library counts in 64 bits, before it meets a 0
        return None
    return Tensor(name, dtype, tuple(shape), start, end)


def _is_metadata(value: object) -> bool:
    return value is None or (
        isinstance(value, Mapping) and all(_is_text(text) for pair in value.items() for text in pair)
    )


def _is_text(value: object) -> bool:
    """Whether it is a string that UTF-8 can hold: JSON may escape half a surrogate pair."""
    return isinstance(value, str) and not _SURROGATE.search(value)


def _naturals(value: object) -> TypeGuard[list[int]]:
    return isinstance(value, list) and len(value) <= 8 and all(type(n) is int and 0 <= n < 1 << 53 for n in value)


def _parse_object(raw: bytes, limit: int, encoding: str, whole: Callable[[str], int] = int) -> dict[str, Any] | str:
    """A JSON object, or a sentence about why not; `whole` reads its whole numbers."""
    if len(raw) > limit:
        return f"longer than {limit} bytes"
    try:
        text = raw.decode(encoding)
        value = json.loads(
            text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=whole
        )
    except UnicodeDecodeError as error:
        return f"not UTF-8 (byte {error.start})"
    except RecursionError:
        return "nested too deeply"
    except ValueError as error:
        return f"not JSON ({str(error)[:120]})"
    if not isinstance(value, dict):
        return f"a JSON {type(value).__name__}, not an object"
    return f"nested deeper than {DEPTH_LIMIT} levels" if _is_deep(value) else value


def _is_deep(value: object) -> bool:
    """Whether JSON is nested beyond the limit, level by level: code that walks it later may then recurse."""
    level: list[object] = [value]
    for _ in range(DEPTH_LIMIT):
        level = [child for item in level for child in _children(item)]
    return bool(level)


def _children(item: object) -> Iterable[object]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key appears twice")
    return result


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is beyond any number")
    return number


def _natural(text: str) -> int:
    if text == "-0":  # to the library no whole number; to Python it is 0
        raise ValueError("-0 is no natural number")
    return int(text)


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")
