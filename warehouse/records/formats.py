"""Rows of the ledger's tables `prompt_files` and `formats`: what may tell a prompt format, and what it tells.

Knows: the columns, in the ledger and in a snapshot. Does not know: how files are read (flows/score/prompt_files), how
formats are detected (catalog/formats).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import pyarrow as pa

from catalog.bases.base import Base
from catalog.formats.detect import Evidence
from catalog.formats.tokenizer import TokenizerSays
from warehouse.ledger.ledger import Ledger
from warehouse.schemas.columns import table_of
from warehouse.schemas.snapshot import SNAPSHOT
from warehouse.snapshots.snapshot import Snapshot

MOST_TRIES = 3  # runs in which a chat template is rendered that took too long before
_UNSEEN = (None, None, None)


@dataclass(frozen=True, slots=True)
class PromptFiles:
    """What the card and the tokenizer files of an adapter say.

    Args:
        adapter: its key.
        card: the start of its README.md, "" where it has none.
        tokenizer: its chat template and tokens.
    """

    adapter: str
    card: str
    tokenizer: TokenizerSays


class StoredPromptFiles:
    """The files of every adapter that were read: the hash of each at hand, the texts read when asked for."""

    def __init__(self, ledger: Ledger) -> None:
        self._index = ledger.index("prompt_files", ["content"])

    def __contains__(self, adapter: str) -> bool:
        return (adapter,) in self._index

    def content(self, adapter: str) -> str:
        """Hash of what was read of an adapter."""
        content: str = self._index.columns[(adapter,)][0]
        return content

    def of(self, adapters: Iterable[str]) -> Iterator[PromptFiles]:
        """What was read of those that were read, one fragment of the ledger in memory."""
        for row in self._index.rows((adapter,) for adapter in adapters):
            tokens = {entry["name"]: entry["token"] for entry in row["tokens"] or ()}
            tokenizer = TokenizerSays(row["chat_template"] or "", tokens, row["adds_begin"])
            yield PromptFiles(row["adapter"], row["card"] or "", tokenizer)


def keep_prompt_files(ledger: Ledger, read: Iterable[PromptFiles]) -> None:
    """Write what was read of adapters as one fragment."""
    ledger.stamp(
        "prompt_files",
        [
            {
                "adapter": one.adapter,
                "card": one.card,
                "chat_template": one.tokenizer.chat_template,
                "tokens": [{"name": name, "token": token} for name, token in sorted(one.tokenizer.tokens.items())],
                "adds_begin": one.tokenizer.adds_begin,
            }
            for one in read
        ],
    )


@dataclass(frozen=True, slots=True)
class FormatsRow:
    """What is known of the prompt format that an adapter was trained in.

    Args:
        base: id of the base that it is held against.
        adapter: its key.
        evidence: the surest first; () where nothing is said.
        detector: version of the detector.
        inputs: hash of detector and of all that it looked at, but the base's chat template.
        base_template: hash of the base's chat template; "" where it was not at hand.
        too_slow: runs so far in which its chat template took too long to render; 0 where it did not.
    """

    base: str
    adapter: str
    evidence: tuple[Evidence, ...]
    detector: str
    inputs: str
    base_template: str = ""
    too_slow: int = 0


class StoredFormats:
    """The current evidence on adapters of a base: at hand what tells whether it still holds."""

    def __init__(self, ledger: Ledger, base: str) -> None:
        self._base = base
        self._index = ledger.index("formats", ["inputs", "base_template", "too_slow"])

    def holds(self, adapter: str, inputs: str, base_template: str) -> bool:
        """Whether the evidence on an adapter still stands: nothing that it rests on has changed, or came to hand.

        Args:
            base_template: hash of the base's chat template; "" where it is not at hand, which changes nothing.
        """
        stored_inputs, stored_template, _ = self._index.columns.get((self._base, adapter), _UNSEEN)
        return stored_inputs == inputs and base_template in ("", stored_template)

    def too_slow(self, adapter: str, inputs: str) -> int:
        """Runs so far in which the chat template among these inputs took too long to render."""
        stored_inputs, _, runs = self._index.columns.get((self._base, adapter), _UNSEEN)
        return runs or 0 if stored_inputs == inputs else 0

    def of(self, adapters: Collection[str]) -> dict[str, tuple[Evidence, ...]]:
        """The evidence on those of the adapters that were looked at, by key."""
        rows = self._index.rows((self._base, adapter) for adapter in adapters)
        return {row["adapter"]: tuple(map(_evidence_of, row["evidence"] or ())) for row in rows}


def keep_formats(ledger: Ledger, rows: Iterable[FormatsRow]) -> None:
    """Write evidence as one fragment."""
    ledger.stamp("formats", [asdict(row) for row in rows])


def published_formats(ledger: Ledger, base: Base, adapters: Collection[str]) -> pa.Table:
    """The evidence on adapters of a base as a snapshot holds it: a row each."""
    rows = [
        {"base": base.id, "base_sha": base.sha, "adapter": adapter, "place": place, **asdict(evidence)}
        for adapter, every in StoredFormats(ledger, base.id).of(adapters).items()
        for place, evidence in enumerate(every, 1)
    ]
    return table_of(rows, SNAPSHOT["formats"][0])


def read_published_formats(snapshot: Snapshot, base: str) -> dict[str, tuple[Evidence, ...]]:
    """The evidence on adapters of a base as a snapshot holds it, by key, the surest first; an older one has none."""
    names = [field.name for field in fields(Evidence)]
    told: dict[str, list[Evidence]] = {}
    for row in snapshot.rows("formats", ["adapter", *names], base) if snapshot.holds("formats") else ():
        told.setdefault(row["adapter"], []).append(_published_evidence({name: row[name] for name in names}))
    return {adapter: tuple(every) for adapter, every in told.items()}


def _published_evidence(row: Mapping[str, Any]) -> Evidence:
    texts = {name: row[name] or "" for name in ("source", "reason", "template")}
    return _evidence_of({**row, **texts, "confidence": row["confidence"] or 0.0})


def _evidence_of(stored: Mapping[str, Any]) -> Evidence:
    return Evidence(**{**stored, "stops": tuple(stored["stops"] or ())})
