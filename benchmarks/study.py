"""The study: what each strategy spends, and how good its picks are, replayed from one stored outcome matrix.

Knows: the strategies that are compared, the seeds, paired ratios to exhaustive's picks and their bounds, the plot.
Does not know: how outcomes were made (study_matrix), how a strategy decides (lorauter/racing/strategies).

    python -m benchmarks.study [--matrix FOLDER] [--seeds 200] [--out FOLDER]
    python -m benchmarks.study --synthetic            # a made-up matrix: tries the programs, shows nothing else

A seed deals every task's examples into a selection half, which strategies spend, and a held-out half, which judges
their picks; it also orders examples and adapters. Quality is the picks' held-out mean over tasks, divided by that of
exhaustive's picks under the same seed. The lower bounds are 2.5% points of a bootstrap of its mean: over seeds, and,
wider, over seeds and tasks, which says what might be with other tasks.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.study_outcomes import Deal, Outcomes, deal, read_outcomes
from benchmarks.study_synthetic import synthetic_outcomes
from lorauter.racing.halving import HalvingOptions
from lorauter.racing.strategies import Exhaustive, Problem, Racing, Seen, Strategy, paper_halving, product_halving

Floats = npt.NDArray[np.float64]
RESULTS = Path("benchmarks/results/study")
GAINS = (0.05, 0.03, 0.02, 0.015, 0.01, 0.007, 0.005, 0.003, 0.002, 0.001)
DRAWS = 2000


@dataclass(frozen=True, slots=True)
class Entry:
    """A strategy in the study.

    Args:
        family: its curve in the plot. told: whether it sees what cards say, names alone, or nothing.
        known: share of the adapters that an earlier run of the same strategy has been through and that are settled;
            their evaluations are not counted again.
    """

    name: str
    family: str
    strategy: Strategy
    told: Literal["cards", "names", "nothing"] = "cards"
    known: float = 0.0


def entries(room: int) -> list[Entry]:
    """All that are compared; exhaustive first."""
    exhaustive = Entry("exhaustive", "exhaustive", Exhaustive())
    paper = [Entry(f"paper {b}", "paper's halving", paper_halving(b, room)) for b in range(1, 16)]
    product = Entry("halving", "halving as shipped", product_halving(HalvingOptions()))
    race = [Entry(f"racing {g:g}", "racing", Racing(g)) for g in GAINS]
    named = [Entry(f"{e.name}, names", "racing, names alone", e.strategy, told="names") for e in race]
    blind = [Entry(f"{e.name}, no cards", "racing, no cards", e.strategy, told="nothing") for e in race]
    alone = [Entry(f"racing {g:g}, alone", "racing, each task and adapter alone", Racing(g, doubt=1e9)) for g in GAINS]
    grown = [Entry(f"{e.name}, 80% known", "racing, 80% of the pool known", e.strategy, known=0.8) for e in race]
    return [exhaustive, *paper, product, *race, *named, *blind, *alone, *grown]


@dataclass(frozen=True, slots=True)
class Played:
    """What one strategy did under one seed: evaluations as a share of all, its picks' held-out means, rounds."""

    share: float
    quality: Floats
    rounds: int


def play(entry: Entry, dealt: Deal) -> Played:
    """Ask until the strategy wants no more."""
    likeness = {"cards": dealt.problem.card_likeness, "names": dealt.names, "nothing": None}[entry.told]
    problem = replace(dealt.problem, card_likeness=likeness)
    counts = np.zeros((problem.tasks, problem.adapters), dtype=np.int64)
    known = int(entry.known * problem.adapters)
    if known:  # adapters come in the seed's order: the first ones were there before
        counts[:, :known] = _race(entry.strategy, _first(problem, known), dealt.selection[:, :known])[0].counts
        settled = np.broadcast_to(np.arange(problem.adapters) < known, counts.shape)
        problem = replace(problem, settled=settled)
    before = int(counts.sum())
    seen, picks, rounds = _race(entry.strategy, problem, dealt.selection, counts)
    everything = int(problem.room.sum()) * problem.adapters
    quality = dealt.held_out[np.arange(problem.tasks), picks]
    return Played((int(seen.counts.sum()) - before) / everything, quality, rounds)


def _race(
    strategy: Strategy, problem: Problem, scores: Floats, counts: npt.NDArray[np.int64] | None = None
) -> tuple[Seen, npt.NDArray[np.int64], int]:
    seen = Seen(scores, np.zeros(scores.shape[:2], dtype=np.int64) if counts is None else counts)
    rounds = 0
    while (step := strategy.next(problem, seen)).wants_more(seen):
        seen, rounds = Seen(scores, step.counts), rounds + 1
    return seen, step.picks, rounds


def _first(problem: Problem, adapters: int) -> Problem:
    cards = None if problem.card_likeness is None else problem.card_likeness[:, :adapters]
    return replace(problem, adapters=adapters, card_likeness=cards)


def replay(outcomes: Outcomes, seeds: int, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A line of figures for every entry, or for the named ones and exhaustive, over the seeds."""
    room = int((~np.isnan(outcomes.scores[:, 0])).sum(axis=1).mean()) // 2
    compared = [e for e in entries(room) if not names or e.name in ("exhaustive", *names)]
    played: dict[str, list[Played]] = {entry.name: [] for entry in compared}
    for seed in range(seeds):
        dealt = deal(outcomes, seed)
        for entry in compared:
            played[entry.name].append(play(entry, dealt))
    return figures(played, {entry.name: entry.family for entry in compared})


def figures(played: Mapping[str, Sequence[Played]], families: Mapping[str, str]) -> list[dict[str, Any]]:
    """One line an entry: mean share of exhaustive's evaluations, quality against exhaustive's picks, bounds."""
    best = np.stack([p.quality for p in played["exhaustive"]])
    return [
        {
            "strategy": name,
            "family": families[name],
            "share": round(float(np.mean([p.share for p in results])), 4),
            "quality": round(float(_ratios(np.stack([p.quality for p in results]), best).mean()), 4),
            **_bounds(np.stack([p.quality for p in results]), best),
            "rounds": round(float(np.mean([p.rounds for p in results])), 1),
        }
        for name, results in played.items()
    ]


def _ratios(quality: Floats, best: Floats) -> Floats:
    """Per seed: mean over tasks of the picks' held-out quality, over that of exhaustive's picks."""
    return np.asarray(quality.mean(axis=1) / best.mean(axis=1))


def _bounds(quality: Floats, best: Floats) -> dict[str, float]:
    """2.5% points of the bootstrapped mean ratio: over seeds, and over seeds and tasks."""
    rng = np.random.default_rng(0)
    seeds, tasks = quality.shape
    ratios = _ratios(quality, best)
    over_seeds = ratios[rng.integers(0, seeds, (DRAWS, seeds))].mean(axis=1)
    over_both = []
    for _ in range(DRAWS):
        chosen = np.ix_(rng.integers(0, seeds, seeds), rng.integers(0, tasks, tasks))
        over_both.append(_ratios(quality[chosen], best[chosen]).mean())
    return {
        "lower_bound": round(float(np.quantile(over_seeds, 0.025)), 4),
        "lower_bound_over_tasks": round(float(np.quantile(over_both, 0.025)), 4),
    }


def plot(lines: Sequence[Mapping[str, Any]], title: str, path: Path) -> None:
    """Quality against evaluations, a curve a family, bars down to the lower bound."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "lorauter", "svg.fonttype": "none"}  # equal figures give equal files
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    for family in dict.fromkeys(line["family"] for line in lines):
        points = sorted((n["share"], n["quality"], n["lower_bound"]) for n in lines if n["family"] == family)
        share, quality, low = np.asarray(points).T
        axes.errorbar(100 * share, quality, yerr=[quality - low, 0 * low], marker="o", ms=4, capsize=2, label=family)
    axes.axhline(0.98, color="grey", ls=":")
    axes.set(xscale="log", xlabel="evaluations, % of exhaustive (log)", title=title, ylim=(0.8, 1.02))
    axes.set_ylabel("held-out quality of the picks ÷ that of exhaustive's\n(bar: down to the 95% bound over seeds)")
    axes.set_xticks([1, 2, 5, 10, 20, 40, 100], ["1", "2", "5", "10", "20", "40", "100"])
    axes.legend(loc="lower right")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--matrix", type=Path, default=RESULTS, help="folder of outcomes.parquet and prior.json")
    parser.add_argument("--seeds", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--synthetic", action="store_true", help="a made-up matrix; writes no file without --out")
    parser.add_argument("--no-plot", action="store_true", help="without matplotlib")
    args = parser.parse_args()
    outcomes = synthetic_outcomes() if args.synthetic else read_outcomes(args.matrix)
    began = time.monotonic()
    lines = replay(outcomes, args.seeds)
    for line in lines:
        print(
            f"{line['strategy']:<28}{100 * line['share']:>7.1f}%{line['quality']:>9.4f}"
            f"  ≥ {line['lower_bound']:.4f} (tasks too: {line['lower_bound_over_tasks']:.4f})"
        )
    print(
        f"{len(outcomes.adapters)} adapters, {len(outcomes.tasks)} tasks, {args.seeds} seeds, "
        f"{time.monotonic() - began:.0f} s"
    )
    if args.synthetic and args.out == RESULTS:
        return
    _write(args.out, outcomes, args.seeds, lines)
    if not args.no_plot:
        plot(lines, f"{len(outcomes.adapters)} adapters, {len(outcomes.tasks)} tasks", args.out / "study.svg")


def _write(out: Path, outcomes: Outcomes, seeds: int, lines: Sequence[Mapping[str, Any]]) -> None:
    out.mkdir(parents=True, exist_ok=True)
    found = {"adapters": len(outcomes.adapters), "tasks": outcomes.tasks, "seeds": seeds, "strategies": lines}
    (out / "study.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
