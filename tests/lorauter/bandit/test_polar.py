"""The bandit against plain arithmetic: LinUCB step for step, the best cache by trying all, quotas of probes."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from catalog.errors import SettingError
from lorauter.bandit.arms import Arms, scores
from lorauter.bandit.cache_choice import CacheProblem, choose_cache
from lorauter.bandit.polar import Polar, PolarOptions

D, N = 4, 6


class PlainLinUcb:
    """LinUCB (Li et al. 2010, disjoint), written from its definition: one matrix and one vector an arm."""

    def __init__(self, arms: int, d: int, alpha: float) -> None:
        self.a = [np.eye(d) for _ in range(arms)]
        self.b = [np.zeros(d) for _ in range(arms)]
        self.alpha = alpha

    def choose(self, x):
        told = []
        for a, b in zip(self.a, self.b, strict=True):
            theta = np.linalg.solve(a, b)
            told.append(theta @ x + self.alpha * np.sqrt(x @ np.linalg.solve(a, x)))
        return told.index(max(told)), told

    def learn(self, arm, x, reward):
        self.a[arm] = self.a[arm] + np.outer(x, x)
        self.b[arm] = self.b[arm] + reward * x


def contexts(seed: int, count: int, d: int = D):
    x = np.random.default_rng(seed).normal(size=(count, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_without_costs_and_probes_it_is_linucb_step_for_step():
    truth = np.random.default_rng(1).normal(size=(N, D))
    polar = Polar.fresh(PolarOptions(size=2, beta=0.7, first_epoch=50, kappa=0), np.zeros(N), D)
    plain = PlainLinUcb(N, D, 0.7)
    chosen = []

    for x in contexts(2, 600):
        wanted, told = plain.choose(x)
        arm, propensity = polar.choose(x, np.float64(0.5))
        np.testing.assert_allclose(scores(polar.arms, x, 0.7, polar.costs, polar.cached), told, atol=1e-9)
        assert (int(arm), float(propensity)) == (wanted, 1.0)
        reward = truth[arm] @ x
        polar.learn(arm, x, reward)
        plain.learn(wanted, x, reward)
        chosen.append(int(arm))

    assert len(set(chosen)) == N  # the walk visited every arm, so every arm's arithmetic was compared


def test_a_load_costs_its_score_unless_the_arm_is_resident():
    arms = Arms(np.eye(2)[None].repeat(2, 0), np.array([[1.0, 0.0], [0.9, 0.0]]))
    x, costs = np.array([1.0, 0.0]), np.array([0.3, 0.3])

    cold = scores(arms, x, 0.5, costs, np.array([False, True]))

    np.testing.assert_allclose(cold, [1.0 + 0.5 - 0.3, 0.9 + 0.5])


def test_runs_side_by_side_are_runs_one_by_one():
    options = PolarOptions(size=2, first_epoch=32, kappa=0.2)
    costs = np.linspace(0, 0.2, N)
    truth = np.random.default_rng(3).normal(size=(2, N, D))
    xs = np.stack([contexts(4, 200), contexts(5, 200)], axis=1)
    draws = np.random.default_rng(6).random((200, 2))

    def run(which, runs):
        polar = Polar.fresh(options, costs, D, runs)
        for x, draw in zip(xs[:, which], draws[:, which], strict=True):
            arm, _ = polar.choose(x, draw)
            theta = truth[which][..., arm, :] if runs == () else truth[[0, 1], arm]
            polar.learn(arm, x, (theta * x).sum(-1))
        return polar

    both = run(np.array([0, 1]), (2,))

    for number in (0, 1):
        alone = run(number, ())
        np.testing.assert_array_equal(both.cached[number], alone.cached)
        np.testing.assert_allclose(both.arms.b[number], alone.arms.b, atol=1e-12)


def brute_force(problem: CacheProblem) -> float:
    """The best worth of any cache, from the objective as the paper writes it."""
    best = -np.inf
    for chosen in combinations(range(len(problem.costs)), problem.size):
        inside = np.isin(np.arange(len(problem.costs)), chosen)
        served = (problem.values - problem.costs * ~inside).max(axis=1).mean()
        best = max(best, served - problem.costs[inside & ~problem.before].sum() / problem.horizon)
    return best


@pytest.mark.parametrize("seed", range(20))
def test_the_exact_cache_is_the_best_of_all_and_the_greedy_one_close(seed):
    rng = np.random.default_rng(seed)
    values = rng.random((40, 9))
    problem = CacheProblem(values, rng.random(9) * 0.4, rng.random(9) < 0.3, 4, 20.0)

    exact, greedy = problem.exact(), problem.greedy()

    best = brute_force(problem)
    assert exact.sum() == greedy.sum() == 4
    assert problem.worth(exact) == pytest.approx(best, abs=1e-12)
    # A bound of theory for the part that is submodular: 1 − 1/e of the gain over nothing cached.
    none = (values - problem.costs).max(axis=1).mean()
    assert best >= problem.worth(greedy) - 1e-12
    assert problem.worth(greedy) - none >= (1 - 1 / np.e) * (best - none) - problem.costs.sum() / problem.horizon


def test_greedy_can_miss_the_best_cache_and_the_exact_choice_is_taken_where_caches_are_few():
    # One arm is decent everywhere, two are perfect on their half: greedy takes the decent one first.
    values = np.array([[0.6, 1.0, 0.0], [0.6, 0.0, 1.0]])
    problem = CacheProblem(values, np.ones(3), np.zeros(3, dtype=bool), 2, 1e9)

    assert problem.greedy().tolist() == [True, True, False]
    assert problem.exact().tolist() == choose_cache(problem).tolist() == [False, True, True]
    assert problem.worth(problem.exact()) - problem.worth(problem.greedy()) == pytest.approx(0.2)


def test_every_arm_gets_its_quota_of_rewards_in_every_epoch():
    polar = Polar.fresh(PolarOptions(size=2, first_epoch=128, kappa=0.5), np.full(N, 0.1), D)
    draws, pulls, quotas = np.random.default_rng(7), [], []

    for x in contexts(8, 128 + 256 + 512):
        arm, propensity = polar.choose(x, np.float64(draws.random()))
        assert 0 < propensity <= 1
        epoch, before, quota = polar.epoch, polar.pulls.copy(), polar.quota
        polar.learn(arm, x, np.float64(arm == 0))  # one arm is best everywhere: no other would be asked
        if polar.epoch > epoch:
            before[arm] += 1
            pulls.append(before.min())
            quotas.append(quota)

    assert quotas == [10, 12, 14]  # ⌈0.5 · 4 · ln 129⌉, of 385 and of 897
    assert all(least >= quota for least, quota in zip(pulls, quotas, strict=True))


def test_the_propensities_of_a_request_add_up_and_are_what_is_drawn():
    polar = Polar.fresh(PolarOptions(size=2, first_epoch=64, kappa=0.3), np.full(N, 0.1), D)
    x = contexts(9, 1)[0]

    drawn = [polar.choose(x, draw) for draw in (np.arange(4_000) + 0.5) / 4_000]

    told = {int(arm): float(propensity) for arm, propensity in drawn}
    shares = np.bincount([int(arm) for arm, _ in drawn], minlength=N) / 4_000
    assert sum(told.values()) == pytest.approx(1)
    np.testing.assert_allclose(shares, [told[arm] for arm in range(N)], atol=1e-3)


def test_an_arm_that_is_not_allowed_is_neither_chosen_nor_cached():
    polar = Polar.fresh(PolarOptions(size=3, first_epoch=64, kappa=0.3), np.full(N, 0.1), D)
    polar.allowed[2] = False
    draws = np.random.default_rng(10)
    chosen = set()

    for x in contexts(11, 200):
        arm, _ = polar.choose(x, np.float64(draws.random()))
        polar.learn(arm, x, np.float64(arm))
        chosen.add(int(arm))

    assert chosen == {0, 1, 3, 4, 5}
    assert polar.cached.sum() == 3
    assert not polar.cached[2]


def test_constants_that_make_no_sense_are_refused():
    with pytest.raises(SettingError, match="size 0"):
        PolarOptions(size=0)
