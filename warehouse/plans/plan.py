"""Plans: which outputs are missing, cut into shards that never change once written.

Knows: how work becomes shards, which shards are done, the columns of plans and of the ledger's table `outputs`.
Does not know: engines, tasks, routers.

bf16 texts depend on the rows of their batch. A plan fixes every shard before the first one runs, so a run that
was killed makes, when it goes on, the same batches and the same bits. A shard is done when its fragment of the
ledger exists.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import SnapshotError
from catalog.tasks.answer import Answer, Failed, Text
from catalog.tasks.option_metrics import OptionLogprobs
from catalog.tasks.task import content_hash
from warehouse.ledger.ledger import Ledger
from warehouse.schemas.columns import table_of
from warehouse.schemas.ledger import MADE, PLAN
from warehouse.storage.files import read_table, table_writer
from warehouse.storage.storage import Storage, storage_at


@dataclass(frozen=True, slots=True)
class Conditions:
    """What, besides prompt and mixture, decides an output. `decoding` has the stops too (lorauter/engine/decoding)."""

    base: str
    base_sha: str
    dtype: str
    engine: str
    decoding: str = "greedy"


@dataclass(frozen=True, slots=True)
class Work:
    """One output wanted: a text, or with `options` the log-probability of each of them.

    `mixture` holds (adapter key, weight); `task` and `example` say where it came from. `composition` says how the
    mixture is served, "" for the output mixture. `sample` tells drawn outputs of one prompt apart; "" where nothing
    is drawn.
    """

    prompt: str
    mixture: tuple[tuple[str, float], ...]
    max_new_tokens: int
    task: str | None = None
    example: str | None = None
    options: tuple[str, ...] = ()
    composition: str = ""
    sample: str = ""

    def key(self, conditions: Conditions) -> str:
        """Identity of the output: all that decides its text."""
        asked: list[object] = [list(self.options)] if self.options else []
        asked += [{"composition": self.composition}] if self.composition else []
        asked += [{"sample": self.sample}] if self.sample else []
        return content_hash([asdict(conditions), self.prompt, list(self.mixture), self.max_new_tokens, *asked], 32)


@dataclass(frozen=True, slots=True)
class Plan:
    """A stored plan: its name, the rows of each shard that is not done yet, by shard."""

    name: str
    shards: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard of a stored plan, as whoever runs it reads it.

    Args:
        plan: name of the plan.
        number: of the shard within it.
        conditions: the plan's own, the same for all of its work.
        work: outputs wanted, in the order in which they are batched.
        keys: identity of each, as it was planned.
    """

    plan: str
    number: int
    conditions: Conditions
    work: tuple[Work, ...]
    keys: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the ledger fragment that it becomes."""
        return shard_name(self.plan, self.number)


def make_plan(
    plans: Path | Storage,
    ledger: Ledger,
    work: Sequence[Work],
    conditions: Conditions,
    shard_rows: int,
    engine: str = "",
) -> Plan:
    """The plan for the outputs among `work` that the ledger lacks; the stored one if this work was begun before.

    Args:
        engine: version of the engine that will make them. What another version could not run counts as lacking.
    """
    files = storage_at(plans)
    by_key = {item.key(conditions): item for item in work}
    for attempt in count():
        name = content_hash([sorted(by_key), attempt], 24)
        begun = _pending(files, ledger, name)
        if begun.shards:
            return begun
        if not ledger.has_any("outputs", f"{name}-"):
            break  # else outputs of a finished plan may have been deleted since: their shards need new names
    asked = {"base": conditions.base, "key": list(by_key)}
    made = ledger.where("outputs", asked, ["key", "error", "refused_by"])
    known = {row["key"] for row in made if row["error"] is None or row["refused_by"] == (engine or None)}
    missing = {key: item for key, item in by_key.items() if key not in known}
    if not missing:
        return Plan(name, {})
    files.put(_file(name), table_writer(_plan_table(missing, conditions, shard_rows)))
    return _pending(files, ledger, name)


def forget_plan(plans: Path | Storage, name: str) -> None:
    """Delete a plan whose shards are all done; the ledger has what it wanted."""
    storage_at(plans).delete(_file(name))


def read_shard(plans: Path | Storage, name: str, number: int) -> Shard:
    """One shard of a plan. Raises SnapshotError where there is no such plan, or where it is damaged."""
    plan = _read_plan(storage_at(plans), name)
    rows = plan.filter(pc.equal(plan["shard"], number)).to_pylist()
    conditions = Conditions(**{field.name: rows[0][field.name] for field in fields(Conditions)})
    return Shard(name, number, conditions, tuple(map(_work_of, rows)), tuple(row["key"] for row in rows))


def finish_shard(ledger: Ledger, shard: Shard, answers: Sequence[Answer]) -> None:
    """Store the answers of a shard's work, in its order, in the ledger: from now on the shard is done."""
    outputs = [
        {**_asked(key, item, shard.conditions), **_made(answer)}
        for key, item, answer in zip(shard.keys, shard.work, answers, strict=True)
    ]
    ledger.append("outputs", outputs, shard.name)


def _made(answer: Answer) -> dict[str, Any]:
    """The columns that running a row fills (schemas.MADE)."""
    made: dict[str, Any] = dict.fromkeys(MADE)
    if isinstance(answer, str):
        return made | {"text": str(answer), "cut": getattr(answer, "cut", None)}
    if isinstance(answer, Failed):
        return made | {"error": answer.error, "refused_by": answer.engine or None}
    return made | {"option_logprobs": list(answer.totals), "option_tokens": list(answer.tokens)}


def shard_name(name: str, shard: int) -> str:
    """Name of the ledger fragment that a shard becomes."""
    return f"{name}-{shard:05d}"


def answers_of(ledger: Ledger, work: Sequence[Work], conditions: Conditions, plan: str = "") -> list[Answer]:
    """The stored answers of `work`, in order. Raises KeyError for one that was never made.

    Args:
        plan: name of the plan that made most of them: its fragments are read first, others only if need be, so that
            a long file's cost does not grow with all that is in the ledger.
    """
    keys = [item.key(conditions) for item in work]
    answers = stored_answers(ledger, keys, conditions, plan)
    return [answers[key] for key in keys]


def stored_answers(ledger: Ledger, keys: Iterable[str], conditions: Conditions, plan: str = "") -> dict[str, Answer]:
    """Those of some outputs that were made, by key. Args: as `answers_of`."""
    wanted, answers = {*keys}, dict[str, Answer]()
    for prefix in dict.fromkeys((f"{plan}-" if plan else "", "")):
        missing = list(wanted - answers.keys())
        asked = {"base": conditions.base, "key": missing}
        made = list(ledger.where("outputs", asked, ["key", *MADE], prefix)) if missing else []
        made.sort(key=lambda row: row["error"] is None)  # one that failed once may have been made since
        answers |= {row["key"]: _answer(*(row[name] for name in MADE)) for row in made}
    return answers


def _answer(
    text: str | None,
    cut: bool | None,
    totals: list[float] | None,
    tokens: list[int] | None,
    error: str | None,
    refused_by: str | None,
) -> Answer:
    """The inverse of `_made`."""
    if error is not None:
        return Failed(error, refused_by or "")
    return OptionLogprobs(tuple(totals), tuple(tokens or ())) if totals is not None else Text(text or "", cut)


def _pending(files: Storage, ledger: Ledger, name: str) -> Plan:
    """The shards of a stored plan that are not done; none where no such plan is stored."""
    if not files.present([_file(name)]):
        return Plan(name, {})
    sizes = Counter(_read_plan(files, name)["shard"].to_pylist())
    done = ledger.names("outputs", f"{name}-")
    return Plan(name, {s: sizes[s] for s in sorted(sizes) if shard_name(name, s) not in done})


def _read_plan(files: Storage, name: str) -> pa.Table:
    address = files.address(_file(name))
    try:
        return read_table(files.local(_file(name)))
    except FileNotFoundError as error:
        raise SnapshotError(
            f"There is no plan {address}: its run has ended, or this machine looks elsewhere.",
            "Refresh again, with the same LORAUTER_STORAGE on every machine.",
        ) from error
    except ValueError as error:
        raise SnapshotError(
            f"A plan is damaged: {address}: {error}.", "Delete that file; the next run plans what is missing anew."
        ) from error


def _file(name: str) -> str:
    return f"{name}.parquet"


def _plan_table(missing: Mapping[str, Work], conditions: Conditions, shard_rows: int) -> pa.Table:
    """Rows of like answers and like mixtures side by side, cut every `shard_rows`."""
    ordered = sorted(
        missing.items(),
        key=lambda pair: (bool(pair[1].options), pair[1].max_new_tokens, pair[1].mixture, len(pair[1].prompt), pair[0]),
    )
    rows = [
        {"shard": number // shard_rows, **_asked(key, item, conditions)} for number, (key, item) in enumerate(ordered)
    ]
    return table_of(rows, PLAN)


def _asked(key: str, item: Work, conditions: Conditions) -> dict[str, Any]:
    """The columns that a plan and the ledger's outputs share: all but what running a row fills."""
    return {
        "key": key,
        **asdict(conditions),
        "adapters": [adapter for adapter, _ in item.mixture],
        "weights": [weight for _, weight in item.mixture],
        "task": item.task,
        "example": item.example,
        "prompt": item.prompt,
        "max_new_tokens": item.max_new_tokens,
        "options": list(item.options),
        "composition": item.composition or None,
        "sample": item.sample or None,
    }


def _work_of(row: Mapping[str, Any]) -> Work:
    """The inverse of `_asked`; a plan of an older version may lack the last columns."""
    return Work(
        prompt=row["prompt"],
        mixture=tuple(zip(row["adapters"], row["weights"], strict=True)),
        max_new_tokens=row["max_new_tokens"],
        task=row["task"],
        example=row["example"],
        options=tuple(row["options"] or ()),
        composition=row.get("composition") or "",
        sample=row.get("sample") or "",
    )
