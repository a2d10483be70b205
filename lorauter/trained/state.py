"""A trained state as two files: NAME.safetensors and NAME.json.

Knows: the files, their bounds, the hash that is their identity. Does not know: what tensors mean, whether the state
fits a catalog (lorauter/trained/grounds).

A state may come from a stranger's snapshot: sizes, types, shapes and numbers are checked before anything is made of it,
and nothing is unpickled.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load, save

from catalog.adapters.parse import CONFIG_LIMIT, Problem, header_length, parse_config, parse_header
from catalog.errors import SettingError, SnapshotError

Tensors = Mapping[str, npt.NDArray[Any]]
Facts = Mapping[str, Any]
"""JSON values: what decided the tensors, and how training went. No time enters: equal fits have equal facts."""
MOST_BYTES = 2 << 30
MOST_TENSORS = 1 << 16
DTYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL")
"""What NumPy holds; bfloat16 is stored as F32."""


@dataclass(frozen=True, eq=False)
class TrainedState:
    """What training made.

    Args:
        tensors: NumPy arrays of DTYPES, finite.
        facts: see `lorauter.trained.grounds.Grounds.facts`; a fit adds its own, such as the losses.
        took: what enters no hash, such as seconds. It is not stored with the state.
    """

    tensors: Tensors
    facts: Facts
    took: Facts = field(default_factory=dict)

    @cached_property
    def sha(self) -> str:
        """SHA-256 of the safetensors bytes followed by the facts as canonical JSON."""
        return _sha(self.bytes, self.facts)

    @cached_property
    def bytes(self) -> bytes:
        """The tensors as a safetensors file; equal tensors give equal bytes."""
        made: bytes = save({name: np.ascontiguousarray(tensor) for name, tensor in sorted(self.tensors.items())})
        return made

    @property
    def router(self) -> str:
        """The router or gate that it is of."""
        return str(self.facts.get("router", ""))

    @property
    def file_name(self) -> str:
        """What its files are called without their ending, wherever states of many routers and bases lie."""
        return state_file(self.router, self.sha)

    def save(self, folder: Path, name: str) -> None:
        """Write the two files. The JSON comes last: without it there is no state."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.safetensors").write_bytes(self.bytes)
        (folder / f"{name}.json").write_text(facts_text(self.facts), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, name: str, sha: str = "") -> TrainedState:
        """Read the two files.

        Args:
            sha: what it must be, where that is known.

        Raises:
            SnapshotError: a file is missing, too large or damaged, or not the state that it should be.
        """
        weights, text = folder / f"{name}.safetensors", folder / f"{name}.json"
        facts = _facts(text)
        state = cls(_tensors(weights), facts)
        if sha and state.sha != sha:
            raise _damaged(weights, f"it is state {state.sha[:16]}, not {sha[:16]}")
        return state


ReadState = Callable[[str], TrainedState]
"""sha → the state. Raises SettingError where there is none of that hash here."""


def no_state(name: str) -> TrainedState:
    """Where nothing is trained, by a router's name. Raises SettingError."""
    raise untrained(name)


def no_state_here(sha: str) -> TrainedState:
    """Where no state can be looked up, by its hash. Raises SettingError."""
    raise SettingError(
        f"The trained state {sha[:16]} is not on this machine.",
        "Give the engine a `read_state`, or copy the file from the home's folder `trained`.",
    )


def untrained(name: str) -> SettingError:
    """The error for a router or gate that has to be trained first."""
    return SettingError(f"The router {name!r} is not trained for this catalog.", f"Train it: lorauter fit {name}.")


def state_file(router: str, sha: str) -> str:
    """Name of a state's files without their ending."""
    return f"{router}-{sha[:32]}"


def facts_text(facts: Facts) -> str:
    """Facts as their file has them."""
    return json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n"


def read_facts(path: Path) -> Facts:
    """The facts of a state's JSON file. Raises SnapshotError."""
    return _facts(path)


def _sha(tensors: bytes, facts: Facts) -> str:
    canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(tensors + canonical.encode()).hexdigest()


def _facts(path: Path) -> Facts:
    facts = parse_config(_read(path, CONFIG_LIMIT))
    if isinstance(facts, Problem):
        raise _damaged(path, facts.evidence)
    return facts


def _tensors(path: Path) -> Tensors:
    raw = _read(path, MOST_BYTES)
    length = header_length(raw[:8], len(raw))
    header = length if isinstance(length, Problem) else parse_header(raw[8 : 8 + length], len(raw))
    if isinstance(header, Problem):
        raise _damaged(path, header.evidence)
    if len(header) > MOST_TENSORS:
        raise _damaged(path, f"it has {len(header)} tensors, the limit is {MOST_TENSORS}")
    if odd := next((tensor for tensor in header if tensor.dtype not in DTYPES), None):
        raise _damaged(path, f"{odd.name[:80]} is {odd.dtype}, not one of {', '.join(DTYPES)}")
    try:
        tensors = load(raw)
    except (SafetensorError, ValueError, KeyError) as error:
        raise _damaged(path, str(error)[:200]) from error
    for name, tensor in tensors.items():
        if tensor.dtype.kind == "f" and not np.isfinite(tensor).all():
            raise _damaged(path, f"NaN or infinity in {name[:80]}")
    return dict(sorted(tensors.items()))


def _read(path: Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except OSError as error:
        raise _damaged(path, error.strerror or str(error)) from error
    if len(raw) > most:
        raise _damaged(path, f"it is larger than {most} bytes")
    return raw


def _damaged(path: Path, what: str) -> SnapshotError:
    return SnapshotError(
        f"The trained state {path} cannot be used: {what}.",
        f"Delete it and train anew: lorauter fit {path.stem.rpartition('-')[0] or path.stem}.",
    )


def shaped(state: TrainedState, name: str, *shape: int | None) -> npt.NDArray[Any]:
    """A tensor of a state whose shape is known; None stands for any size. Raises SnapshotError."""
    tensor = state.tensors.get(name)
    sizes = () if tensor is None else zip(shape, tensor.shape, strict=False)
    if tensor is None or tensor.ndim != len(shape) or any(wanted not in (None, size) for wanted, size in sizes):
        has = "is missing" if tensor is None else f"has the shape {tensor.shape}"
        raise unfit(state, f"{name} {has}, not {shape}")
    return tensor


def listed(state: TrainedState, name: str, wanted: Iterable[str] = ()) -> list[str]:
    """A list of different names among a state's facts, with those that are wanted. Raises SnapshotError."""
    names = state.facts.get(name)
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names) or len({*names}) < len(names):
        raise unfit(state, f"its fact {name} is no list of different names")
    if missing := sorted({*wanted} - {*names}):
        raise unfit(state, f"its fact {name} does not name {missing[0]!r}")
    return names


def unfit(state: TrainedState, why: str) -> SnapshotError:
    """The error for a state whose parts do not fit together."""
    return SnapshotError(
        f"The trained state of {state.router!r} cannot be used: {why}.", f"Train it anew: lorauter fit {state.router}."
    )
