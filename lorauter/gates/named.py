"""Gates by name: what a plan, a ledger and another machine can know of a gate.

Knows: names and candidates. Does not know: weights; how a gate is made of them (lorauter/gates/opening).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

from catalog.errors import SettingError

GATES = ("arrow", "spectr", "lag", "seqr")
_MARK = "gate:"  # no composition is called so: an older version refuses the spelling, and neither sums nor stores


@dataclass(frozen=True, slots=True)
class NamedGate:
    """A gate that is still to be made; two of one name and the same candidates are equal.

    Args:
        name: one of `GATES`, with its constants as they are by default.
        adapters: keys of its candidates, sorted, each once; see `named_gate`.
    """

    name: str
    adapters: tuple[str, ...]


def named_gate(name: str, adapters: Iterable[str]) -> NamedGate:
    """A gate over candidates in any order. Raises SettingError: there is none of that name."""
    if name not in GATES:
        raise SettingError(f"There is no gate {name!r}.", f"Choose one of: {', '.join(GATES)}.")
    return NamedGate(name, tuple(sorted(set(adapters))))


def spelled(gate: NamedGate) -> str:
    """A gate without its candidates as one text, which stands where a composition's does."""
    return json.dumps([_MARK + gate.name, {}])


def is_spelled(text: str) -> bool:
    """Whether a text is a gate's and no composition's."""
    return text.startswith(f'["{_MARK}')


def read_spelled(text: str, adapters: Iterable[str]) -> NamedGate:
    """The inverse of `spelled`. Raises SettingError: this version has no such gate."""
    name, _ = json.loads(text)
    return named_gate(name.removeprefix(_MARK), adapters)
