"""Curation: which acts hold, and what a task publishes by them."""

from __future__ import annotations

from datetime import UTC, datetime

from catalog.curation import BAN, FORCE, NOTE, PIN, UNBAN, UNPIN, Act, choose, curation_of

OWN, RIVAL, BANNED = "ann/own@1", "bob/rival:sub@2", "eve/copy@3"
MET = {"": (0.0, 0.0), OWN: (0.5, 1.0), RIVAL: (1.0, 1.0), BANNED: (1.0, 1.0)}


def act(kind: str, adapter: str = "", task: str = "", day: int = 1, base: str = "") -> Act:
    return Act(kind, adapter, task, base, "ann", "because", datetime(2026, 11, day, tzinfo=UTC))


def test_the_last_act_on_a_thing_holds_and_notes_all_do() -> None:
    acts = [
        act(NOTE, "ann/own", day=9),
        act(UNBAN, "bob/rival", day=4),
        act(BAN, "bob/rival", day=3),
        act(BAN, "bob/rival", "colours", day=2),
        act(PIN, "ann/own", "colours", day=5),
        act(PIN, "bob/rival", "colours", day=6),
        act(PIN, "ann/own", "animals", day=7),
        act(UNPIN, "ann/own", "animals", day=8),
        act(FORCE, day=10),
    ]

    held = curation_of(acts, "org/base").held

    assert held == (acts[3], acts[5], acts[0])


def test_an_act_for_one_base_says_nothing_of_another() -> None:
    ban = act(BAN, "ann/own", base="org/base")

    assert curation_of([ban], "org/base").held == (ban,)
    assert curation_of([ban], "org/other").held == ()


def test_an_adapter_is_meant_by_repo_by_folder_and_by_key() -> None:
    named = [act(BAN, name).means(RIVAL) for name in ("bob/rival", "bob/rival:sub", RIVAL, "bob/rival:other", "bob")]

    assert named == [True, True, True, False, False]


def test_nobody_decides_and_the_race_does() -> None:
    assert choose(curation_of([], ""), "colours", OWN, MET) == (OWN, None, None)


def test_a_pinned_adapter_is_published_whatever_the_race_says() -> None:
    pin = act(PIN, "ann/own", "colours")

    assert choose(curation_of([pin], ""), "colours", RIVAL, MET) == (OWN, pin, None)
    assert choose(curation_of([pin], ""), "animals", RIVAL, MET) == (RIVAL, None, None)


def test_a_pin_of_one_that_took_no_part_is_told_and_the_race_decides() -> None:
    best, decided, problem = choose(curation_of([act(PIN, "zoe/gone", "colours")], ""), "colours", OWN, MET)

    assert (best, decided) == (OWN, None)
    assert problem == "zoe/gone is pinned by ann on 2026-11-01: because, but took no part on colours."


def test_the_next_best_takes_a_banned_ones_place_and_else_the_base() -> None:
    bans = [act(BAN, "eve/copy", "colours"), act(BAN, "bob/rival"), act(BAN, "ann/own", "colours")]

    assert choose(curation_of(bans[:1], ""), "colours", BANNED, MET) == (RIVAL, bans[0], None)
    assert choose(curation_of(bans[:2], ""), "colours", BANNED, MET) == (OWN, bans[0], None)
    assert choose(curation_of(bans, ""), "colours", BANNED, MET) == ("", bans[0], None)


def test_one_that_is_no_better_than_the_base_takes_no_place() -> None:
    ban = act(BAN, "eve/copy")
    even = {"": (1.0, 0.0), OWN: (0.0, 1.0), BANNED: (1.0, 1.0)}

    assert choose(curation_of([ban], ""), "colours", BANNED, even) == ("", ban, None)
