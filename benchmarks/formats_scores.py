"""Scores of adapters and of the base under prompt formats, raw outputs kept: nothing is answered twice.

Knows: prompts, stops, the ledger of a pool. Does not know: which formats are worth asking (formats), which mixtures
(formats_rows), what scores are held against.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.turns import conditions as told_conditions
from catalog.adapters.facts import WEIGHTS_NAME
from catalog.formats.format import PromptFormat
from catalog.tasks.answer import Answer
from catalog.tasks.controls import scores_of
from catalog.tasks.task import Example, Task
from flows.demo.base import BASE_ID
from lorauter.answers import answers_or_failures
from lorauter.device import choose_device, choose_dtype
from lorauter.engine.decoding import GREEDY, STOPS, spelled
from lorauter.engine.engine import Engine
from lorauter.engine.version import ENGINE_VERSION
from warehouse.ledger.ledger import Ledger
from warehouse.plans.plan import Conditions, Work, answers_of, finish_shard, make_plan, read_shard

BASE = ""
_SHARD_ROWS = 256


@dataclass(frozen=True, slots=True)
class Cell:
    """Examples of a task, asked under one format with one adapter.

    Args:
        repo: of the adapter, or BASE.
        task: what is asked; its own template is not looked at.
        format: how it is asked; its stops end an answer too, beside a line's end.
        examples: of the task.
    """

    repo: str
    task: Task
    format: PromptFormat
    examples: tuple[Example, ...]

    @property
    def decoding(self) -> str:
        """Greedy, up to the stops of the format."""
        return decoding_in(self.format)

    def work(self, keys: Mapping[str, str]) -> list[Work]:
        """What the engine is asked."""
        mixture = ((keys[self.repo], 1.0),) if self.repo else ()
        limit, task = self.task.max_new_tokens, self.task.name
        return [Work(self.format.prompt(e.input), mixture, limit, task, e.id) for e in self.examples]


def decoding_in(format_: PromptFormat) -> str:
    """Greedy, up to a line's end and the stops of a format."""
    return spelled(GREEDY, (*STOPS, *format_.stops))


@dataclass(slots=True)
class Scorer:
    """Scores cells, by answers that it makes or finds in the pool's ledger.

    Args:
        pool: folder of the pool, where ledger and plans lie too.
        base: folder of the base.
        device: see `choose_device`.
        further: folder of adapters that are not the pool's.
    """

    pool: Path
    base: Path
    device: str = "auto"
    further: Path | None = None
    _engine: Engine | None = field(default=None, init=False)

    @property
    def engine(self) -> Engine:
        """Opened at the first look."""
        if self._engine is None:
            self._engine = Engine(self.base, device=self.device, find_adapter=self._folder)
        return self._engine

    def scores(self, cells: Sequence[Cell]) -> list[list[float]]:
        """Each cell's score of each example, in their order."""
        keys = {repo: self.key(repo) for repo in {cell.repo for cell in cells} - {BASE}}
        answers = iter(self.answers([(item, cell.decoding) for cell in cells for item in cell.work(keys)]))
        return [scores_of(cell.task, [next(answers) for _ in cell.examples], cell.examples) for cell in cells]

    def answers(self, asked: Sequence[tuple[Work, str]]) -> list[Answer]:
        """The answer to each work under the decoding beside it, in their order."""
        ledger = Ledger(self.pool / "ledger")
        made: dict[str, Answer] = {}
        for decoding in sorted({decoding for _, decoding in asked}):
            made |= self._answered(ledger, [work for work, its in asked if its == decoding], decoding)
        return [made[work.key(self._conditions(decoding))] for work, decoding in asked]

    def conditions(self) -> dict[str, Any]:
        """The engine's fingerprint and the machine."""
        return told_conditions(self.engine)

    def _answered(self, ledger: Ledger, work: Sequence[Work], decoding: str) -> dict[str, Answer]:
        """Key of the output → answer."""
        conditions = self._conditions(decoding)
        plan = make_plan(self.pool / "plans", ledger, work, conditions, _SHARD_ROWS, ENGINE_VERSION)
        began = time.monotonic()
        for done, number in enumerate(plan.shards, 1):
            shard = read_shard(self.pool / "plans", plan.name, number)
            finish_shard(ledger, shard, answers_or_failures(self.engine, shard.work, decoding))
            left = (time.monotonic() - began) / done * (len(plan.shards) - done)
            told = f"{done} of {len(plan.shards)} shards, {left:.0f} s left of these stops"
            print(told, file=sys.stderr, flush=True)
        made = answers_of(ledger, work, conditions, plan.name)
        return {item.key(conditions): answer for item, answer in zip(work, made, strict=True)}

    def _conditions(self, decoding: str) -> Conditions:
        dtype = choose_dtype("auto", choose_device(self.device))
        return Conditions(BASE_ID, "", dtype, ENGINE_VERSION, decoding)

    def key(self, repo: str) -> str:
        """Another training under the same name is another adapter."""
        weights = (self._folder(repo) / WEIGHTS_NAME).read_bytes()
        return f"{repo}@{hashlib.sha256(weights).hexdigest()[:12]}"

    def _folder(self, key: str) -> Path:
        """Of an adapter, by its key or its repo alone."""
        repo = key.partition("@")[0]
        own = self.pool / "hub" / repo
        return self.further / repo if self.further and not own.is_dir() else own
