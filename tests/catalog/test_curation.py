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


def test_a_ban_outweighs_a_pin_whichever_came_first() -> None:
    pin, ban = act(PIN, "ann/own", "colours", day=2), act(BAN, "ann/own", "colours", day=3)
    earlier, elsewhere = act(BAN, "ann/own", day=1), act(BAN, "ann/own", "animals", day=1)

    best, decided, problem = choose(curation_of([pin, ban], ""), "colours", RIVAL, MET)

    assert (best, decided) == (RIVAL, None)
    assert problem == (
        "ann/own is pinned by ann on 2026-11-02: because, but it is banned by ann on 2026-11-03: because. "
        "The ban outweighs; lift one of them."
    )
    unseen = {key: scores for key, scores in MET.items() if key != OWN}  # banned for all tasks, it does not even race
    assert choose(curation_of([pin, earlier], ""), "colours", RIVAL, unseen)[2] == (
        "ann/own is pinned by ann on 2026-11-02: because, but it is banned by ann on 2026-11-01: because. "
        "The ban outweighs; lift one of them."
    )
    assert choose(curation_of([pin, elsewhere], ""), "colours", RIVAL, MET) == (OWN, pin, None)


def test_a_banned_winner_that_is_pinned_too_leaves_its_place_to_the_next_best() -> None:
    acts = [act(PIN, "eve/copy", "colours", day=1), act(BAN, "eve/copy", "colours", day=2)]

    best, decided, _ = choose(curation_of(acts, ""), "colours", BANNED, MET)

    assert (best, decided) == (RIVAL, acts[1])


def test_of_the_folders_that_a_pin_means_the_best_is_taken() -> None:
    pin = act(PIN, "dan/many", "colours")
    folders = {"dan/many:a@1": (0.0, 1.0), "dan/many:b@1": (1.0, 1.0), "dan/many:c@1": (1.0, 0.0, 0.0)}
    met = {"": (0.0, 0.0, 0.0), RIVAL: (1.0, 1.0, 1.0), **folders}
    banned = act(BAN, "dan/many:b", day=2)

    assert choose(curation_of([pin], ""), "colours", RIVAL, met) == ("dan/many:b@1", pin, None)
    assert choose(curation_of([pin], ""), "colours", "dan/many:c@1", met) == ("dan/many:c@1", pin, None)
    assert choose(curation_of([pin, banned], ""), "colours", RIVAL, met) == ("dan/many:a@1", pin, None)


def test_the_next_best_takes_a_banned_ones_place_and_else_the_base() -> None:
    bans = [act(BAN, "eve/copy", "colours"), act(BAN, "bob/rival"), act(BAN, "ann/own", "colours")]

    assert choose(curation_of(bans[:1], ""), "colours", BANNED, MET) == (RIVAL, bans[0], None)
    assert choose(curation_of(bans[:2], ""), "colours", BANNED, MET) == (OWN, bans[0], None)
    assert choose(curation_of(bans, ""), "colours", BANNED, MET) == ("", bans[0], None)


def test_one_that_is_no_better_than_the_base_takes_no_place() -> None:
    ban = act(BAN, "eve/copy")
    even = {"": (1.0, 0.0), OWN: (0.0, 1.0), BANNED: (1.0, 1.0)}

    assert choose(curation_of([ban], ""), "colours", BANNED, even) == ("", ban, None)
