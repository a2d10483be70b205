"""The bandit's simulation: what counts as regret, what caches keep, and that every policy can be run and told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.polar import Track, figures, lines, regret, run
from benchmarks.polar_plot import plot
from benchmarks.polar_policies import POLICIES, kept_with
from benchmarks.polar_worlds import Measured, Synthetic, World, best_fixed, blocks

STUDY = Path(__file__).parents[2] / "benchmarks" / "results" / "study"


@pytest.fixture
def world() -> World:
    return Synthetic("small", 1024, 3, 1.2)


def test_who_knows_all_and_keeps_the_best_cache_has_no_regret_and_another_cache_costs_paging_alone(
    world: World,
) -> None:
    star, runs = best_fixed(world), np.arange(world.seeds)
    other = np.roll(star, 1, axis=-1)

    def track(cache: np.ndarray) -> Track:
        known = np.concatenate([block.known for _start, block in blocks(world)])
        arms = (known - world.costs * ~cache).argmax(-1)
        everywhere = np.broadcast_to(cache, (world.requests, *cache.shape))
        return Track(arms, everywhere, np.zeros((world.requests, len(runs))))

    best, worse = regret(world, track(star), star), regret(world, track(other), star)

    assert not np.abs(best[0]).any()
    assert not np.abs(best[1]).any()
    assert not np.abs(worse[0]).any()
    assert (worse[1][-1] > 0).all()


def test_regret_is_what_the_best_fixed_cache_earned_more(world: World) -> None:
    star, runs = best_fixed(world), np.arange(world.seeds)
    policy = POLICIES["POLAR+"](world)
    track = run(world, policy)

    routing, paging = regret(world, track, star)

    earned, best = np.zeros(world.seeds), np.zeros(world.seeds)
    at = 0
    for _start, block in blocks(world):
        for place in range(len(block.contexts)):
            arm = track.arms[at]
            earned += block.worth[place, runs, arm] - world.costs[arm] * ~track.cached[at, runs, arm] - track.loads[at]
            net = block.worth[place] - world.costs * ~star
            best += net.max(-1)
            at += 1
    np.testing.assert_allclose((routing + paging)[-1], best - earned, atol=1e-8)


def test_a_full_cache_drops_what_is_least_worth_keeping_and_never_what_has_just_come() -> None:
    cached = np.array([[False, True, True, False], [False, True, False, False], [False, True, True, False]])
    worth = np.array([[9.0, 1.0, 2.0, 0.0], [9.0, 1.0, 2.0, 0.0], [9.0, 1.0, 2.0, 0.0]])
    costs = np.array([0.0, 0.1, 0.1, 0.1])

    kept = kept_with(cached, np.array([3, 3, 0]), worth, costs, 2)

    # It goes for the new one; there is room; the base takes no place.
    assert kept.tolist() == [
        [False, False, True, True],
        [False, True, False, True],
        [False, True, True, False],
    ]


def test_the_measured_world_has_the_studys_scores_and_turns_its_tasks_round_in_the_middle() -> None:
    steady, drift = (Measured("r", 4096, 2, STUDY, drift=turned) for turned in (False, True))

    first, last = steady.block(0, 64), drift.block(2048, 64)

    assert first.worth.shape == (64, 2, 63)
    assert set(np.unique(first.worth)) == {0.0, 1.0}
    np.testing.assert_allclose(np.linalg.norm(first.contexts, axis=-1), 1, atol=1e-4)
    np.testing.assert_array_equal(first.worth, drift.block(0, 64).worth)
    assert (last.worth != steady.block(2048, 64).worth).any()
    assert steady.costs[0] == 0
    assert (steady.costs[1:] > 0).all()


def test_every_policy_is_run_told_and_drawn(tmp_path: Path) -> None:
    found = [figures(Synthetic("one", 384, 2, 1.2), list(POLICIES), lambda _: None)] * 2

    table = lines(found[0])
    plot(found, tmp_path / "a.svg")
    plot(found, tmp_path / "b.svg")

    assert sorted(line[:28].strip() for line in table[2:]) == sorted(POLICIES)
    assert table[2].startswith("Belady")
    assert found[0]["policies"]["resident-only LinUCB"]["misses"] == 0
    assert found[0]["policies"]["POLAR+"]["above_polar_plus"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
