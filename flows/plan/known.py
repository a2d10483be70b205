"""What a home knows of a run that is still to come: counted from ledger and tasks, without a request.

Knows: where the counts stand. Does not know: what is made of them (flows/plan/forecast). Changes nothing, and a home
that is not there yet is an empty one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from catalog.hub.models import is_here
from catalog.tasks.task import Task
from flows.home.home import Home
from warehouse.records.pool import OWN, Pool
from warehouse.tasks.folder import read_tasks

LETTERS_A_TOKEN = 4  # of English in most tokenizers


@dataclass(frozen=True, slots=True)
class Known:
    """Counts of one base.

    Args:
        listed: adapters that targets hold now, None before the first crawl. read: of those, judged, or config and
            header are here.
        admitted: judged and let through, None before the first judgement. sizes: bytes of the weights of each that is
            not downloaded yet. downloaded: how many are here.
        raced: pairs of task and adapter that a race has settled, of the tasks as they are now.
        parameters: of the base, from the shapes of its modules; None where they were never read.
    """

    tasks: tuple[Task, ...]
    listed: int | None
    read: int
    admitted: int | None
    sizes: tuple[int, ...]
    downloaded: int
    raced: int
    parameters: int | None
    base_here: bool
    encoder_here: bool

    @property
    def selection(self) -> int:
        """Validation examples of all tasks."""
        return sum(len(task.validation) for task in self.tasks)


def known_of(home: Home) -> Known:
    """Counts for the settings' base."""
    base = home.settings.base
    members = [m for m in Pool(home.ledger, home.wanted).members() if m.judged_for in (base, OWN)]
    pool = {member.id.key for member in members}
    raw = {(repo, path, sha) for repo, path, sha in home.ledger.index("raw")}
    verdicts = _verdicts(home, base, pool)
    judged = {row["adapter"] for row in verdicts}
    let_in = [row for row in verdicts if row["admitted"]]
    tasks = _tasks(home)
    return Known(
        tasks=tasks,
        listed=len(members) if len(home.ledger.index("pages")) else None,
        read=sum(m.id.key in judged or (m.id.repo, m.id.path, m.id.sha) in raw for m in members),
        admitted=len(let_in) if verdicts else None,
        sizes=tuple(int(row["size"] or 0) for row in let_in if not row["downloaded"]),
        downloaded=sum(bool(row["downloaded"]) for row in let_in),
        raced=_raced(home, tasks, {row["adapter"] for row in let_in}),
        parameters=_parameters(home, base),
        base_here=is_here(home.root / "hub", base),
        encoder_here=is_here(home.root / "hub", home.settings.encoder),
    )


def _verdicts(home: Home, base: str, pool: set[str]) -> list[dict[str, Any]]:
    """Those for the base's commit that was judged for last."""
    index = home.ledger.index("verdicts", within=base)
    rows = list(index.rows(key for key in index if key[0] == base and key[2] in pool))
    latest = max(rows, key=lambda row: row["at"])["base_sha"] if rows else None
    return [row for row in rows if row["base_sha"] == latest]


def tokens_of(task: Task) -> tuple[float, int]:
    """Tokens of a mean prompt, by its letters, and the bound of an answer."""
    letters = sum(len(task.prompt(example.input)) for example in task.validation) / max(len(task.validation), 1)
    return math.ceil(letters / LETTERS_A_TOKEN), task.max_new_tokens


def _tasks(home: Home) -> tuple[Task, ...]:
    return tuple(read_tasks(home.task_folder)) if any(home.task_folder.glob("*/task.json")) else ()


def _raced(home: Home, tasks: tuple[Task, ...], admitted: set[str]) -> int:
    hashes = {task.hash for task in tasks}
    asked = {"base": home.settings.base, "task_hash": sorted(hashes)}
    rows = home.ledger.where("rungs", asked, ["task_hash", "adapter"]) if hashes else ()
    return len({(row["task_hash"], row["adapter"]) for row in rows if row["adapter"] in admitted})


def _parameters(home: Home, base: str) -> int | None:
    rows = [row for row in home.ledger.current("bases") if row["base"] == base and row["modules"]]
    if not rows:
        return None
    shapes = [*rows[-1]["modules"], *(rows[-1]["embeddings"] or ())]
    return sum(int(shape["d_in"]) * int(shape["d_out"]) for shape in shapes)
