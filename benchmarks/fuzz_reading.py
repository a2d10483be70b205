"""One hostile input before everything that reads it first, and what must hold of every answer.

Knows: the parsers, the rules, the safetensors library. Does not know: how inputs are made (fuzz_inputs), processes.
"""

from __future__ import annotations

import json
import os
import re
import signal
import tempfile
import time
import traceback
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from safetensors import SafetensorError, deserialize, safe_open

from benchmarks.fuzz_inputs import CONFIG, CONFIG_TEXT, HEADER_TEXT, MODULES, SHA, WEIGHTS, Input
from benchmarks.fuzz_packed import read_packed
from catalog.adapters.facts import AdapterFacts, RawAdapter, RepoListing, gather_facts, listing_from_json
from catalog.adapters.parse import (
    CONFIG_LIMIT,
    HEADER_LIMIT,
    Problem,
    Tensor,
    header_length,
    lora_shapes,
    parse_config,
    parse_header,
)
from catalog.adapters.safe_names import is_safe_path
from catalog.bases.base import Base
from catalog.bases.names import match_base
from catalog.bases.target_modules import expected_header_bytes
from catalog.rules.profile import profile
from catalog.rules.table import Policy, judge

CPU_SECONDS = 2.0  # the longest that one input may take, all calls together
KEPT = 20  # failures kept, one of a kind
SMALL = 1 << 16  # bytes of a file that is laid before the library whole
LARGE = 1 << 40  # bytes of the largest file that is laid before it sparse
LISTING = RepoListing("ann/x", SHA, (CONFIG, WEIGHTS))
BASE = Base("tiny/llama", SHA, dict.fromkeys(MODULES, (16, 32)), {"m.embed": (300, 16)})
_deserialize: Callable[[bytes], list[tuple[str, Any]]] = deserialize  # the library has no types


@dataclass(slots=True)
class Tally:
    """What was seen of many inputs."""

    inputs: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    library: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    failures: list[tuple[str, Input]] = field(default_factory=list)
    failed: int = 0

    def add(self, other: Tally) -> None:
        """Take over what another one saw."""
        self.inputs += other.inputs
        self.outcomes += other.outcomes
        self.findings += other.findings
        self.library += other.library
        self.slowest = {k: max(self.slowest.get(k, 0.0), v) for k, v in {**self.slowest, **other.slowest}.items()}
        self.failed += other.failed
        for message, given in other.failures:
            self.keep(message, given)

    def keep(self, message: str, given: Input) -> None:
        """Keep a failure, the shortest input of those alike."""
        alike = [i for i, (known, _) in enumerate(self.failures) if _sort(known) == _sort(message)]
        if not alike and len(self.failures) < KEPT:
            self.failures.append((message, given))
        elif alike and len(given.data) < len(self.failures[alike[0]][1].data):
            self.failures[alike[0]] = (message, given)


class Broken(Exception):
    """A promise that an answer breaks."""


class TooLong(BaseException):
    """Time is up. No `Exception`: nothing under test may swallow it."""


def read_one(given: Input, tally: Tally) -> None:
    """Read one input in every way, and note what came of it."""
    began = time.perf_counter()
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECONDS)
    try:
        outcome = READERS[given.target](given, tally)
    except (Exception, TooLong) as error:
        outcome = "failed"
        tally.failed += 1
        names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
        where = next(name for name in reversed(names) if name not in ("_demand", "_too_long"))
        tally.keep(f"{given.kind}: {type(error).__name__} in {where}: {str(error)[:200]}", given)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    tally.inputs[given.kind] += 1
    tally.outcomes[given.kind, outcome] += 1
    tally.slowest[given.kind] = max(tally.slowest.get(given.kind, 0.0), time.perf_counter() - began)


def _read_config(given: Input, tally: Tally) -> str:
    config = parse_config(given.data)
    text = _decoded(given.data)
    if text is not None:
        facts = gather_facts(LISTING, LISTING.adapters()[0], RawAdapter(text, HEADER_TEXT))
        _demand(isinstance(config, Problem) or facts.config == config, "text and bytes are read differently")
        _judge(facts, tally)
    if isinstance(config, Problem):
        return config.reason
    _demand(len(given.data) <= CONFIG_LIMIT, "a config beyond the limit is accepted")
    json.dumps(config, allow_nan=False)  # raises for what is no JSON: an infinity
    return "accepted"


def _read_file(given: Input, tally: Tally) -> str:
    """As the hub's client does: the first bytes, then as much as the header declares, never more."""
    length = header_length(given.data, given.size)
    if isinstance(length, Problem):
        return length.reason
    room = HEADER_LIMIT if given.size is None else min(HEADER_LIMIT, given.size - 8)
    _demand(0 <= length <= room, f"a header of {length} bytes where {room} can be")
    header = given.data[8 : 8 + length]
    tensors = parse_header(header, given.size)
    text = _decoded(header)
    if text is not None:
        facts = gather_facts(LISTING, LISTING.adapters()[0], RawAdapter(CONFIG_TEXT, text, given.size))
        _demand(facts.header_read != isinstance(tensors, Problem), "text and bytes are read differently")
        _judge(facts, tally)
    if not isinstance(tensors, Problem):
        _check_tensors(tensors, 8 + len(header), given.size)
    if len(header) == length:  # else the client stops before the header is read
        _compare(given, header, tensors, tally)
    return tensors.reason if isinstance(tensors, Problem) else "accepted"


def _read_listing(given: Input, tally: Tally) -> str:
    """A repo of a listing: whatever its names are, those that pass can be joined, shown and kept."""
    try:
        item = json.loads(given.data)
    except (ValueError, RecursionError):
        return "no JSON"
    if not isinstance(item, Mapping):
        return "no object"
    listing = listing_from_json(item)
    reasons = set()
    for adapter in listing.adapters()[:5]:
        facts = gather_facts(listing, adapter, RawAdapter(CONFIG_TEXT))
        findings = _judge(facts, tally)
        reasons |= set(findings)
        if "hostile_name" not in findings:
            _check_names((adapter.repo, adapter.name, *facts.files))
    return "hostile_name" if "hostile_name" in reasons else "accepted"


READERS: Mapping[str, Callable[[Input, Tally], str]] = {
    "config": _read_config,
    "file": _read_file,
    "listing": _read_listing,
    "body": lambda given, _: read_packed(given.data),
}


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise Broken(otherwise)


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _judge(facts: AdapterFacts, tally: Tally) -> list[str]:
    """All that is derived from facts, with no base and with one."""
    findings = judge(facts, BASE, Policy())
    for finding in (*findings, *judge(facts, None, Policy())):
        _demand(len(finding.evidence) <= 500, f"evidence of {finding.reason} has no bounds")
        _demand(_is_utf8(finding.evidence), f"evidence of {finding.reason} cannot be written")
    told = profile(facts, BASE, match_base(facts, [BASE]))
    _demand(_is_utf8("".join(str(getattr(told, f.name)) for f in fields(told))), "a profile cannot be written")
    expected = expected_header_bytes(facts.config or {}, BASE)
    _demand(expected is None or 0 <= expected <= HEADER_LIMIT, f"a header of {expected} bytes is expected")
    tally.findings[findings[0].reason if findings else "(none)"] += 1
    return [finding.reason for finding in findings]


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in text)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        _demand(not any(unicodedata.category(c).startswith("C") for c in name), "a control character in a name")
        path = os.path.normpath(f"/cache/{name}")
        _demand(path == f"/cache/{name}" and is_safe_path(name.replace(":", "/")), "a name leaves its folder")


def _check_tensors(tensors: Sequence[Tensor], head: int, size: int | None) -> None:
    end = 0
    for tensor in sorted(tensors, key=lambda t: (t.start, t.end)):
        _demand(0 <= tensor.start == end <= tensor.end, "tensors that do not lie end to end")
        end = tensor.end
    _demand(size is None or head + end == size, "tensors that do not fill the file")
    shapes, other = lora_shapes(tuple(tensors))
    _demand(2 * len(shapes) + len(other) == len(tensors), "tensors lost between pairs and others")


# Comparing with the safetensors library


def _compare(given: Input, header: bytes, tensors: tuple[Tensor, ...] | Problem, tally: Tally) -> None:
    """What the library refuses must be refused by us; the other way is counted."""
    size = given.size
    if size is None and not isinstance(tensors, Problem):
        size = 8 + len(header) + max((t.end for t in tensors), default=0)
    if size is None or size > LARGE or (size > SMALL and isinstance(tensors, Problem)):
        return
    opened = _opened(len(header).to_bytes(8, "little") + header, size)
    if isinstance(tensors, Problem):
        tally.library["both refuse" if isinstance(opened, str) else f"we alone refuse ({_sort(tensors.evidence)})"] += 1
        return
    _demand(not isinstance(opened, str), f"accepted, the library refuses: {opened}")
    _demand(opened == {(t.name, t.shape) for t in tensors}, "the library reads other tensors")
    tally.library["both open"] += 1


def _opened(head: bytes, size: int) -> set[tuple[str, tuple[int, ...]]] | str:
    """The library's tensors, or why it has none; of the sparse file only names and shapes are asked for."""
    try:
        if size <= SMALL:
            return {(name, tuple(entry["shape"])) for name, entry in _deserialize(head[:size].ljust(size, b"\0"))}
        with tempfile.NamedTemporaryFile() as file:
            file.write(head)
            file.truncate(size)
            with safe_open(file.name, "numpy") as weights:
                return {(name, tuple(weights.get_slice(name).get_shape())) for name in weights.keys()}  # noqa: SIM118
    except SafetensorError as error:
        return str(error)


def _sort(message: str) -> str:
    """What a message says without its names and numbers, so that failures alike count once."""
    return re.sub(r"'.*'|\".*\"|`.*`|\d+", "…", message)[:90]
