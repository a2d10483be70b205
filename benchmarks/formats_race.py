"""The formats pool, scored by the product itself, in one template and in the formats that adapters say.

Knows: a hub and a home with the pool, the published picks. Does not know: what other ways of asking are worth
(formats).

Where a snapshot's table `best` names formats, it is told how often a pick's is the one of its training; where it names
none, all were asked in the task's template, or did best in it. The scores are the published ones: on validation
examples that did not choose the pick.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.formats_plan import PLAN
from benchmarks.pool_home import furnish, hub_of_pool
from catalog.formats.format import PromptFormat, of_template
from catalog.tasks.task import Task
from flows.home.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.prefect_runtime.setup import prepare_prefect, start_prefect
from warehouse.snapshots.snapshot import current_snapshot

_TRUE = {one.name: one.truth.template() for one in PLAN}


@dataclass(frozen=True, slots=True)
class Pick:
    """What the product published for a task.

    Args:
        task: its name.
        repo: of the adapter; "" is the base.
        format: name of the prompt format that it is asked in; None: the task's own template.
        template: of that format.
        stops: that come with it.
        score: the published one.
        base_score: the base's on the same examples.
    """

    task: str
    repo: str
    format: str | None
    template: str | None
    stops: tuple[str, ...]
    score: float
    base_score: float

    def asked_in(self, task: Task) -> PromptFormat:
        """The format that its task is asked in."""
        return of_template(self.template or task.template, self.format or "task", self.stops)

    @property
    def is_true(self) -> bool:
        """Whether the format is the one that the adapter was trained in."""
        return bool(self.template) and self.template == _TRUE.get(self.repo)


@dataclass(frozen=True, slots=True)
class Race:
    """What a refresh made of the pool.

    Args:
        evaluations: spent, and those of an exhaustive run.
        by_format: whether anybody was asked in another format than the task's: some pick, or the base.
        picks: one a task.
    """

    evaluations: Mapping[str, int]
    by_format: bool
    picks: tuple[Pick, ...]

    @property
    def figures(self) -> dict[str, Any]:
        """What the JSON says."""
        true = sum(pick.is_true for pick in self.picks)
        return {
            "evaluations": dict(self.evaluations),
            "by_format": self.by_format,
            "in_true_format": true if self.by_format else None,
            "score": _mean([pick.score for pick in self.picks]),
            "base_score": _mean([pick.base_score for pick in self.picks]),
            "picks": [asdict(pick) for pick in self.picks],
        }


def raced(pool: Path, formats: str) -> Race:
    """Crawl, validate, score and publish the pool on a home under it.

    Args:
        pool: its folder.
        formats: the setting of that name: "task" or "detected".
    """
    repos = {one.name: pool / "hub" / one.name for one in PLAN}
    hub, root = hub_of_pool(pool / "race" / "hub-files", pool / "race" / "world", repos), pool / "race" / formats
    furnish(root, formats=formats)
    with serve_in_thread(hub) as served:
        home = open_home(home=root, endpoint=served.endpoint, storage="")
        evaluations = _refreshed(home)
    best = current_snapshot(home.snapshots).read("best")
    by_format = any(row.get("format") or row.get("base_format") for row in best)
    return Race(evaluations, by_format, tuple(map(pick_of, best)))


def pick_of(row: Mapping[str, Any]) -> Pick:
    """A row of a snapshot's table `best`, of a version with or without formats."""
    return Pick(
        task=row["task"],
        repo=row["repo"] or "",
        format=row.get("format"),
        template=row.get("template"),
        stops=tuple(row.get("stops") or ()),
        score=round(row["score"], 4),
        base_score=round(row["base_score"], 4),
    )


def lines(race: Race) -> list[str]:
    """What is printed."""
    how = "by adapter and format" if race.by_format else "by adapter alone, in the task's template"
    found = race.figures
    true = f"; {found['in_true_format']} of {len(race.picks)} picks in the true format" if race.by_format else ""
    spent = f"{race.evaluations['spent']:,} of {race.evaluations['exhaustive']:,} evaluations"
    return [
        "",
        f"the product's race {how}, {spent}: published {found['score']:.3f}, base {found['base_score']:.3f}{true}",
        *(f"  {one.task:<18}{one.repo or 'base':<28}{one.format or '-':<18}{one.score:.3f}" for one in race.picks),
    ]


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4)


def _refreshed(home: Home) -> dict[str, int]:
    prepare_prefect(home.root)
    start_prefect()
    from flows.refresh import refresh

    cost = refresh(home.reference)["evaluations"]
    return {name: cost[name] for name in ("spent", "exhaustive")}
