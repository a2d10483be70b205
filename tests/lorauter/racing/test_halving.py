"""Successive halving: who goes on."""

from __future__ import annotations

from lorauter.racing.halving import (
    HalvingOptions,
    Standing,
    next_rung,
    ranked,
)

OPTIONS = HalvingOptions()


def test_the_better_half_goes_on_best_first() -> None:
    standings = [
        Standing(key, mean) for key, mean in zip("abcdefgh", (0.1, 0.8, 0.3, 0.9, 0.2, 0.7, 0.0, 0.6), strict=True)
    ]

    assert next_rung(standings, OPTIONS) == ["d", "b", "f", "h"]


def test_no_fewer_than_the_least_go_on() -> None:
    assert next_rung([Standing(key, 0.5) for key in "dcba"], OPTIONS) == ["a", "b", "c"]
    assert next_rung([Standing(key, 0.5) for key in "ba"], OPTIONS) == ["a", "b"]


def test_a_tie_goes_to_the_tasks_own_adapter_then_to_the_first_key() -> None:
    tied = [Standing("b", 0.5), Standing("c", 0.5, declared=True), Standing("a", 0.5), Standing("z", 0.6)]

    assert [standing.adapter for standing in ranked(tied)] == ["z", "c", "a", "b"]
