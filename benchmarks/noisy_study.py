"""The study of noisy pools: what routed answers are worth as spoilt adapters are added, scored by the product itself.

Knows: the hub and the home of each size, what is asked, the figures. Does not know: how noise is made (noisy_pool),
how adapters are scored (flows/refresh) and routers judged (flows/evaluate), how the figures are drawn (noisy_plot).

    python -m benchmarks.noisy_pool --out POOL --off-task FOLDER               # first; see there
    python -m benchmarks.noisy_study --pool POOL --work WORK --items 5         # a first look
    python -m benchmarks.noisy_study --pool POOL --work WORK --json OUT.json --plot OUT.svg

A pool of 20 is honest, what a larger one has more is noise of five kinds in equal parts. Each size has a hub of its
own on loopback and a home of its own under WORK; nothing tells the product which adapters are spoilt. The same command
again makes no answer twice; one that was killed goes on, and its seconds of scoring are those of its last run.

A spoilt adapter that is chosen is no failure where it is as good: its score on the test examples stands beside the one
of the task's declared adapter, which is also what the oracle answers with.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from benchmarks.noisy_plan import HONEST
from benchmarks.noisy_pool import KINDS_NAME
from benchmarks.pool_home import furnish, hub_of_pool
from benchmarks.study_pool import names
from catalog.adapters.adapter import AdapterId
from catalog.errors import SettingError
from catalog.tasks.controls import scores_of
from catalog.tasks.task import Task
from flows.demo.build_pool import HUB
from flows.evaluate.evaluate import EvaluateOptions
from flows.evaluate.figures import report_of
from flows.home.home import Home, open_home
from flows.home.parts import conditions_on, open_outputs
from flows.mirror.server import serve_in_thread
from flows.prefect_runtime.setup import prepare_prefect, start_prefect
from flows.stages import evaluate
from lorauter.evaluation.settings import NON_OOD
from lorauter.routing.task_index import load_index
from warehouse.plans.plan import Work
from warehouse.snapshots.snapshot import Snapshot, current_snapshot
from warehouse.storage.files import write_text
from warehouse.tasks.folder import stored_tasks

SIZES = "20,60,200"
ROUTERS = "lorauter,discriminant,uniform,random,base"
HONEST_KIND = "honest"
_REFRESHED = "refreshed.json"
Figures = dict[str, Any]


def kinds_of(pool: Path, size: int) -> dict[str, str]:
    """Repo → kind, of the first `size` adapters.

    Raises:
        SettingError: the size is smaller than the honest pool, or the noisy pool too small or not made for it.
    """
    wanted = size - len(HONEST)
    told = pool / KINDS_NAME
    noisy: Mapping[str, Mapping[str, Any]] = json.loads(told.read_text(encoding="utf-8")) if told.exists() else {}
    made = [name for name in list(noisy)[: max(wanted, 0)] if (pool / "hub" / name).is_dir()]
    if not 0 <= wanted == len(made):
        raise SettingError(
            f"There is no pool of {size}: {len(HONEST)} adapters are honest, {pool} has {len(made)} of the others.",
            f"Make them: python -m benchmarks.noisy_pool --out {pool} --off-task FOLDER --count {max(wanted, 0)}.",
        )
    return {recipe.name: HONEST_KIND for recipe in HONEST} | {name: noisy[name]["kind"] for name in made}


def study(pool: Path, work: Path, size: int, routers: Sequence[str], items: int | None) -> Figures:
    """The figures of one size: what scoring found and spent, what its picks are, what each router is worth."""
    kinds = kinds_of(pool, size)
    root = work / f"size-{size}"
    repos = {repo: HUB / repo if (HUB / repo).is_dir() else pool / "hub" / repo for repo in kinds}
    hub = hub_of_pool(root / "hub", work / "world", repos)
    furnish(root, capacity=max(64, size))  # gates over the pool need room for all adapters
    with serve_in_thread(hub) as served:
        home = open_home(home=root, endpoint=served.endpoint, storage="")
        outcome = _refreshed(home, sorted(kinds))
        judged = _judged(home, routers, items)
        picks = _picks(home, kinds, items)
    return {"size": size, **outcome, **judged, **_summary(picks), "picks": picks}


def _refreshed(home: Home, repos: Sequence[str]) -> Figures:
    """Crawl, validate, score, publish; what it cost is kept, so a second run says what the first one measured.

    Raises:
        SettingError: the home is of a pool with other adapters.
    """
    kept = home.root / _REFRESHED
    if kept.exists():
        found = json.loads(kept.read_text(encoding="utf-8"))
        if found["repos"] != repos:
            raise SettingError(f"{home.root} is of a pool with other adapters.", "Give another --work.")
        return dict(found["outcome"])
    prepare_prefect(home.root)
    start_prefect()
    from flows.refresh import refresh

    began = time.monotonic()
    cost = refresh(home.reference)["evaluations"]
    admitted = sum(row["admitted"] for row in current_snapshot(home.snapshots).read("adapters"))
    outcome = {"admitted": admitted, "evaluations": cost, "seconds": round(time.monotonic() - began)}
    write_text(kept, json.dumps({"outcome": outcome, "repos": list(repos)}, indent=1) + "\n")
    return outcome


def _judged(home: Home, routers: Sequence[str], items: int | None) -> Figures:
    """Each router's mean over tasks and share of the oracle on the test examples, with intervals."""
    report = asdict(report_of(evaluate(home, EvaluateOptions(tuple(routers), settings=(NON_OOD,), items=items))))
    told = ("router", "composition", "average", "share", "difference", "refused")
    return {
        "snapshot": report["snapshot"],
        "items": sum(task["n"] for task in report["tasks"].values()),
        "intervals": report["intervals"],
        "routers": [{name: line[name] for name in told} for line in report["systems"]],
    }


def _picks(home: Home, kinds: Mapping[str, str], items: int | None) -> list[Figures]:
    """Each task's published and declared adapter with their kinds and means on the test examples."""
    snapshot = current_snapshot(home.snapshots)
    index = load_index(snapshot, home.settings.base)
    tasks = {task.name: replace(task, test=task.test[:items]) for task in stored_tasks(home.task_folder)}
    pairs = [(tasks[name], keys) for name, *keys in zip(index.tasks, index.best, index.declared, strict=True)]
    score = _test_scores(home, snapshot, [(task, key or "") for task, keys in pairs for key in keys])
    return [
        {
            "task": task.name,
            "pick": AdapterId.parse(best).repo if best else "",
            "kind": kinds[AdapterId.parse(best).repo] if best else "base",
            "is_declared": best == declared,
            "test": score[task.name, best or ""],
            "declared_test": score[task.name, declared or ""],
        }
        for task, (best, declared) in pairs
    ]


def _test_scores(home: Home, snapshot: Snapshot, wanted: Sequence[tuple[Task, str]]) -> dict[tuple[str, str], float]:
    """(task, adapter key, "" for the base) → mean over the test examples."""
    index = load_index(snapshot, home.settings.base)
    work = [
        Work(task.prompt(e.input), ((key, 1.0),) if key else (), task.max_new_tokens, task.name, e.id)
        for task, key in wanted
        for e in task.test
    ]
    conditions = conditions_on(home, index.base, index.base_sha)
    answers, _ = open_outputs(home).ensure(work, conditions, lambda _: None)
    left, found = iter(answers), {}
    for task, key in wanted:
        scores = scores_of(task, [next(left) for _ in task.test], task.test)
        found[task.name, key] = round(sum(scores) / len(scores), 4)
    return found


def _summary(picks: Sequence[Mapping[str, Any]]) -> Figures:
    """How many picks are of each kind, and what all of them score beside the declared adapters."""
    return {
        "picks_by_kind": dict(sorted(Counter(pick["kind"] for pick in picks).items())),
        "picks_declared": sum(pick["is_declared"] for pick in picks),
        "picks_test": round(sum(pick["test"] for pick in picks) / len(picks), 4),
        "declared_test": round(sum(pick["declared_test"] for pick in picks) / len(picks), 4),
    }


def lines(found: Sequence[Figures]) -> list[str]:
    """The table: a column a size."""
    rows = {
        "adapters": [str(one["size"]) for one in found],
        "admitted": [str(one["admitted"]) for one in found],
        "evaluations": [f"{one['evaluations']['spent']:,}" for one in found],
        "of exhaustive": [f"{one['evaluations']['spent'] / one['evaluations']['exhaustive']:.1%}" for one in found],
        "refresh, s": [f"{one['seconds']:,}" for one in found],
        "noisy picks": [_noisy_picks(one) for one in found],
        "picks, test": [f"{one['picks_test']:.3f}" for one in found],
        "declared, test": [f"{one['declared_test']:.3f}" for one in found],
    }
    for place, line in enumerate(found[0]["routers"]):
        rows[f"{line['router']} + {line['composition']}"] = [_quality(one["routers"][place]) for one in found]
    return ["".join([f"{name:<28}", *(f"{cell:>36}" for cell in cells)]) for name, cells in rows.items()]


def _noisy_picks(one: Figures) -> str:
    kinds = {kind: n for kind, n in one["picks_by_kind"].items() if kind not in (HONEST_KIND, "base")}
    told = ", ".join(f"{n} {kind}" for kind, n in kinds.items())
    return f"{sum(kinds.values())} of {len(one['picks'])}" + (f" ({told})" if told else "")


def _quality(line: Mapping[str, Any]) -> str:
    average, share = line["average"], line["share"]["value"]
    told = f"{average['value']:.3f} [{average['low']:.3f}, {average['high']:.3f}]"
    return told + ("" if share is None else f" {share:.1%}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pool", type=Path, required=True, help="folder that noisy_pool wrote")
    parser.add_argument("--work", type=Path, required=True, help="folder for hubs and homes, outside the repository")
    parser.add_argument("--sizes", default=SIZES)
    parser.add_argument("--routers", default=ROUTERS, help="the oracle always runs")
    parser.add_argument("--items", type=int, help="most test examples a task, its first; all where left out")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--plot", type=Path, help="file of the SVG; needs matplotlib")
    args = parser.parse_args()
    work = args.work.absolute()
    found = []
    for size in map(int, names(args.sizes)):
        found.append(study(args.pool, work, size, names(args.routers), args.items))
        print(f"{size}: {found[-1]['evaluations']}, {found[-1]['seconds']} s", flush=True)
    print("\n".join(lines(found)))
    if args.json:
        write_text(args.json, json.dumps({"sizes": found}, indent=1) + "\n")
    if args.plot:
        from benchmarks.noisy_plot import plot

        plot(found, args.plot)


if __name__ == "__main__":
    main()
