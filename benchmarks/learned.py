"""Do the directions that papers claim hold at this scale? Learned routers and gates against controls, three seeds each.

Knows: jobs, their order, what is kept. Does not know: worlds (learned_world), systems (learned_systems), few-shot
training (learned_few), figures and claims (learned_figures).

    lorauter --home HOME demo                                                  # a refreshed home; work on a copy
    python -m benchmarks.learned --home HOME --work WORK --minutes 35 --json OUT
    python -m benchmarks.learned --replay OUT-outcomes.json                    # tables from raw outcomes, in seconds

Worlds: the catalog's tasks in non-ood, semi-ood and ood, as `lorauter evaluate` has them; three tasks in one prompt,
answered at once or in turn (benchmarks/composites), which the catalog does not have; and few_shot, tasks of two skills
with their 40 training examples (learned_few). A system is trained anew for every seed, each time for at most --seconds.
Controls are judged once, since nothing of theirs is drawn; a start, before the first step, once a seed if it is drawn.

Several processes may work on one home and WORK at once: each takes what no other has taken. Killed or out of minutes,
the same command goes on. Seed by seed, so whatever is there when it ends can be told.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from benchmarks import learned_few
from benchmarks.learned_figures import figures_of, lines
from benchmarks.learned_systems import BEFORE, CONTROLS, DRAWN, LEARNED, control_routes, controls_of, selection
from benchmarks.learned_world import THREE, TURN, TWO, Bench, World
from benchmarks.turns import in_turn, median
from catalog.tasks.task import content_hash
from flows.home.home import open_home
from lorauter.evaluation.settings import NON_OOD, OOD, SEMI_OOD
from lorauter.routers import ROUTERS
from warehouse.storage.files import write_text

if TYPE_CHECKING:
    from lorauter.routing.routes import Routed

WORLDS = (NON_OOD, TURN, OOD, SEMI_OOD, THREE)
"""In the order in which they are judged."""
ONCE = (THREE,)
"""Judged with the first seed alone: no adapter of the pool joins answers, and all lie on the floor."""
FIT, COST = "fit", "cost"
TIMED = ("lorauter", "selection", "uniform", *LEARNED)
TIMED_ITEMS, TURNS, TOKENS = 2, 3, 8
Run = Callable[[Bench], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is about; another plan has outcomes of its own.

    Args:
        seconds: most of one training.
        items: test examples a task.
    """

    seconds: float = 75.0
    items: int = 10


@dataclass(frozen=True, slots=True)
class Job:
    """One part of the work.

    Args:
        world: a world, learned_few.FEW, FIT or COST.
        system: what is judged or trained.
        seed: of its training.
        run: makes its outcome.
        needs: systems whose training of the same seed comes first.
    """

    world: str
    system: str
    seed: int
    run: Run
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Of its file."""
        return f"{self.world}~{self.system}~{self.seed}"


def jobs_of(seeds: Sequence[int], worlds: Sequence[str], systems: Sequence[str]) -> list[Job]:
    """All jobs in their order: controls, then seed after seed."""
    first = seeds[0]
    jobs: list[Job] = []
    for seed in seeds:
        if seed == first:
            jobs += [job for world in worlds if world != learned_few.FEW for job in _controls(world, first)]
        jobs += [Job(FIT, name, seed, lambda bench, n=name, s=seed: _fit(bench, n, s)) for name in systems]  # type: ignore[misc]
        for world in worlds:
            if world in ONCE and seed != first:
                continue
            if world == learned_few.FEW:
                jobs += _few(seed, seed == first, systems)
                continue
            for name in systems:
                jobs.append(Job(world, name, seed, _judging(world, name, seed, start=False), (name,)))
                before = BEFORE[name]
                if name in DRAWN or (seed == first and before not in CONTROLS):
                    jobs.append(Job(world, before, seed, _judging(world, name, seed, start=True)))
        if seed == first:
            timed = tuple(system for system in TIMED if system not in LEARNED or system in systems)
            jobs.append(Job(COST, "all", seed, lambda bench, t=timed, s=seed: _cost(bench, t, s), tuple(systems)))  # type: ignore[misc]
    return jobs


def _controls(world: str, seed: int) -> Iterator[Job]:
    names = controls_of(World(world, NON_OOD, ()))
    for name in names:
        yield Job(world, name, seed, lambda bench, n=name: _judge_control(bench, bench.worlds[world], n))  # type: ignore[misc]


def _few(seed: int, is_first: bool, systems: Sequence[str]) -> Iterator[Job]:
    for name in (*(learned_few.CONTROLS if is_first else ()), *learned_few.LEARNED):
        needs = (name,) if name in learned_few.OF_A_STATE else ()
        if needs and name not in systems:
            continue
        yield Job(learned_few.FEW, name, seed, lambda bench, n=name: _few_shot(bench, n, seed), needs)  # type: ignore[misc]


def _fit(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    return {"cost": dict(bench.state(name, seed, start=False)[1])}


def _judge_control(bench: Bench, world: World, name: str) -> dict[str, Any]:
    routes, passes = control_routes(bench, world, name)
    return {"scores": bench.judged(world, routes), "passes": 1 + passes}


def _judging(world: str, name: str, seed: int, start: bool) -> Run:
    def judge(bench: Bench) -> dict[str, Any]:
        state, _cost = bench.state(name, seed, start)
        routes, passes = bench.routes(bench.worlds[world], ROUTERS[name], state)
        return {"scores": bench.judged(bench.worlds[world], routes), "passes": 1 + passes}

    return judge


def _few_shot(bench: Bench, name: str, seed: int) -> dict[str, Any]:
    tried = learned_few.few_shot(bench, name, seed)
    return {"scores": tried.scores, "cost": {"seconds": round(tried.seconds, 2)}}


def _cost(bench: Bench, systems: Sequence[str], seed: int) -> dict[str, Any]:
    """Seconds of one batch by every system, in turns, after one that does not count."""
    tasks = tuple(replace(task, test=task.test[:TIMED_ITEMS]) for task in bench.worlds[NON_OOD].tasks)
    world = World(NON_OOD, NON_OOD, tasks)
    prompts = [task.prompt(example.input) for task in tasks for example in task.test]
    routes: dict[str, Sequence[Routed]] = {}
    passes = {}
    for name in systems:
        state = bench.state(name, seed, start=False)[0] if name in LEARNED else None
        routes[name], extra = bench.routes(world, selection if name == "selection" else ROUTERS[name], state)
        passes[name] = 1 + extra
    ways = {name: partial(bench.timed, prompts, own, TOKENS) for name, own in routes.items()}
    timed: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(TURNS + 1):
        for name, way in in_turn(ways, turn):
            took = way()
            if turn:
                timed[name].append(took)
    speeds = {
        name: [other / one for one, other in zip(own, timed["lorauter"], strict=True)] for name, own in timed.items()
    }
    return {
        "rows": len(prompts),
        "tokens": TOKENS,
        "systems": {
            name: {
                "passes": passes[name],
                "seconds_a_batch": round(median(timed[name]), 3),
                "speed": round(median(own), 3),
                "slowest": round(min(own), 3),
                "fastest": round(max(own), 3),
            }
            for name, own in speeds.items()
        },
    }


@contextmanager
def claimed(path: Path) -> Iterator[bool]:
    """Whether this process has a file for itself; a process that dies lets go of it."""
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield True


def work_off(jobs: Sequence[Job], bench: Callable[[], Bench], folder: Path, until: float) -> bool:
    """Run what is not done, the first that can be run first, beside others who do the same. Whether all is done.

    Args:
        jobs: in their order.
        bench: opens it.
        folder: of outcomes.
        until: time after which no job begins.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while left := [job for job in jobs if not _file(folder, job.name).exists()]:
        if time.time() >= until:
            return False
        if not any(_run_alone(job, bench, folder) for job in left if _is_ready(job, folder)):
            time.sleep(1)
    return True


def _run_alone(job: Job, bench: Callable[[], Bench], folder: Path) -> bool:
    """Run a job unless another process has it; whether it was run."""
    with claimed(folder / f"{job.name}.lock") as mine:
        if not mine or _file(folder, job.name).exists():
            return False
        began = time.monotonic()
        made = {"world": job.world, "system": job.system, "seed": job.seed, **job.run(bench())}
        write_text(_file(folder, job.name), json.dumps(_rounded(made)) + "\n")
        print(f"{job.name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
    return True


def _is_ready(job: Job, folder: Path) -> bool:
    return all(_file(folder, f"{FIT}~{name}~{job.seed}").exists() for name in job.needs)


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.json"


def _rounded(made: dict[str, Any]) -> dict[str, Any]:
    if "scores" in made:
        made["scores"] = {task: [round(one, 4) for one in scores] for task, scores in made["scores"].items()}
    return made


def outcomes_in(folder: Path) -> list[dict[str, Any]]:
    """All outcomes that are there, by name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]


def told_of(outcomes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Figures, claims and costs from outcomes."""
    worlds: dict[str, dict[tuple[str, int], Any]] = {}
    for one in outcomes:
        if "scores" in one:
            worlds.setdefault(one["world"], {})[one["system"], one["seed"]] = one["scores"]
    told = figures_of(worlds)
    timed = next((one for one in outcomes if one["world"] == COST), None)
    fits = [one for one in outcomes if one["world"] == FIT]
    told["cost"] = _costs(timed, fits) if timed else {}
    told["fits"] = {f"{one['system']}, seed {one['seed']}": one["cost"] for one in fits}
    few = [one for one in outcomes if one["world"] == learned_few.FEW and one["cost"]["seconds"]]
    told["few_shot_seconds"] = {f"{one['system']}, seed {one['seed']}": one["cost"]["seconds"] for one in few}
    return told


def _costs(timed: Mapping[str, Any], fits: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """By system: its first seed's training beside its speed."""
    trained = {one["system"]: one["cost"] for one in reversed(fits)}
    return {name: {**trained.get(name, {}), **row} for name, row in timed["systems"].items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, help="a refreshed home: answers and trained states are kept in it")
    parser.add_argument("--work", type=Path, help="folder of outcomes and of trainings begun")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--worlds", default=",".join((*WORLDS, learned_few.FEW)))
    parser.add_argument("--systems", default=",".join(LEARNED))
    parser.add_argument("--seconds", type=float, default=Plan().seconds, help="most of one training")
    parser.add_argument("--items", type=int, default=Plan().items, help="test examples a task, its first")
    parser.add_argument("--minutes", type=float, default=1e9, help="after which nothing new begins")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--replay", type=Path, help="raw outcomes to tell, in place of a run")
    parser.add_argument("--json", type=Path, help="figures; raw outcomes are written beside it")
    args = parser.parse_args(arguments)
    torch.set_num_threads(args.threads)
    if args.replay:
        outcomes = json.loads(args.replay.read_text(encoding="utf-8"))["outcomes"]
        plan = json.loads(args.replay.read_text(encoding="utf-8"))["plan"]
    else:
        outcomes, plan = _run(args, parser)
    told = {"plan": plan, **told_of(outcomes)}
    print("\n".join(lines(told)))
    if args.json:
        write_text(args.json, json.dumps(told, indent=1) + "\n")
        raw = args.json.with_name(f"{args.json.stem}-outcomes.json")
        rows = ",\n".join(json.dumps(one) for one in outcomes)
        write_text(raw, f'{{"plan": {json.dumps(plan)}, "outcomes": [\n{rows}\n]}}\n')


def _run(args: argparse.Namespace, parser: argparse.ArgumentParser) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    if not args.home or not args.work:
        parser.error("give --home and --work, or --replay")
    plan = Plan(args.seconds, args.items)
    opened: list[Bench] = []

    def bench() -> Bench:
        if not opened:
            opened.append(Bench(open_home(home=args.home, storage=""), args.work, plan.items, plan.seconds))
        return opened[0]

    worlds = [name for name in args.worlds.split(",") if name == learned_few.FEW or name in bench().worlds]
    if TWO not in bench().worlds and learned_few.FEW in worlds:
        worlds.remove(learned_few.FEW)
    seeds = [int(seed) for seed in args.seeds.split(",")]
    folder = args.work / f"outcomes-{content_hash([asdict(plan), bench().snapshot.id], 8)}"
    jobs = jobs_of(seeds, worlds, args.systems.split(","))
    whole = work_off(jobs, bench, folder, time.time() + 60 * args.minutes)
    if not whole:
        print("Out of minutes: the same command goes on.", file=sys.stderr)
    return outcomes_in(folder), asdict(plan)


if __name__ == "__main__":
    main()
