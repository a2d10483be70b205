"""POLAR's bandit simulated: regret of its forms and of what people use now, in made-up and in measured worlds.

Knows: runs, regret and its parts, figures with intervals. Does not know: worlds (polar_worlds), policies
(polar_policies), how figures are drawn (polar_plot).

    python -m benchmarks.polar --json benchmarks/results/polar.json --plot benchmarks/results/polar.svg

Regret is counted against the best fixed cache C*, chosen and used by who knows every θ; its first loads are free. It
has two parts. Routing: what another arm would have been worth, the cache being what it was. Paging: what C* in place of
that cache would have been worth, and what loads cost that no request asked for. A request's own load is its arm's.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.polar_plot import plot
from benchmarks.polar_policies import BETA, EPSILON, FIRST_EPOCH, FIXED_EPOCH, KAPPA, POLICIES, PolarPolicy, Policy
from benchmarks.polar_worlds import MEAN_COST, Block, Measured, Synthetic, World, best_fixed, blocks
from lorauter.bandit.arms import Bools, Floats, Ints
from lorauter.bandit.cache_choice import CacheProblem
from warehouse.storage.files import write_text

STUDY = Path(__file__).parent / "results" / "study"
LONG, SHORT = 65_536, 16_384
FIRST_POINT = 2_048
_DRAWS = 2_000
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Track:
    """What a policy did: (T, S) arms, (T, S, N) what was resident, (T, S) what loads unasked for cost."""

    arms: Ints
    cached: Bools
    loads: Floats


def run(world: World, policy: Policy) -> Track:
    """Every request of a world served by a policy."""
    shape = world.requests, world.seeds
    track = Track(
        np.zeros(shape, dtype=np.int64), np.zeros((*shape, len(world.costs)), dtype=np.bool_), np.zeros(shape)
    )
    runs = np.arange(world.seeds)
    for start, block in blocks(world):
        for place in range(len(block.contexts)):
            x, at = block.contexts[place], start + place
            arm = policy.choose(x, block.draws[place])
            track.arms[at], track.cached[at] = arm, policy.cached
            reward = block.worth[place, runs, arm] + block.noise[place]
            track.loads[at] = policy.learn(arm, x, reward)
    return track


def regret(world: World, track: Track, star: Bools) -> tuple[Floats, Floats]:
    """Cumulated over requests, (T, S) each: of routing and of paging."""
    routing, paging = np.empty(track.loads.shape), np.empty(track.loads.shape)
    for start, block in blocks(world):
        span = slice(start, start + len(block.contexts))
        of_arm = _net(world, block, track.arms[span], track.cached[span])
        of_cache = _best(world, block, track.cached[span])
        routing[span] = of_cache - of_arm
        paging[span] = _best(world, block, star) - of_cache + track.loads[span]
    return routing.cumsum(axis=0), paging.cumsum(axis=0)


def _best(world: World, block: Block, cached: Bools) -> Floats:
    """(n, S), the worth of the arm that who knows every θ takes with a cache."""
    return _net(world, block, (block.known - world.costs * ~cached).argmax(-1), cached)


def _net(world: World, block: Block, arms: Ints, cached: Bools) -> Floats:
    net = block.worth - world.costs * ~cached
    return np.asarray(np.take_along_axis(net, arms[..., None], -1)[..., 0])


def figures(world: World, names: Sequence[str], say: Callable[[str], None]) -> Figures:
    """Curves and final figures of every policy in a world."""
    star = best_fixed(world)
    found: dict[str, Any] = {}
    totals: dict[str, Floats] = {}
    for name in names:
        began = time.monotonic()
        policy = POLICIES[name](world)
        track = run(world, policy)
        routing, paging = regret(world, track, star)
        totals[name] = routing[-1] + paging[-1]
        missed = ~np.take_along_axis(track.cached, track.arms[..., None], -1)[..., 0] & (world.costs[track.arms] > 0)
        found[name] = {
            "points": (points := _points(world.requests)),
            "regret": [_interval((routing + paging)[at - 1]) for at in points],
            "routing": [_interval(routing[at - 1]) for at in points],
            "paging": [_interval(paging[at - 1]) for at in points],
            "slope": _slope([(routing + paging)[at - 1] for at in points], points),
            "misses": round(float(missed.mean()), 4),
            "seconds": round(time.monotonic() - began, 1),
        }
        if isinstance(policy, PolarPolicy):
            found[name]["greedy_gap"] = _greedy_gap(world, policy)
        say(f"{world.name}: {name}, {found[name]['seconds']:.0f} s")
    for name in names:
        found[name]["above_polar_plus"] = _interval(totals[name] - totals["POLAR+"])
    return {
        "name": world.name,
        "requests": world.requests,
        "seeds": world.seeds,
        "arms": len(world.costs),
        "resident": world.size,
        "d": world.d,
        "best_fixed_reward": round(float(_mean_reward(world, star)), 4),
        "policies": found,
    }


def _points(requests: int) -> list[int]:
    first = min(FIRST_POINT, requests)
    return [first << n for n in range(requests.bit_length()) if first << n <= requests]


def _interval(values: Floats) -> dict[str, float]:
    """Mean over seeds, with the 95% interval of a bootstrap over them."""
    drawn = np.random.default_rng(0).integers(len(values), size=(_DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return {"value": round(float(values.mean()), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def _slope(of_points: Sequence[Floats], points: Sequence[int]) -> dict[str, float] | None:
    """Of log mean regret over log requests, by a bootstrap over seeds; None where a mean is not above 0."""
    regrets = np.stack(of_points)
    drawn = np.random.default_rng(0).integers(regrets.shape[1], size=(_DRAWS, regrets.shape[1]))
    means = np.concatenate([regrets.mean(axis=1)[None], regrets[:, drawn].mean(axis=2).T])
    if (means <= 0).any() or len(points) < 2:
        return None
    x = np.log(np.array(points, dtype=np.float64))
    x -= x.mean()
    slopes = (np.log(means) * x).sum(axis=1) / (x**2).sum()
    low, high = np.quantile(slopes[1:], [0.025, 0.975])
    return {"value": round(float(slopes[0]), 3), "low": round(float(low), 3), "high": round(float(high), 3)}


def _greedy_gap(world: World, policy: PolarPolicy) -> dict[str, float]:
    """What the greedy cache is worth less than the best one, by what was learned: mean and most over runs."""
    block = world.block(0, 256)
    values = np.einsum("snd,tsd->stn", policy.polar.arms.theta, block.contexts)
    nothing = np.zeros(len(world.costs), dtype=np.bool_)
    gaps = []
    for of_run in values:
        problem = CacheProblem(of_run, world.costs, nothing, world.size, float(world.requests))
        gaps.append(problem.worth(problem.exact()) - problem.worth(problem.greedy()))
    return {"mean": round(float(np.mean(gaps)), 5), "most": round(float(np.max(gaps)), 5)}


def _mean_reward(world: World, star: Bools) -> float:
    return float(np.concatenate([_best(world, block, star) for _, block in blocks(world)]).mean())


def lines(world: Figures) -> list[str]:
    """The table of a world, least regret first."""
    told = [
        f"{world['name']}: {world['arms']} arms, {world['resident']} resident, d = {world['d']}, "
        f"{world['requests']:,} requests, {world['seeds']} seeds; C* earns {world['best_fixed_reward']:.3f} a request",
        f"{'policy':28}{'regret':>9}{'95%':>20}{'routing':>10}{'paging':>9}{'misses':>8}{'slope':>7}"
        f"{'over POLAR+':>26}",
    ]
    for name, of in sorted(world["policies"].items(), key=lambda item: float(item[1]["regret"][-1]["value"])):
        last, above = of["regret"][-1], of["above_polar_plus"]
        slope = f"{of['slope']['value']:.2f}" if of["slope"] else "–"
        told.append(
            f"{name:28}{last['value']:9.0f}{_span(last):>20}{of['routing'][-1]['value']:10.0f}"
            f"{of['paging'][-1]['value']:9.0f}{of['misses']:8.1%}{slope:>7}{above['value']:9.0f} {_span(above):>16}"
        )
    return told


def _span(interval: dict[str, float]) -> str:
    return f"[{interval['low']:.0f}, {interval['high']:.0f}]"


def worlds(seeds: int, shorter: int) -> list[World]:
    """The settings."""
    long, short = LONG // shorter, SHORT // shorter
    return [
        Synthetic("P: Zipf 1.2", long, seeds, 1.2),
        Synthetic("P: flat", long, seeds, 0.0),
        Measured("R: outcomes", short, seeds, STUDY),
        Measured("R: drift", short, seeds, STUDY, drift=True),
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--shorter", type=int, default=1, help="divide all lengths by this, for a first look")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path)
    args = parser.parse_args()
    began = time.monotonic()
    found = [figures(world, list(POLICIES), print) for world in worlds(args.seeds, args.shorter)]
    for world in found:
        print("\n" + "\n".join(lines(world)))
    constants = {
        **{"beta": BETA, "first_epoch": FIRST_EPOCH, "fixed_epoch": FIXED_EPOCH, "kappa": KAPPA},
        **{"epsilon": EPSILON, "mean_cost": MEAN_COST},
    }
    if args.json:
        whole = {"constants": constants, "seconds": round(time.monotonic() - began), "worlds": found}
        write_text(args.json, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    if args.plot:
        plot(found, args.plot)


if __name__ == "__main__":
    main()
