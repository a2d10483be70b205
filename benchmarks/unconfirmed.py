"""What it costs not to publish a winner that held-back examples do not confirm, replayed from the stored outcomes.

Knows: rules that look at the report's examples, what each would have published, what that is worth on examples that
neither chose nor confirmed. Does not know: strategies (the winner is the best of all on the selection examples).

    python -m benchmarks.unconfirmed [--seeds 300] [--json FILE]

A seed draws a pool and deals each task's examples: of a validation set of so many, 40% report and the rest choose, as
the product does; what is left judges.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from benchmarks.study_outcomes import Outcomes, read_outcomes

Floats = npt.NDArray[np.float64]
REPORT = 0.4
LEAST_JUDGES = 20  # examples that are left to judge a task
RULES: dict[str, Callable[[Floats, Floats], bool]] = {
    "publish the winner": lambda report, selection: True,
    "base where it loses": lambda report, selection: report.mean() >= 0,
    "base where it does not gain": lambda report, selection: report.mean() > 0,
    "base where it loses by two errors": lambda report, selection: report.mean() >= -2 * _error(report),
    "base where all examples say so": lambda report, selection: np.concatenate([report, selection]).mean() > 0,
}
"""Whether the winner is published, by its differences to the base on the report's and on the selection examples."""


def replay(outcomes: Outcomes, validation: int, pool: int, seeds: int) -> list[dict[str, float | str]]:
    """A row a rule: mean score on the judging examples, and shares of tasks.

    Args:
        validation: examples of a task's validation set.
        pool: adapters that are drawn.
        seeds: how many deals.
    """
    random, base = np.random.default_rng(0), outcomes.adapters.index("")
    others = [number for number in range(len(outcomes.adapters)) if number != base]
    sums = {rule: np.zeros(4) for rule in RULES}
    dealt = 0
    for _ in range(seeds):
        drawn = random.choice(others, size=min(pool, len(others)), replace=False)
        for scores in outcomes.scores:
            known = int(np.isfinite(scores[base]).sum())
            if known < validation + LEAST_JUDGES:
                continue
            order = random.permutation(known)
            report, choosing, judging = np.split(order, [round(validation * REPORT), validation])
            winner = drawn[int(np.argmax(scores[drawn][:, choosing].mean(axis=1)))]
            if scores[winner, choosing].mean() <= scores[base, choosing].mean():
                winner = base
            lifts = scores[winner] - scores[base]
            better = lifts[judging].mean()
            dealt += 1
            for rule, publishes in RULES.items():
                kept = winner != base and publishes(lifts[report], lifts[choosing])
                chosen = winner if kept else base
                score = scores[chosen, judging].mean()
                sums[rule] += [score, kept, winner != base and not kept and better > 0, kept and better < 0]
    names = ("score", "published", "good ones left out", "published at a true loss")
    return [
        {
            "validation": validation,
            "pool": pool,
            "rule": rule,
            **dict(zip(names, (total / dealt).tolist(), strict=True)),
        }
        for rule, total in sums.items()
    ]


def _error(values: Floats) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--matrix", type=Path, default=Path("benchmarks/results/study"))
    parser.add_argument("--seeds", type=int, default=300)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args(arguments)
    outcomes = read_outcomes(given.matrix)
    rows = [row for size in (10, 20, 40) for pool in (5, 62) for row in replay(outcomes, size, pool, given.seeds)]
    for row in rows:
        numbers = "  ".join(
            f"{name} {value:.4f}" for name, value in list(row.items())[3:] if not isinstance(value, str)
        )
        print(f"validation {row['validation']:>3}, pool {row['pool']:>2}: {row['rule']:<34} {numbers}")
    if given.json:
        given.json.write_text(json.dumps({"seeds": given.seeds, "report": REPORT, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
