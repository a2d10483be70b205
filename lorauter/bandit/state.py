"""The policy's state: arms by name, what is resident, which lessons were learned; a file of numbers.

Knows: what belongs together, what makes a file whole. Does not know: where files lie, who answers, who scores.

One safetensors file holds it: the arrays, and beside them, as text of its header, a JSON object of the rest. Whatever
does not fit together is refused when it is read.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from catalog.errors import SettingError
from catalog.tasks.task import content_hash
from lorauter.bandit.arms import Arms, Floats
from lorauter.bandit.contexts import Basis
from lorauter.bandit.polar import Polar, PolarOptions

FORMAT = "1"
MOST_BYTES = 1 << 28
BASE_ARM = ""
"""The base alone: an arm that costs nothing to load."""
_NEXT = "Move the file away to go on with the one before it, or the whole folder to learn anew."


@dataclass(slots=True)
class PolarState:
    """A policy, and what it stands for.

    Args:
        polar: the policy.
        names: its arms, adapter keys; BASE_ARM first.
        basis: of its contexts.
        base: id of the base model.
        base_sha: its commit.
        encoder: hash of the encoder that made the contexts.
        load_cost: of an adapter, in units of score.
        seed: of the draws.
        version: how many files came before.
        learned: marks of the lessons that were learned, in their order.
    """

    polar: Polar
    names: tuple[str, ...]
    basis: Basis
    base: str
    base_sha: str
    encoder: str
    load_cost: float
    seed: int = 0
    version: int = 0
    learned: dict[str, None] = field(default_factory=dict)

    @property
    def lineage(self) -> str:
        """The same for states whose contexts mean the same: a lesson of another one teaches nothing."""
        numbers = hashlib.sha256(self.basis.mean.tobytes() + self.basis.directions.tobytes()).hexdigest()
        return content_hash([self.base, self.base_sha, self.encoder, self.seed, numbers])

    @property
    def resident(self) -> tuple[str, ...]:
        """Adapters that are to stay loaded, sorted."""
        kept = zip(self.names, self.polar.cached.tolist(), self.polar.allowed.tolist(), strict=True)
        return tuple(sorted(name for name, cached, allowed in kept if name and cached and allowed))


def fresh_state(
    options: PolarOptions, basis: Basis, base: str, base_sha: str, encoder: str, load_cost: float, seed: int
) -> PolarState:
    """A state that has learned nothing and knows the base alone."""
    polar = Polar.fresh(options, np.zeros(1), basis.d)
    return PolarState(polar, (BASE_ARM,), basis, base, base_sha, encoder, load_cost, seed)


def with_arms(state: PolarState, published: Iterable[str], also: Iterable[str] = ()) -> PolarState:
    """The state for a catalog: new adapters become arms, only published ones and the base may be chosen.

    Args:
        state: left as it is.
        published: adapter keys.
        also: further arms that lessons speak of.
    """
    old, allowed = state.polar, {BASE_ARM, *published}
    new = sorted({*allowed, *also} - {*state.names})
    names, d = (*state.names, *new), state.basis.d
    arms = Arms.fresh(len(new), d, old.options.ridge)
    costs = np.array([state.load_cost if name else 0.0 for name in names])
    cached = np.concatenate([old.cached, np.zeros(len(new), dtype=np.bool_)])
    polar = Polar(
        old.options, Arms(np.concatenate([old.arms.v, arms.v]), np.concatenate([old.arms.b, arms.b])), costs, cached
    )
    polar.epoch, polar.seen, polar.total, polar.contexts = old.epoch, old.seen, old.total, list(old.contexts)
    polar.pulls = np.concatenate([old.pulls, np.zeros(len(new), dtype=np.int64)])
    polar.allowed = np.array([name in allowed for name in names])
    return replace(state, polar=polar, names=names, learned=dict(state.learned))


def write_state(path: Path, state: PolarState) -> None:
    """Write the file, whole or not at all. Equal states give equal files."""
    from safetensors.numpy import save_file

    from warehouse.storage.files import write_atomically  # brings pyarrow, which routers' names need not

    polar = state.polar
    contexts = np.stack(polar.contexts) if polar.contexts else np.zeros((0, state.basis.d))
    arrays = {
        "v": polar.arms.v,
        "b": polar.arms.b,
        "costs": polar.costs,
        "cached": polar.cached,
        "allowed": polar.allowed,
        "pulls": polar.pulls,
        "contexts": contexts,
        "mean": state.basis.mean,
        "directions": state.basis.directions,
    }
    told = {name: getattr(state, name) for name in _TOLD}
    told |= {"format": FORMAT, "names": list(state.names), "learned": list(state.learned)}
    told |= {"options": asdict(polar.options), **{name: getattr(polar, name) for name in _COUNTS}}
    header = {"lorauter_polar": json.dumps(told, sort_keys=True)}
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_atomically(path, lambda part: save_file(whole, part, metadata=header))


def read_state(path: Path) -> PolarState:
    """The state of a file.

    Raises:
        SettingError: it is damaged, of another version, or its parts do not fit together.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"it has more than {MOST_BYTES} bytes")
        with safe_open(path, "np") as file:
            told = json.loads((file.metadata() or {})["lorauter_polar"])
            arrays = {name: file.get_tensor(name) for name in list(file.keys())}
        if told["format"] != FORMAT:
            raise ValueError(f"its format is {told['format']!r}, and this version reads {FORMAT!r}")
        return _state(told, arrays)
    except (*_FAULTS, SafetensorError) as error:
        cause = error.cause if isinstance(error, SettingError) else f"{type(error).__name__}: {str(error)[:200]}"
        raise SettingError(f"The policy's state in {path} cannot be used ({cause}).", _NEXT) from error


_MOST_COUNTED = 1 << 53
_FAULTS = (OSError, ValueError, LookupError, TypeError, ArithmeticError, RecursionError, SettingError)
"""What a file that lies can raise; NumPy's LinAlgError is a ValueError."""
_TOLD = ("base", "base_sha", "encoder", "load_cost", "seed", "version")
_COUNTS = ("epoch", "seen", "total")


def _state(told: dict[str, Any], arrays: dict[str, Any]) -> PolarState:
    """The state of a file's parts. Raises ValueError and others: they do not fit together."""
    _check_told(told)
    names = tuple(told["names"])
    count, d = len(names), len(arrays["b"][0])
    large = len(arrays["mean"])
    floats = {"v": (count, d, d), "b": (count, d), "costs": (count,), "mean": (large,), "directions": (large, d - 1)}
    shapes = {**floats, "cached": (count,), "allowed": (count,), "pulls": (count,)}
    shapes["contexts"] = (len(arrays["contexts"]), d)
    kinds = {**dict.fromkeys((*floats, "contexts"), "float64"), "pulls": "int64", "cached": "bool", "allowed": "bool"}
    for name, shape in shapes.items():
        if arrays[name].shape != shape or str(arrays[name].dtype) != kinds[name]:
            raise ValueError(f"{name} is {arrays[name].dtype} {arrays[name].shape}, not {kinds[name]} {shape}")
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not finite")
    if len({*names}) != count or names[:1] != (BASE_ARM,):
        raise ValueError("its arms are named twice, or the base is not the first")
    _check_numbers(arrays)
    polar = Polar(PolarOptions(**told["options"]), Arms(arrays["v"], arrays["b"]), arrays["costs"], arrays["cached"])
    polar.epoch, polar.seen, polar.total = (_count(told[name]) for name in _COUNTS)
    if polar.seen >= polar.length or polar.seen > polar.total or len(arrays["contexts"]) > polar.seen:
        raise ValueError("its counts do not fit together")
    polar.pulls, polar.allowed = arrays["pulls"], arrays["allowed"]
    polar.contexts = list(arrays["contexts"])
    return PolarState(
        polar,
        names,
        Basis(arrays["mean"], arrays["directions"]),
        base=told["base"],
        base_sha=told["base_sha"],
        encoder=told["encoder"],
        load_cost=float(told["load_cost"]),
        seed=_count(told["seed"]),
        version=_count(told["version"]),
        learned=dict.fromkeys(told["learned"]),
    )


def _check_told(told: dict[str, Any]) -> None:
    """Raise ValueError for a value of another kind."""
    for name in ("base", "base_sha", "encoder"):
        if not isinstance(told[name], str):
            raise ValueError(f"{name} is no text")
    for name in ("names", "learned"):
        if not isinstance(told[name], list) or not all(isinstance(one, str) for one in told[name]):
            raise ValueError(f"{name} is no list of texts")
    for name, value in {"load_cost": told["load_cost"], **told["options"]}.items():
        if isinstance(value, str) or value is None or not 0 <= value < math.inf:
            raise ValueError(f"{name} is {str(value)[:40]}")


def _check_numbers(arrays: dict[str, Floats]) -> None:
    if (arrays["costs"] < 0).any() or (arrays["pulls"] < 0).any():
        raise ValueError("a cost or a count is negative")
    if not np.array_equal(arrays["v"], arrays["v"].swapaxes(-1, -2)):
        raise ValueError("a V is not symmetric")
    np.linalg.cholesky(arrays["v"])


def _count(value: object) -> int:
    if isinstance(value, int) and value > _MOST_COUNTED:
        raise ValueError(f"more than {_MOST_COUNTED} is no count")
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
