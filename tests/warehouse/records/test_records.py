"""Records of the ledger: what is read as a record and written again is the row that it was, old rows too."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.adapters.adapter import AdapterId, Finding
from catalog.adapters.facts import RawAdapter, RepoListing
from catalog.adapters.parse import Problem
from catalog.bases.base import Base
from catalog.formats.detect import Evidence
from catalog.formats.tokenizer import TokenizerSays
from catalog.rules.table import WeightFacts
from catalog.wanted import Wanted
from warehouse.ledger.ledger import Ledger, fingerprint
from warehouse.records.bases import BaseChanges, BaseRow, known_bases
from warehouse.records.formats import (
    FormatsRow,
    PromptFiles,
    StoredFormats,
    StoredPromptFiles,
    keep_formats,
    keep_prompt_files,
    published_formats,
)
from warehouse.records.pages import INCREMENT, SWEEP, Pass, Passes, shown_repos, was_crawled
from warehouse.records.pool import Pool
from warehouse.records.raw import AdapterRead, ReadProblems, StoredReads, keep_reads
from warehouse.records.repos import RepoChanges, RepoRow, Repos
from warehouse.records.verdicts import StoredVerdicts, VerdictChanges, verdicts_on
from warehouse.records.weights import StoredWeights, WeightsRow

OLD = Path(__file__).parents[2] / "flows" / "old_home" / "ledger"
TARGET = "base:tiny/llama"


@pytest.fixture
def old(tmp_path: Path) -> Ledger:
    """A ledger that an older version wrote: two adapters of one base."""
    return Ledger(shutil.copytree(OLD, tmp_path / "old"))


@pytest.fixture
def new(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "new")


def hashes(ledger: Ledger, table: str) -> set[str]:
    """What the current rows hold, time and kept hash left out."""
    return {fingerprint(row) for row in ledger.current(table)}


def test_what_an_older_version_wrote_is_written_again_as_it_was(old: Ledger, new: Ledger) -> None:
    repos, changes = Repos(old), BaseChanges(new)

    RepoChanges(new).append(repos.rows(repos.listed()))
    VerdictChanges(new).append(verdicts_on(old, lambda key: True))
    for row in known_bases(old):
        changes.append(row)
    keep_reads(new, StoredReads(old).of(member.id for member in Pool(old, Wanted(("tiny/llama",))).members()))

    tables = ("repos", "verdicts", "bases", "raw")
    assert {table: len(hashes(old, table)) for table in tables} == {"repos": 2, "verdicts": 2, "bases": 1, "raw": 2}
    assert {table: hashes(new, table) for table in tables} == {table: hashes(old, table) for table in tables}


def test_a_tombstone_of_an_undated_repo_says_no_date_either(old: Ledger) -> None:
    repos = Repos(old)

    RepoChanges(old).append(row.buried("renamed", "bob/new") for row in repos.rows([(TARGET, "bob/animals")]))

    row = next(row for row in old.current("repos") if row["repo"] == "bob/animals")
    assert (row["gone"], row["gone_to"], row["created"]) == ("renamed", "bob/new", None)


def test_a_repo_comes_back_as_it_was_written(new: Ledger) -> None:
    listing = RepoListing("ann/one", "a" * 40, ("adapter_config.json",), ("peft",), "2026-01-01", 3, 1, True, False)
    row = RepoRow(TARGET, listing)

    RepoChanges(new).append([row])

    (stored,) = Repos(new).called("ann/one")
    assert replace(stored, content="", at=None) == row
    assert stored.content and stored.at


def test_reads_come_back_with_their_problems(new: Ledger) -> None:
    id_ = AdapterId("ann/one", "v2", "a" * 40)
    read = AdapterRead(id_, RawAdapter("{}", None, 8, "f" * 64, (Problem("truncated", "8 bytes came"),)))

    keep_reads(new, [read])

    stored = StoredReads(new)
    assert list(stored.of([id_, AdapterId("ann/two", "", "b" * 40)])) == [read]
    assert (id_ in stored, bool(stored.content(id_))) == (True, True)
    assert ReadProblems(new).of(id_) == read.raw.problems
    assert ReadProblems(new).of(AdapterId("ann/two", "", "b" * 40)) is None


def test_checked_weights_come_back(new: Ledger) -> None:
    row = WeightsRow("ann/one@a", WeightFacts(8, "f" * 64, ("x",), False), "why", 1.5, {"b": 2.0, "a": 1.0})

    StoredWeights(new).add(row)

    assert list(StoredWeights(new).of(["ann/one@a", "ann/two@a"])) == [row]


@pytest.mark.parametrize(
    ("norm", "non_finite", "zero_b"),
    [(0.0, (), True), (float("inf"), ("a product of A and B",), False), (1.0, (), False)],
)
def test_rows_that_looked_at_no_products_are_judged_by_their_norm(
    norm: float, non_finite: tuple[str, ...], zero_b: bool
) -> None:
    row = WeightsRow("ann/one@a", WeightFacts(8, "f" * 64, (), False), None, norm, {})

    assert row.judged_by(dora=False) == WeightFacts(8, "f" * 64, non_finite, zero_b)


@pytest.mark.parametrize("zero_b", [True, False])
def test_a_dora_is_never_judged_by_its_products(zero_b: bool) -> None:
    row = WeightsRow("ann/one@a", WeightFacts(8, "f" * 64, (), zero_b), None, 0.0, {"a": 0.0})

    assert row.judged_by(dora=True) == WeightFacts(8, "f" * 64, (), False)


def test_a_base_comes_back_and_so_does_why_one_cannot_be_had(new: Ledger) -> None:
    known = BaseRow("org/a", Base("org/a", "a" * 40, {"q": (2, 3)}, {"wte": (5, 2)}, "header"))
    lost = BaseRow("org/b", None, "The hub has no base org/b for our token.")
    changes = BaseChanges(new)

    changes.append(known)
    changes.append(lost)

    stored = known_bases(new)
    assert [(row.id, row.base, row.problem) for row in stored] == [
        ("org/a", known.base, None),
        ("org/b", None, lost.problem),
    ]


def test_a_pass_goes_on_where_it_was_noted(new: Ledger) -> None:
    assert not was_crawled(new)
    swept = Pass(TARGET, "2026-01-01", SWEEP, page=2, ended=True, newest="2026-01-01")
    going = Pass(TARGET, "2026-01-02", INCREMENT, page=1, next_url="/two", mark="2026-01-01", newest="2026-01-02")
    passes = Passes(new)
    passes.note(swept, ["ann/one"])
    passes.note(going, ["ann/two", "ann/three"])

    opened = Passes(new)

    assert (opened.last(TARGET), opened.last("tag:x")) == (going, None)
    at = opened.swept(TARGET)
    assert at and at <= datetime.now(UTC)
    assert shown_repos(new, TARGET, "2026-01-02") == {"ann/two", "ann/three"}
    assert was_crawled(new)


def test_a_sound_verdict_is_settled_by_duplicates_and_the_download(old: Ledger) -> None:
    sound = verdicts_on(old, lambda key: key.startswith("ann/"))[0]
    trouble = [Finding("unreachable", "no answer")]

    outcomes = [sound.settled("bob/x@1", None), sound.settled(None, None), sound.settled(None, trouble)]
    outcomes += [sound.settled(None, []), sound.settled(None, [Finding("zero_b", "all of it")])]

    assert [(one.reason, one.duplicate_of, one.downloaded) for one in outcomes] == [
        ("duplicate", "bob/x@1", False),
        (None, None, False),
        ("unreachable", None, False),
        (None, None, True),
        ("zero_b", None, True),
    ]


def test_a_stored_verdict_is_found_by_what_it_was_made_from(old: Ledger) -> None:
    verdicts = verdicts_on(old, lambda key: True)

    stored = StoredVerdicts(old)

    assert stored.by_inputs(but="no_reason") == {verdict.inputs: verdict.key for verdict in verdicts}
    assert [stored.is_sound(verdict.key) for verdict in verdicts] == [verdict.sound for verdict in verdicts]
    assert sorted(verdict.key for verdict in stored.of([verdicts[0].key])) == [verdicts[0].key]


def test_prompt_files_come_back_as_they_were_kept(new: Ledger) -> None:
    said = PromptFiles("ann/x@1", "# Card\n\0", TokenizerSays("{{ x }}", {"eos_token": "</s>"}, adds_begin=False))
    silent = PromptFiles("bob/x@1", "", TokenizerSays())

    keep_prompt_files(new, [said, silent])

    stored = StoredPromptFiles(new)
    assert list(stored.of(["ann/x@1", "bob/x@1", "cy/x@1"])) == [said, silent]
    assert ("bob/x@1" in stored, "cy/x@1" in stored) == (True, False)
    assert stored.content("ann/x@1") != stored.content("bob/x@1")


def test_evidence_is_of_a_base_and_an_adapter_and_one_that_is_silent_is_remembered(new: Ledger) -> None:
    own = Evidence("own", "tokenizer", 0.75, "seen", "Q: {input}", ("</s>",))
    chat = Evidence("base_chat", "base", 0.3, "a chat model")
    base = Base("org/base", "b" * 40, {})

    keep_formats(new, [FormatsRow("org/base", "ann/x@1", (own, chat), "1", "i", "t")])
    keep_formats(
        new, [FormatsRow("org/base", "bob/x@1", (), "1", "i"), FormatsRow("org/other", "ann/x@1", (), "1", "i")]
    )

    stored = StoredFormats(new, "org/base")
    assert stored.of(["ann/x@1", "bob/x@1", "cy/x@1"]) == {"ann/x@1": (own, chat), "bob/x@1": ()}
    assert [stored.holds("ann/x@1", *now) for now in (("i", "t"), ("i", ""), ("j", "t"), ("i", "u"))] == [
        *(True, True),
        *(False, False),
    ]
    assert [stored.holds("bob/x@1", "i", "t"), stored.holds("cy/x@1", "i", "")] == [False, False]
    rows = published_formats(new, base, ["ann/x@1", "bob/x@1"]).to_pylist()
    assert [(row["adapter"], row["base_sha"], row["place"], row["format"], row["stops"]) for row in rows] == [
        ("ann/x@1", "b" * 40, 1, "own", ["</s>"]),
        ("ann/x@1", "b" * 40, 2, "base_chat", []),
    ]
