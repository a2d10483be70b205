"""Regular expressions from strangers, matched in bounded time.

Knows: how long all patterns of one adapter together may take, how long one pattern may be.
Does not know: what is matched, or why. A pattern that takes too long is undecided, never a hang.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import regex  # type: ignore[import-untyped,unused-ignore]  # the standard library's `re` knows no time limit

PATIENCE = 0.25  # seconds of this thread's own time; a sound adapter takes a hundredth of it
LENGTH_LIMIT = 32_768  # characters of one pattern; some tools write out every module
_PLAIN = regex.compile(r"[\w.\-]*", regex.ASCII)


class Undecided(Exception):
    """The patterns are too long, too slow, or no regular expressions."""


@dataclass(slots=True)
class Patience:
    """What is left of the time that one adapter's patterns may take. Every method may raise Undecided."""

    seconds: float = PATIENCE
    _began: float = field(default_factory=time.thread_time)

    def fullmatch(self, pattern: str, name: str) -> bool:
        """`re.fullmatch(pattern, name)`."""
        return self._run(pattern, name, whole=True) is not None

    def starts(self, pattern: str, name: str) -> bool:
        """`re.match(pattern, name)`."""
        return self._run(pattern, name) is not None

    def first_end(self, patterns: tuple[str, ...], name: str) -> str | None:
        r"""The first pattern with `re.match(rf"(.*\.)?({pattern})$", name)`, as PEFT reads the keys of rank_pattern."""
        self.spend()
        plain, others = _sorted_out(patterns)
        best = min((i for group in plain if (i := group.index_of(name)) is not None), default=len(patterns))
        matching = (i for i in others if i < best and self._run(rf"(.*\.)?({patterns[i]})$", name) is not None)
        best = next(matching, best)
        return patterns[best] if best < len(patterns) else None

    def layer_of(self, pattern: str, name: str) -> int | None:
        """The number in the group `idx` of `re.match(pattern, name)`, or None."""
        match = self._run(pattern, name)
        return int(match["idx"]) if match else None

    def spend(self) -> float:
        """The seconds left."""
        left = self.seconds - (time.thread_time() - self._began)
        if left <= 0:
            raise Undecided(f"its patterns take longer than {self.seconds} seconds")
        return left

    def _run(self, pattern: str, name: str, *, whole: bool = False) -> regex.Match[str] | None:
        left = self.spend()
        if len(pattern) > LENGTH_LIMIT:
            raise Undecided(f"a pattern of {len(pattern)} characters, the limit is {LENGTH_LIMIT}")
        try:
            compiled = _compiled(pattern)
            return (compiled.fullmatch if whole else compiled.match)(name, timeout=left)
        except TimeoutError:
            raise Undecided(f"the pattern {pattern[:120]!r} takes longer than {self.seconds} seconds") from None
        except (regex.error, RecursionError, OverflowError, MemoryError, ValueError) as error:
            raise Undecided(f"{pattern[:120]!r} is no regular expression ({str(error)[:120]})") from None


@dataclass(frozen=True, slots=True)
class _Alike:
    """Plain patterns of one length with their dots, which stand for any character, at the same places.

    A tool may name every module of a model: such keys are looked up, not tried one by one.
    """

    length: int
    dots: tuple[int, ...]
    places: Mapping[str, int]

    def index_of(self, name: str) -> int | None:
        """The place of the first of these patterns that matches the name's end."""
        start = len(name) - self.length
        if start < 0 or (start > 0 and name[start - 1] != "."):
            return None
        end = list(name[start:])
        for dot in self.dots:
            end[dot] = "."
        return self.places.get("".join(end))


@lru_cache(maxsize=8)
def _sorted_out(patterns: tuple[str, ...]) -> tuple[tuple[_Alike, ...], tuple[int, ...]]:
    """The plain patterns in groups, and the places of all others."""
    groups: dict[tuple[int, tuple[int, ...]], dict[str, int]] = {}
    others = []
    for place, pattern in enumerate(patterns):
        if _PLAIN.fullmatch(pattern):
            dots = tuple(i for i, c in enumerate(pattern) if c == ".")
            groups.setdefault((len(pattern), dots), {}).setdefault(pattern, place)
        else:
            others.append(place)
    return tuple(_Alike(length, dots, places) for (length, dots), places in groups.items()), tuple(others)


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> regex.Pattern[str]:
    return regex.compile(pattern)
