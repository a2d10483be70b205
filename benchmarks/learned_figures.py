"""Figures of learned routers: means with intervals, differences, and whether what the papers claim holds.

Knows: outcomes by system and seed, a bootstrap over items and seeds. Does not know: how outcomes are made.

A draw takes items of each task with replacement, the same for all systems, and seeds of a system with replacement, the
same for all systems of as many seeds: what is trained and its own start stay paired. With three seeds the second is
coarse; it is there so that one lucky seed does not pass for certainty. Tasks are not drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.learned_systems import BEFORE, LEARNED
from benchmarks.learned_world import THREE, TURN, Scores
from lorauter.evaluation.intervals import DRAWS, SEED, drawn_means, interval
from lorauter.evaluation.settings import NON_OOD, OOD, SEMI_OOD
from lorauter.evaluation.shares import Array

FEW = "few_shot"
LEVEL_WITH = 0.05
"""How far below another system still counts as level with it."""
HOLDS, FAILS, OPEN = "holds", "does not hold", "not told apart"
Outcomes = Mapping[tuple[str, int], Scores]
"""(system, seed) → scores, of one world."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What a paper claims, or what we ask: one system against another in a world.

    Args:
        level: no worse than LEVEL_WITH below, in place of better.
        by: who says so.
    """

    world: str
    system: str
    other: str
    by: str
    level: bool = False


LEARNS, BETTER = "learning learns something", "better than lorauter"
"""Asked by us, of all."""
KNOW_ALL = ("mhr", "poly")
"""Their skills have learned from every task, and they use no adapter of the pool: in semi-ood and ood they are not
asked, since nothing is taken from them there."""
CLAIMS: tuple[Claim, ...] = (
    Claim(NON_OOD, "dlp_lora", "oracle", "DLP-LoRA", level=True),
    Claim(TURN, "dlp_lora", "best part", "DLP-LoRA"),
    Claim(NON_OOD, "meteora", "oracle", "MeteoRA", level=True),
    Claim(NON_OOD, "meteora", "arrow", "MeteoRA"),
    Claim(TURN, "meteora", "selection", "MeteoRA"),
    Claim(TURN, "meteora", "told", "MeteoRA"),
    Claim(THREE, "meteora", "lorauter", "MeteoRA"),
    Claim(NON_OOD, "ramole", "even", "RAMoLE"),
    Claim(SEMI_OOD, "ramole", "even", "RAMoLE"),
    Claim(SEMI_OOD, "ramole", "selection", "RAMoLE"),
    Claim(OOD, "ramole", "even", "RAMoLE"),
    Claim(OOD, "ramole", "selection", "RAMoLE"),
    Claim(FEW, "lora_flow", "learned b", "LoRA-Flow"),
    Claim(FEW, "lora_flow", "lorahub", "LoRA-Flow"),
    Claim(FEW, "lora_flow", "told", "LoRA-Flow"),
    Claim(FEW, "lora_flow", "second skill", "LoRA-Flow"),
    Claim(FEW, "learned b", "lorahub", "LoRA-Flow"),
    Claim(FEW, "lorahub", "told", "LoRA-Flow"),
    Claim(NON_OOD, "mhr", "poly", "MHR"),
    Claim(FEW, "mhr", "poly", "MHR"),
    Claim(FEW, "poly", "shared", "Poly"),
    *(
        Claim(world, system, other, by)
        for world in (NON_OOD, SEMI_OOD, OOD, TURN)
        for system in LEARNED
        if world in (NON_OOD, TURN) or system not in KNOW_ALL
        for other, by in ((BEFORE[system], LEARNS), ("lorauter", BETTER))
        if other != "even"
    ),
)


class Figures:
    """Means of all systems of a world in every draw.

    Args:
        outcomes: of the world; every system has the same items.
    """

    def __init__(self, outcomes: Outcomes) -> None:
        keys = sorted(outcomes)
        tasks = sorted(next(iter(outcomes.values())))
        scores = [np.asarray([outcomes[key][task] for key in keys], dtype=np.float64) for task in tasks]
        means, drawn = np.stack([one.mean(axis=1) for one in scores], 1).mean(1), drawn_means(scores).mean(axis=1)
        self.seeds: dict[str, list[int]] = {}
        for system, seed in keys:
            self.seeds.setdefault(system, []).append(seed)
        self._rows = {system: [keys.index((system, seed)) for seed in seeds] for system, seeds in self.seeds.items()}
        self._means = {system: float(means[rows].mean()) for system, rows in self._rows.items()}
        self._drawn = {system: _over_seeds(drawn[rows]) for system, rows in self._rows.items()}
        self.by_seed = {system: [round(float(means[row]), 4) for row in rows] for system, rows in self._rows.items()}

    def mean(self, system: str) -> list[float]:
        """Mean over tasks and seeds: [value, low, high]."""
        return _figure(self._means[system], self._drawn[system])

    def difference(self, one: str, other: str) -> list[float] | None:
        """Of two systems' means; None where one of them has not been judged."""
        if one not in self._means or other not in self._means:
            return None
        return _figure(self._means[one] - self._means[other], self._drawn[one] - self._drawn[other])


def _over_seeds(drawn: Array) -> Array:
    """The mean over drawn seeds in every draw, (draws,), from (seeds, draws)."""
    seeds = len(drawn)
    counts = np.random.default_rng(SEED + seeds).multinomial(seeds, np.full(seeds, 1 / seeds), size=DRAWS)
    return np.asarray((counts.T * drawn).sum(axis=0) / seeds)


def _figure(value: float, drawn: Array) -> list[float]:
    low, high = interval(drawn)
    return [round(one, 4) for one in (value, float(low), float(high))]


def verdict(claim: Claim, difference: Sequence[float]) -> str:
    """It holds where the whole interval says so, and does not where not even the mean does."""
    value, low, _high = difference
    least = -LEVEL_WITH if claim.level else 0.0
    if low > least:
        return HOLDS
    return OPEN if value > least else FAILS


def figures_of(worlds: Mapping[str, Outcomes]) -> dict[str, Any]:
    """Everything that is told, from raw outcomes."""
    figures = {world: Figures(outcomes) for world, outcomes in worlds.items() if outcomes}
    told = []
    for claim in CLAIMS:
        difference = figures[claim.world].difference(claim.system, claim.other) if claim.world in figures else None
        if difference is not None:
            told.append(
                {
                    "world": claim.world,
                    "system": claim.system,
                    "against": claim.other,
                    "claim": "level" if claim.level else "above",
                    "by": claim.by,
                    "difference": difference,
                    "verdict": verdict(claim, difference),
                }
            )
    return {
        "worlds": {
            world: {
                "items": sum(len(scores) for scores in next(iter(worlds[world].values())).values()),
                "systems": {
                    system: {"mean": one.mean(system), "by_seed": one.by_seed[system], "seeds": one.seeds[system]}
                    for system in one.seeds
                },
            }
            for world, one in figures.items()
        },
        "claims": told,
    }


def lines(told: Mapping[str, Any]) -> list[str]:
    """The tables that are printed."""
    printed = []
    for world, one in told["worlds"].items():
        printed += ["", f"{world}: mean over tasks [95% over items and seeds], {one['items']} items"]
        for system, row in sorted(one["systems"].items(), key=lambda pair: -pair[1]["mean"][0]):
            value, low, high = row["mean"]
            seeds = " ".join(f"{mean:.3f}" for mean in row["by_seed"]) if len(row["seeds"]) > 1 else ""
            printed.append(f"  {system:<22}{value:.3f} [{low:.3f}, {high:.3f}]  {seeds}".rstrip())
    printed += ["", "claims: difference of the means [95%]"]
    for row in told["claims"]:
        value, low, high = row["difference"]
        pair = f"{row['system']} {'≥' if row['claim'] == 'level' else '>'} {row['against']}"
        printed.append(
            f"  {row['world']:<14}{pair:<36}{value:+.3f} [{low:+.3f}, {high:+.3f}]  {row['verdict']}  ({row['by']})"
        )
    if told.get("cost"):
        printed += ["", "cost: training, state, passes a query, answers a second as a share of lorauter's"]
    for system, row in (told.get("cost") or {}).items():
        printed.append("  " + _cost_line(system, row))
    return printed


def _cost_line(system: str, row: Mapping[str, Any]) -> str:
    spent = row.get("seconds")
    trained = "" if spent is None else f"{spent:7.1f} s {row['steps']:>5} steps {row['bytes'] / 1e6:6.1f} MB"
    speed = f"{row['speed']:.2f} [{row['slowest']:.2f}, {row['fastest']:.2f}]"
    return f"{system:<12}{trained:<32}{row['passes']:>4g} passes  {speed}"
