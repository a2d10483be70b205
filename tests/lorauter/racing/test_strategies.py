"""Strategies: what each asks for next, what it picks, and that it says why."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lorauter.racing.halving import HalvingOptions
from lorauter.racing.strategies import (
    Exhaustive,
    Problem,
    Racing,
    Seen,
    Strategy,
    evaluations,
    nothing_seen,
    paper_halving,
    product_halving,
    without,
)
from lorauter.racing.strategies.base import Counts, Floats
from lorauter.racing.strategies.belief import believe
from lorauter.racing.strategies.racing import expected_gain

EVERY: tuple[Strategy, ...] = (Exhaustive(), paper_halving(15), product_halving(HalvingOptions()), Racing())


def _scores(qualities: Floats, examples: int = 100, seed: int = 0) -> Floats:
    return (np.random.default_rng(seed).random((*qualities.shape, examples)) < qualities[:, :, None]).astype(float)


def _run(strategy: Strategy, problem: Problem, scores: Floats, counts: Counts | None = None) -> tuple[Seen, Counts]:
    seen = Seen(scores, np.zeros(scores.shape[:2], dtype=np.int64) if counts is None else counts)
    while (step := strategy.next(problem, seen)).wants_more(seen):
        seen = Seen(scores, step.counts)
    return seen, step.picks


def _pool(tasks: int = 3, adapters: int = 24) -> tuple[Problem, Floats]:
    """Adapter 5·t is by far the best of task t; all others are poor everywhere."""
    qualities = np.full((tasks, adapters), 0.2)
    qualities[np.arange(tasks), 5 * np.arange(tasks)] = 0.9
    return Problem(np.full(tasks, 100), adapters), _scores(qualities)


@pytest.mark.parametrize("strategy", EVERY, ids=lambda s: s.name)
def test_every_strategy_finds_an_adapter_that_stands_out(strategy: Strategy) -> None:
    problem, scores = _pool()

    seen, picks = _run(strategy, problem, scores)

    assert picks.tolist() == [0, 5, 10]
    assert (seen.counts <= problem.room[:, None]).all()


@pytest.mark.parametrize("strategy", EVERY, ids=lambda s: s.name)
def test_a_strategy_reads_nothing_beyond_what_is_known(strategy: Strategy) -> None:
    problem, scores = _pool()
    counts = np.full((3, 24), 37)
    hidden = scores.copy()
    hidden[:, :, 37:] = np.nan

    open_step, hidden_step = (strategy.next(problem, Seen(given, counts)) for given in (scores, hidden))

    assert (open_step.counts.tolist(), open_step.picks.tolist()) == (
        hidden_step.counts.tolist(),
        hidden_step.picks.tolist(),
    )


def test_missing_evaluations_are_named_one_by_one_and_none_twice() -> None:
    problem = Problem(np.array([2, 3]), adapters=2)
    seen = replace(nothing_seen(problem), counts=np.array([[2, 1], [3, 0]]))

    missing = list(evaluations(Exhaustive().next(problem, seen), seen))

    assert missing == [(0, 1, 1), (1, 1, 0), (1, 1, 1), (1, 1, 2)]


def test_the_papers_halving_spends_what_the_paper_says() -> None:
    problem = Problem(np.array([200]), adapters=48)

    seen, _ = _run(paper_halving(15), problem, _scores(np.full((1, 48), 0.5), 200))

    assert seen.counts.sum() == 48 * 37 + 24 * 33 + 12 * 50 + 6 * 75
    assert f"{seen.counts.sum() / (48 * 200):.0%}" == "38%"


def test_the_products_halving_spends_what_its_rungs_say() -> None:
    problem = Problem(np.array([24]), adapters=27)

    seen, _ = _run(product_halving(HalvingOptions()), problem, _scores(np.full((1, 27), 0.5), 24))

    assert seen.counts.sum() == 27 * 3 + 14 * 3 + 7 * 6 + 4 * 12
    assert np.unique(seen.counts, return_counts=True)[1].tolist() == [13, 7, 3, 4]


@pytest.mark.parametrize("strategy", [Exhaustive(), Racing()], ids=lambda s: s.name)
def test_who_is_settled_meets_examples_only_as_the_leader(strategy: Strategy) -> None:
    problem, scores = _pool()
    earlier, _ = _run(strategy, replace(problem, adapters=20), scores[:, :20])
    known = np.pad(earlier.counts, ((0, 0), (0, 4)))
    settled = np.broadcast_to(np.arange(24) < 20, (3, 24))

    seen, picks = _run(strategy, replace(problem, settled=settled), scores, known)

    others = settled.copy()
    others[np.arange(3), picks] = False
    assert picks.tolist() == [0, 5, 10]
    assert (seen.counts[others] == known[others]).all()
    assert (seen.counts[:, 20:] >= 2).all()


def test_a_race_without_an_adapter_is_as_if_it_had_never_been_in_it() -> None:
    problem, scores = _pool()
    likeness = np.arange(72.0).reshape(3, 24)
    seen = Seen(scores, np.full((3, 24), 5))

    rest, left = without(replace(problem, card_likeness=likeness), seen, {0, 23})

    assert (rest.adapters, left.scores.tolist()) == (22, scores[:, 1:23].tolist())
    assert rest.card_likeness is not None
    assert rest.card_likeness.tolist() == likeness[:, 1:23].tolist()


def test_racing_spends_its_examples_on_close_calls() -> None:
    clear, close = np.full((10, 24), 0.1), np.full((10, 24), 0.1)
    clear[:, 0], close[:, 0], close[:, 1] = 0.9, 0.8, 0.7
    problem = Problem(np.full(20, 100), adapters=24)

    seen, picks = _run(Racing(), problem, _scores(np.concatenate([clear, close])))

    assert (picks[:10] == 0).all()
    assert set(picks[10:].tolist()) <= {0, 1}
    assert seen.counts[10:, 1].mean() > 5 * seen.counts[:10, 1].mean()
    assert seen.counts.sum() < 0.1 * 20 * 24 * 100


def test_racing_goes_on_from_what_an_earlier_run_found() -> None:
    problem, scores = _pool()
    earlier, _ = _run(Racing(), replace(problem, adapters=20), scores[:, :20])
    known = np.pad(earlier.counts, ((0, 0), (0, 4)))

    seen, picks = _run(Racing(), problem, scores, known)

    afresh, _ = _run(Racing(), problem, scores)
    assert picks.tolist() == [0, 5, 10]
    assert (seen.counts >= np.maximum(known, 2)).all()
    assert (seen.counts - known).sum() < 0.5 * afresh.counts.sum()


def test_racing_begins_again_where_the_leader_falls_back() -> None:
    scores = np.zeros((1, 2, 100))
    scores[0, 0, :6] = 1.0  # begins well, then fails at everything
    scores[0, 1, 2:] = np.tile([1.0, 1.0, 0.0], 40)[:98]
    scores[0, 1, 0] = 1.0
    problem = Problem(np.array([100]), adapters=2)

    _, picks = _run(Racing(), problem, scores)

    assert picks.tolist() == [1]


def test_an_adapter_that_stopped_has_its_reason_in_figures() -> None:
    problem, scores = _pool()
    seen, _ = _run(Racing(), problem, scores)

    step = Racing().next(problem, seen)

    met = int(seen.counts[1, 2])
    assert step.why(1, 5).startswith("leads after")
    assert f"against the leader, {met} examples in common: expected gain 0.00" in step.why(1, 2)


def test_halving_names_mean_and_place() -> None:
    problem, scores = _pool()
    seen, _ = _run(product_halving(HalvingOptions()), problem, scores)

    step = product_halving(HalvingOptions()).next(problem, seen)

    loser = int(np.flatnonzero(seen.counts[0] == 3)[0])
    mean = scores[0, loser, :3].mean()
    assert step.why(0, loser) == f"mean {mean:.2f} on 3 examples was not among the better of 24"


def test_belief_carries_strength_from_task_to_task() -> None:
    """Half of the adapters are good at everything; one of them has met nothing of the last task yet."""
    qualities = np.repeat(np.where(np.arange(24) % 2, 0.8, 0.2)[None], 4, axis=0)
    counts = np.full((4, 24), 20)
    counts[3, :2] = 0

    belief = believe(Problem(np.full(4, 40), 24), Seen(_scores(qualities, 40), counts))

    assert belief.mean[3, 1] - belief.mean[3, 0] > 0.3


def test_belief_takes_a_cards_word_as_far_as_cards_were_right() -> None:
    at_home = np.eye(4, 24)
    informative, idle = 0.2 + 0.6 * at_home, np.full((4, 24), 0.4)
    counts = np.full((4, 24), 20)
    problem = Problem(np.full(4, 40), 24, card_likeness=at_home)

    slopes = [
        (belief.mean * at_home).sum() / 4 - belief.mean.mean()
        for qualities in (informative, idle)
        for belief in [believe(problem, Seen(_scores(qualities, 40), counts))]
    ]

    assert slopes[0] > 0.4
    assert abs(slopes[1]) < 0.1


def test_expected_gain_of_an_even_chance_is_two_fifths_of_its_width() -> None:
    gain = expected_gain(np.array([0.0, -1.0, 1.0]), np.array([0.1, 0.1, 0.1]))

    assert np.round(gain, 4).tolist() == [0.0399, 0.0, 1.0]
