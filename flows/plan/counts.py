"""What a home knows of a run that is still to come: counted from ledger and tasks, without a request.

Knows: where the counts stand. Does not know: what is made of them (flows/plan/forecast). Changes nothing, and a home
that is not there yet is an empty one.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from catalog.formats.repo_files import PromptFileNames, prompt_file_names
from catalog.hub.models import is_here
from catalog.rules.verdict import Verdict
from catalog.tasks.task import Task
from catalog.wanted import Wanted
from warehouse.ledger.ledger import Ledger
from warehouse.records.bases import known_bases
from warehouse.records.formats import StoredPromptFiles
from warehouse.records.pages import was_crawled
from warehouse.records.pool import OWN, Member, Pool
from warehouse.records.raw import StoredReads
from warehouse.records.rungs import raced_pairs
from warehouse.records.verdicts import verdicts_on
from warehouse.tasks.folder import has_tasks, stored_tasks

LETTERS_A_TOKEN = 4  # of English in most tokenizers


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of one base.

    Args:
        tasks: as they are now.
        listed: adapters that targets hold now, None before the first crawl.
        read: of those, judged, or config and header are here.
        admitted: judged and let through, None before the first judgement.
        sizes: bytes of the weights of each that is admitted, and not downloaded yet.
        downloaded: how many are here.
        unread_formats: files that tell prompt formats and are still to be read of those that are admitted: cards and
            tokenizer files, as far as listings show them.
        further_formats: files beyond these, at most: a chat template tells only when it is read whether it needs one.
        raced: pairs of task and adapter that a race has settled, of the tasks as they are now.
        parameters: of the base, from the shapes of its modules; None where they were never read.
        base_here: whether the base's files are.
        encoder_here: whether the encoder's files are.
    """

    tasks: tuple[Task, ...]
    listed: int | None
    read: int
    admitted: int | None
    sizes: tuple[int, ...]
    downloaded: int
    unread_formats: int
    further_formats: int
    raced: int
    parameters: int | None
    base_here: bool
    encoder_here: bool

    @property
    def selection(self) -> int:
        """Validation examples of all tasks."""
        return sum(len(task.validation) for task in self.tasks)


def counts_of(ledger: Ledger, wanted: Wanted, task_folder: Path, cache: Path, encoder: str) -> Counts:
    """Counts for the run's own base.

    Args:
        cache: where the hub's downloads lie.
        encoder: id of the sentence encoder.
    """
    base = wanted.bases[0]
    members = [m for m in Pool(ledger, wanted).members() if m.judged_for in (base, OWN)]
    pool = {member.id.key for member in members}
    reads = StoredReads(ledger)
    verdicts = _verdicts(ledger, base, pool)
    judged = {verdict.id.key for verdict in verdicts}
    admitted = [verdict for verdict in verdicts if verdict.admitted]
    keys = {verdict.id.key for verdict in admitted}
    tasks = tuple(stored_tasks(task_folder)) if has_tasks(task_folder) else ()
    unread = _unread_formats(ledger, members, keys)
    return Counts(
        tasks=tasks,
        listed=len(members) if was_crawled(ledger) else None,
        read=sum(member.id.key in judged or member.id in reads for member in members),
        admitted=len(admitted) if verdicts else None,
        sizes=tuple(verdict.size or 0 for verdict in admitted if not verdict.downloaded),
        downloaded=sum(verdict.downloaded for verdict in admitted),
        unread_formats=sum(names.requests for names in unread),
        further_formats=sum(names.further_requests for names in unread),
        raced=sum(pair[1] in keys for pair in raced_pairs(ledger, base, {task.hash for task in tasks})),
        parameters=_parameters(ledger, base),
        base_here=is_here(cache, base),
        encoder_here=is_here(cache, encoder),
    )


def _verdicts(ledger: Ledger, base: str, pool: set[str]) -> list[Verdict]:
    """Those for the base's commit that was judged for last."""
    verdicts = verdicts_on(ledger, pool.__contains__, base)
    return [verdict for verdict in verdicts if verdict.base_sha == verdicts[-1].base_sha]


def _unread_formats(ledger: Ledger, members: Sequence[Member], admitted: Collection[str]) -> list[PromptFileNames]:
    """What tells the prompt formats of those that were not read yet."""
    stored = StoredPromptFiles(ledger)
    missing = (m for m in members if m.id.key in admitted and m.id.key not in stored)
    return [prompt_file_names(member.listing.files, member.id.path) for member in missing]


def tokens_of(task: Task) -> tuple[float, int]:
    """Tokens of a mean prompt, by its letters, and the bound of an answer."""
    letters = sum(len(task.prompt(example.input)) for example in task.validation) / max(len(task.validation), 1)
    return math.ceil(letters / LETTERS_A_TOKEN), task.max_new_tokens


def _parameters(ledger: Ledger, base: str) -> int | None:
    """Parameters in the modules of the base's last known commit."""
    shapes = [(row.base.modules, row.base.embeddings) for row in known_bases(ledger) if row.id == base and row.base]
    modules, embeddings = next((pair for pair in reversed(shapes) if pair[0]), ({}, {}))
    return sum(d_in * d_out for d_in, d_out in [*modules.values(), *embeddings.values()]) or None
