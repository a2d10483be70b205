"""A hub that means harm, over real HTTP: its names and texts are refused or shown clean."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from catalog.adapters.facts import RawAdapter, RepoListing
from catalog.bases.names import match_base
from catalog.rules.profile import profile
from catalog.rules.table import Policy, judge
from flows.screen.screen import printable
from tests.catalog.hub.hostile_hub import (
    BASE,
    CONFIG,
    CONFIG_TEXT,
    FILE,
    HEADER,
    SHA,
    WEIGHTS,
    Hostile,
    ask,
    facts_of,
    files,
    is_clean,
    listed,
    read,
    reasons,
    reply,
)

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


HOSTILE_NAMES = (
    "<script>alert(1)</script>",
    "a\x1b[2J\x1b[31mred",
    "a\r\nSet-Cookie: x",
    "a\u202egnp.exe",
    "a\u2028b",
    "\ud800",
    "../../../etc/passwd",
    "/etc/passwd",
    "x\x00y",
)


def entry(**changes: object) -> dict[str, Any]:
    siblings = [{"rfilename": name} for name in (CONFIG, WEIGHTS)]
    return {"id": "ann/x", "sha": SHA, "siblings": siblings, "tags": ["license:mit"], **changes}


def list_one(cache: Path, item: object) -> RepoListing:
    with Hostile(lambda request: reply(request, 200, json.dumps([item]).encode())) as hostile:
        return listed(ask(hostile.endpoint, cache))[0]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize(
    "place",
    [
        lambda name: {"id": name},
        lambda name: {"id": f"ann/{name}"},
        lambda name: {"sha": name},
        lambda name: {"siblings": [{"rfilename": CONFIG}, {"rfilename": name}]},
        lambda name: {"siblings": [{"rfilename": f"{name}/{CONFIG}"}]},
    ],
    ids=["repo", "repo's second half", "sha", "file", "folder"],
)
def test_a_hostile_name_is_refused_and_shown_clean(
    cache: Path, name: str, place: Callable[[str], dict[str, Any]]
) -> None:
    listing = list_one(cache, entry(**place(name)))
    found = judge(facts_of(RawAdapter(), listing), BASE, Policy())
    if name in listing.files and "/" in name:  # a file of another folder is never asked for, and so not judged
        assert name not in listing.files_in("")
    else:
        assert found[0].reason == "hostile_name"
    assert all(is_clean(finding.evidence) for finding in found)
    assert is_clean(printable(listing).replace("\n", ""))


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_licence_is_told_clean(cache: Path, name: str) -> None:
    listing = list_one(cache, entry(tags=[f"license:{name}", name]))
    findings = judge(facts_of(RawAdapter(), listing), BASE, Policy(licences=("mit",)))
    told = next(finding.evidence for finding in findings if finding.reason == "licence")
    assert is_clean(told) and told.endswith("is not among mit")
    assert is_clean(printable(listing.licence).replace("\n", ""))


@pytest.mark.parametrize("name", ["task_type", "bias", "peft_type", "\ud800"])
def test_half_a_surrogate_pair_in_a_config_goes_no_further(cache: Path, name: str) -> None:
    config = json.dumps(json.loads(CONFIG_TEXT) | {name: "\ud800"}).encode()
    facts = facts_of(read(files(adapter_config__json=config), cache))
    told = profile(facts, BASE, match_base(facts, [BASE]))
    texts = [str(value) for value in asdict(told).values()] + [f.evidence for f in judge(facts, BASE, Policy())]
    assert not any("\ud800" in text for text in texts)


def test_names_that_meet_on_a_disk_without_case_are_refused() -> None:
    listing = RepoListing("ann/x", SHA, (CONFIG, WEIGHTS, "Adapter_Model.safetensors"))
    facts = facts_of(RawAdapter(CONFIG_TEXT.decode(), HEADER.decode(), len(FILE)), listing)
    assert "colliding_names" in reasons(facts)


def test_a_repo_of_very_many_folders_is_taken_apart_in_time() -> None:
    listing = RepoListing("ann/x", SHA, tuple(f"{n}/{CONFIG}" for n in range(3_000)))
    began = time.monotonic()
    found = [listing.files_in(adapter.path) for adapter in listing.adapters()]
    assert len(found) <= 3_000 and set(found) == {(CONFIG,)}
    assert time.monotonic() - began < 0.5
