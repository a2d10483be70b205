"""Decoding: how the next token is chosen, which texts end an answer, and how both are spelled in the ledger.

Knows: the constants, their bounds, the identity of a row's draws. Does not know: tensors (lorauter/engine/sampling),
engines.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from catalog.errors import SettingError
from lorauter.routing.routes import Mixture

LEAST_TEMPERATURE, MOST_TEMPERATURE = 1e-3, 1e3
STOPS = ("\n",)
"""What ends an answer unless others are given."""
_OPENINGS = ("<", "[", "{", "|", ">", "▁")  # what special tokens of bases begin with


@dataclass(frozen=True, slots=True)
class Decoding:
    """How the next token is chosen.

    Args:
        temperature: 0 takes the most probable token (greedy), above 0 one is drawn from softmax(logits / temperature).
        top_p: the draw is from the least set of most probable tokens whose probabilities add up to top_p or more
            (nucleus sampling, arXiv 1904.09751); 1 cuts nothing.
        top_k: the draw is from the top_k most probable tokens, of which top_p then takes its share; 0 cuts nothing.
            Tokens as probable as the last one stay with it, in both.
        seed: of the draws. A row's draws depend on it and on the row alone: see `row_key`.

    Raises:
        SettingError: one of them is out of range.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("temperature", (int, float)), ("top_p", (int, float)), ("top_k", int), ("seed", int)):
            given = getattr(self, name)
            if isinstance(given, bool) or not isinstance(given, kind) or not math.isfinite(given):
                raise SettingError(f"Decoding's {name} is {given!r}.", f"Use {_USE[name]}.")
        if self.temperature != 0 and not LEAST_TEMPERATURE <= self.temperature <= MOST_TEMPERATURE:
            raise SettingError(f"Decoding's temperature is {self.temperature}.", f"Use {_USE['temperature']}.")
        if not 0 < self.top_p <= 1:
            raise SettingError(f"Decoding's top_p is {self.top_p}.", f"Use {_USE['top_p']}.")
        if self.top_k < 0:
            raise SettingError(f"Decoding's top_k is {self.top_k}.", f"Use {_USE['top_k']}.")
        object.__setattr__(self, "temperature", float(self.temperature))  # 1 and 1.0 are spelled alike
        object.__setattr__(self, "top_p", float(self.top_p))

    @property
    def greedy(self) -> bool:
        """Whether nothing is drawn."""
        return self.temperature == 0


_USE = {
    "temperature": f"0 for the most probable token, or {LEAST_TEMPERATURE:g} to {MOST_TEMPERATURE:g} to draw one",
    "top_p": "a share above 0, and 1 to cut nothing",
    "top_k": "a number of tokens, and 0 to cut nothing",
    "seed": "a whole number",
}
GREEDY = Decoding()


def decoding_of(given: Mapping[str, Any]) -> Decoding:
    """Decoding from names and values of a file or a flow's parameters. Raises SettingError for a name it lacks."""
    unknown = given.keys() - {field.name for field in fields(Decoding)}
    if unknown:
        options = ", ".join(field.name for field in fields(Decoding))
        raise SettingError(f"Decoding has no {', '.join(sorted(map(str, unknown)))}.", f"Use {options}.")
    return Decoding(**given)


def stops_of(stop: str | Sequence[str]) -> tuple[str, ...]:
    """One stop or many as a tuple, in an order that does not depend on how they were given; empty ones say nothing."""
    given = (stop,) if isinstance(stop, str) else stop
    if not isinstance(given, Sequence) or not all(isinstance(one, str) for one in given):
        raise SettingError(f"stop is {stop!r}.", "Give a text, or a list of texts.")
    return tuple(sorted({one for one in given if one}))


def may_be_special(stop: str) -> bool:
    """Whether a stop may be, or begin with, a special token of a base: `<|im_end|>`, `[/INST]`, `</s>`."""
    return stop.startswith(_OPENINGS)


def row_key(decoding: Decoding, prompt: str, mixture: Mixture, sample: str) -> int:
    """128 bits that decide a row's draws: hash of the seed, the prompt, the adapters and what tells the sample apart.

    Weights are left out: they come from similarities that may be rounded otherwise in another batch, and a draw
    must not change with the last digit of one.
    """
    identity = [decoding.seed, prompt, sorted({adapter for adapter, _ in mixture}), sample]
    return int.from_bytes(hashlib.blake2b(json.dumps(identity).encode("ascii"), digest_size=16).digest(), "big")


def spelled(decoding: Decoding = GREEDY, stop: str | Sequence[str] = STOPS) -> str:
    """Decoding and stops as one text, which `read_spelled` reads. It is a condition of every output.

    "greedy" is greedy up to a line's end: the only kind that there was at first, so older ledgers stay valid.

    A stop that is a special token of the base had no effect in older ledgers, and now it ends an answer. Which tokens
    are special is not known here. So a decoding is spelled with a mark where one of its stops may be one, and older
    texts are not taken for its own. No other text can differ: the engine's version, which scores are kept by, stays.
    """
    chosen, stops = GREEDY if decoding.greedy else decoding, stops_of(stop)
    if (chosen, stops) == (GREEDY, STOPS):
        return "greedy"
    mark = {"special_stops": True} if any(map(may_be_special, stops)) else {}
    return json.dumps({**asdict(chosen), "stop": stops, **mark})


def read_spelled(text: str) -> tuple[Decoding, tuple[str, ...]]:
    """The inverse of `spelled`."""
    if text == "greedy":
        return GREEDY, STOPS
    told = json.loads(text)
    stops = stops_of(told.pop("stop"))
    told.pop("special_stops", None)
    return decoding_of(told), stops


def with_stops(text: str, further: Sequence[str]) -> str:
    """A spelling with further stops beside its own, as those of a prompt format."""
    decoding, stops = read_spelled(text)
    return spelled(decoding, [*stops, *further])
