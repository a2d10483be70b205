"""A synthetic outcome matrix, for trying a strategy out before the real one is there. It proves nothing about adapters.

Knows: a made-up pool with the structure that we believe real ones have: every adapter has a home task and a kind;
tasks share answer formats, and an adapter that knows the format answers as often right as its favourite answer is;
skilled adapters tend to fail on the same examples. Does not know: any real outcome.
"""

from __future__ import annotations

import numpy as np

from benchmarks.study_outcomes import Outcomes

KINDS = {"strong": (0.2, 0.45), "rival": (0.15, 0.4), "middling": (0.0, 0.2), "weak": (-0.1, 0.08), "shuffled": (0, 0)}


def synthetic_outcomes(tasks: int = 8, strangers: int = 20, examples: int = 130, seed: int = 0) -> Outcomes:
    """Outcomes of the base, five adapters of each task (one a kind) and some that are at home nowhere here."""
    rng = np.random.default_rng(seed)
    majority = rng.choice([0.2, 0.25, 0.35, 0.5, 0.55], tasks)
    style = rng.integers(0, 3, tasks)
    home = np.concatenate([[-1], np.repeat(np.arange(tasks), len(KINDS)), np.full(strangers, -1)])
    margins = [rng.uniform(*KINDS[kind]) for _ in range(tasks) for kind in KINDS]
    margin = np.concatenate([[0.0], margins, np.zeros(strangers)])
    scores = np.zeros((tasks, len(home), examples))
    for task in range(tasks):
        answers = rng.random(examples) < majority[task]  # is the favourite answer the right one here?
        hardness = rng.random(examples)
        for adapter, at in enumerate(home):
            scores[task, adapter] = _scores(rng, answers, hardness, majority[task], margin[adapter], task, at, style)
    cards = np.where(home[None, :] == np.arange(tasks)[:, None], 0.45, 0.15) + 0.12 * rng.normal(
        size=(tasks, len(home))
    )
    names = tuple(f"task-{n}" for n in range(tasks)), tuple(f"adapter-{n}" for n in range(len(home)))
    return Outcomes(*names, scores, cards, cards)


def _scores(
    rng: np.random.Generator,
    answers: np.ndarray,
    hardness: np.ndarray,
    majority: float,
    margin: float,
    task: int,
    home: int,
    style: np.ndarray,
) -> np.ndarray:
    """One adapter's scores on one task: skill at home, the format's worth in its style, next to nothing elsewhere."""
    own_luck = rng.random(len(answers))
    if home == task:
        return (0.6 * hardness + 0.4 * own_luck < _stretched(majority + margin)).astype(float)
    if home >= 0 and style[home] == style[task]:
        return np.where(rng.random(len(answers)) < 0.7, answers, own_luck < majority).astype(float)
    return (own_luck < 0.05).astype(float)


def _stretched(share: float) -> float:
    """The threshold below which 0.6·u + 0.4·v lies with the wanted share, for uniform u and v."""
    grid = np.add.outer(0.6 * np.linspace(0, 1, 101), 0.4 * np.linspace(0, 1, 101)).ravel()
    return float(np.quantile(grid, min(max(share, 0.0), 1.0)))
