"""What a snapshot says of how adapters are asked: the text of every format that one was scored in, and its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from catalog.formats.detect import Evidence
from catalog.formats.filled import FilledFormat, filled
from catalog.formats.format import of_template
from catalog.formats.table import format_named
from warehouse.records.published_tasks import asked_formats, scored_evidence
from warehouse.snapshots.snapshot import Snapshot, publish

BASE = "org/base"
TOLD = {"base": BASE, "base_sha": "1"}
OWN, ALPACA = filled(of_template("{input} =>", stops=("\n\n",))), filled(format_named("alpaca"))
CHAT = FilledFormat(f"chat template of {BASE} 12345678", "<user>{input}</><me>")
PICK, OTHER, KNOWN, PLAIN = "ann/pick@1", "bob/other@1", "cy/known@1", "dan/plain@1"


def formats_of(key: str) -> FilledFormat | None:
    return {PICK: CHAT, OTHER: OWN, KNOWN: ALPACA}.get(key)


def tables() -> dict[str, list[dict[str, Any]]]:
    """One task: the pick in the base's chat template, one in a format of its own, one in a known, one in the task's."""
    evidence = [
        {"adapter": PICK, "place": 1, "format": "alpaca", "source": "card words", "confidence": 0.6},
        {"adapter": PICK, "place": 2, "format": "base_chat", "source": "tokenizer", "confidence": 0.5},
        {"adapter": OTHER, "place": 1, "format": "own", "source": "card text", "template": "{input}:", "stops": []},
        {"adapter": OTHER, "place": 2, "format": "own", "source": "card code", "template": "{input} =>"}
        | {"stops": ["\n\n"]},
    ]
    named = {key: one.name if (one := formats_of(key)) else None for key in (PICK, OTHER, KNOWN, PLAIN)}
    assert OWN
    return {
        "best": [{**TOLD, "task": "letters", "adapter": PICK, "format": CHAT.name, "template": CHAT.template}],
        "scores": [{**TOLD, "task": "letters", "adapter": key, "format": name} for key, name in named.items()],
        "templates": [
            {**TOLD, "format": one.name, "template": one.template, "stops": list(one.stops)} for one in (CHAT, OWN)
        ],
        "formats": [{**TOLD, **row} for row in evidence],
    }


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    return publish(tmp_path / "snapshots", tables(), {})


def test_every_scored_adapter_is_asked_in_its_format_published_or_not(snapshot: Snapshot) -> None:
    assert asked_formats(snapshot, BASE) == {
        ("letters", PICK): CHAT,
        ("letters", OTHER): OWN,
        ("letters", KNOWN): ALPACA,
    }


def test_the_text_is_the_snapshots_and_not_that_of_todays_table(tmp_path: Path) -> None:
    then = {**TOLD, "format": "alpaca", "template": "as it was: {input}", "stops": []}

    snapshot = publish(tmp_path / "snapshots", {**tables(), "templates": [then]}, {})

    assert asked_formats(snapshot, BASE)["letters", KNOWN].template == "as it was: {input}"


@pytest.mark.parametrize("lacks", ["file", "rows"])
def test_what_an_older_version_published_knows_the_picks_and_the_tables_formats(
    snapshot: Snapshot, tmp_path: Path, lacks: str
) -> None:
    """A snapshot of then has no such table; one of now carries the rows of other bases over as they were."""
    if lacks == "file":
        (snapshot.folder / "templates.parquet").unlink()
    else:
        snapshot = publish(tmp_path / "others", {**tables(), "templates": []}, {})

    assert asked_formats(snapshot, BASE) == {("letters", PICK): CHAT, ("letters", KNOWN): ALPACA}


def test_the_evidence_of_a_score_is_what_named_its_format(snapshot: Snapshot) -> None:
    evidence = scored_evidence(snapshot, BASE)

    assert evidence(PICK, CHAT.name) == Evidence("base_chat", "tokenizer", 0.5, "")
    assert OWN
    told = evidence(OTHER, OWN.name)
    assert told
    assert (told.source, told.template) == ("card code", "{input} =>")
    assert (evidence(KNOWN, "alpaca"), evidence(PLAIN, None)) == (None, None)


def test_a_snapshot_without_evidence_tells_none(snapshot: Snapshot) -> None:
    (snapshot.folder / "formats.parquet").unlink()

    assert scored_evidence(snapshot, BASE)(PICK, CHAT.name) is None
