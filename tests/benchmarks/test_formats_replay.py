"""The choice of formats on real outcomes: what it gives, and what it costs."""

from __future__ import annotations

import pytest

from benchmarks.formats_replay import RESULTS, World, read_outcomes, replay


@pytest.mark.parametrize("seed", [0, 1])
def test_adapters_reach_their_own_format_for_no_more_than_fifteen_in_a_hundred_more(seed: int) -> None:
    outcomes = read_outcomes(RESULTS)

    one, trials = (replay(outcomes, way, seed) for way in ("one template", "trials"))

    assert trials.own_share >= 0.95
    assert trials.published >= one.published
    assert trials.evaluations <= 1.15 * one.evaluations


def test_an_evaluation_counts_once_however_often_it_is_asked() -> None:
    world = World(read_outcomes(RESULTS), 0)
    replay_twice = [replay(world.outcomes, "told", 0) for _time in range(2)]

    assert replay_twice[0] == replay_twice[1]
    assert replay_twice[0].evaluations < sum(len(order) for order in world.order.values()) * len(world.pool)
