"""Gates by name: what a plan, a ledger and another machine can know of a gate.

Knows: which gates there are, names and candidates. Does not know: weights, engines (lorauter/gates/opening). Loads no
torch: a gate's module is loaded when the gate is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

from catalog.plugins import Registry
from lorauter.gates import from_state
from lorauter.gates.packaged import guarded
from lorauter.gates.protocol import GateParts, MakeGate, NamedGate, TokenGate


def _arrow(parts: GateParts) -> TokenGate:
    from lorauter.gates.arrow import ArrowGate

    return ArrowGate(parts.adapters, parts.singular)


def _spectr(parts: GateParts) -> TokenGate:
    from lorauter.gates.spectr import SpectrGate

    return SpectrGate(parts.adapters, parts.singular)


def _lag(parts: GateParts) -> TokenGate:
    from lorauter.gates.lag import LagGate

    return LagGate(parts.adapters, parts.singular)


def _seqr(parts: GateParts) -> TokenGate:
    """Not calibrated: its texts would have to travel with its name. See `lorauter.train.gate_calibration`."""
    from lorauter.gates.seqr import SeqrGate

    return SeqrGate(parts.adapters, parts.read)


GATES: Registry[MakeGate] = Registry(
    "lorauter.gates",
    "gate",
    {
        "arrow": _arrow,
        "spectr": _spectr,
        "lag": _lag,
        "seqr": _seqr,
        "meteora": from_state.meteora,
        "ramole": from_state.ramole,
        "lora_flow": from_state.lora_flow,
    },
    wanted="a function of lorauter.gates.protocol.GateParts",
    guarded=guarded,
)
"""By name: these, and those that packages bring (catalog/plugins)."""
TRAINED = frozenset(("meteora", "ramole", "lora_flow"))
"""Those that have to be trained (lorauter/train): their router names them with the state of the catalog."""
_MARK = "gate:"  # no composition is called so: an older version refuses the spelling, and neither sums nor stores


def named_gate(name: str, adapters: Iterable[str], state: str = "", part: str = "") -> NamedGate:
    """A gate over candidates in any order. Raises SettingError: there is none of that name."""
    GATES.check(name)
    return NamedGate(name, tuple(sorted(set(adapters))), state, part)


def spelled(gate: NamedGate) -> str:
    """A gate without its candidates as one text, which stands where a composition's does.

    Of a package's gate it holds package and version: another version's answers are other answers. Of a trained one it
    holds the state's hash, for the same reason, and which part of the state is meant.
    """
    settings = {"package": GATES.package(gate.name), "state": gate.state, "part": gate.part}
    return json.dumps([_MARK + gate.name, {name: value for name, value in settings.items() if value}])


def is_spelled(text: str) -> bool:
    """Whether a text is a gate's and no composition's."""
    return text.startswith(f'["{_MARK}')


def read_spelled(text: str, adapters: Iterable[str]) -> NamedGate:
    """The inverse of `spelled`. Raises SettingError: there is no such gate on this machine."""
    marked, settings = json.loads(text)
    name = marked.removeprefix(_MARK)
    GATES.check_package(name, settings.get("package", ""))
    return named_gate(name, adapters, settings.get("state", ""), settings.get("part", ""))
