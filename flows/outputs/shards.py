"""Generate: see that wanted outputs exist in the ledger, shard by shard, here or on workers.

Knows: plans, shards, where they run. Does not know: what outputs are for (scoring, answering).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.errors import SettingError, UnsupportedAdapter
from catalog.tasks.answer import Answer, Failed
from flows.home.home import Home
from flows.home.parts import loaded_engine
from flows.screen.progress import Advance
from lorauter.engine.version import SERVING_VERSION
from lorauter.gates.named import is_spelled
from lorauter.gates.named import read_spelled as read_gate
from lorauter.gates.protocol import GatedRoute
from lorauter.routing.routes import Route, Routed
from warehouse.plans.heartbeat import beating, heartbeat_name
from warehouse.plans.plan import Conditions, Work, answers_of, finish_shard, forget_plan, make_plan, read_shard

if TYPE_CHECKING:
    from lorauter.engine.engine import Engine

RunShards = Callable[[Home, str, Sequence[int]], Iterator[int]]
"""(home, plan, shards): make those shards, in any order, and yield each when its outputs are in the ledger."""


def ensure_outputs(
    home: Home, work: Sequence[Work], conditions: Conditions, run: RunShards, advance: Advance
) -> tuple[list[Answer], int]:
    """The answers of `work` in order, made where the ledger lacks them. Also how many were new."""
    plan = make_plan(home.plans, home.ledger, work, conditions, home.settings.shard_rows, SERVING_VERSION)
    new = sum(plan.shards.values())
    advance(len(work) - new)
    for shard in run(home, plan.name, list(plan.shards)):
        advance(plan.shards[shard])
    forget_plan(home.plans, plan.name)
    return answers_of(home.ledger, work, conditions, plan.name), new


def run_shards(home: Home, plan: str, shards: Sequence[int]) -> Iterator[int]:
    """Run shards in this process, one after the other; yields each when it is done."""
    for shard in shards:
        run_shard(home, plan, shard)
        yield shard


def run_shard(home: Home, plan: str, shard: int) -> None:
    """Make the outputs of one shard and store them. Safe to repeat."""
    rows = read_shard(home.plans, plan, shard)
    first = rows[0]
    with beating(home.plans, heartbeat_name(plan, shard)):
        engine = loaded_engine(home, first["base"], first["base_sha"], first["dtype"])
        finish_shard(home.ledger, plan, shard, rows, _answers(engine, rows))


def _answers(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """The answers of a shard; where one of its mixtures cannot be run, the others' all the same.

    A mixture that cannot be served is quarantined: its rows say why, and this version of the engine does not try them
    again. UnsupportedAdapter is all that an adapter can cause; whatever else is raised is the fault of the machine, of
    a setting or of this program: it ends the shard, and leaves no row behind.
    """
    try:
        return _answers_together(engine, rows)
    except UnsupportedAdapter:
        pass
    answers: dict[int, Answer] = {}
    for kind in dict.fromkeys(_kind(row) for row in rows):
        chosen = [number for number, row in enumerate(rows) if _kind(row) == kind]
        answers |= zip(chosen, _answers_of_one(engine, [rows[n] for n in chosen]), strict=True)
    return [answers[number] for number in range(len(rows))]


def _answers_of_one(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> Sequence[Answer]:
    """The answers of rows that share a mixture, or for each of them why it fails. The base alone must not fail."""
    try:
        return _answers_together(engine, rows)
    except UnsupportedAdapter as error:
        if not rows[0]["adapters"]:
            raise
        return [Failed(error.cause[:500], SERVING_VERSION)] * len(rows)


def _answers_together(engine: Engine, rows: Sequence[Mapping[str, Any]]) -> list[Answer]:
    """Texts, or log-probabilities where a row has options, in the order of the rows."""
    answers: dict[int, Answer] = {}
    kinds: dict[tuple[bool, str], list[int]] = {}
    for number, row in enumerate(rows):
        kinds.setdefault((bool(row["options"]), row["composition"] or ""), []).append(number)
    for (weighs, composition), chosen in kinds.items():
        made = _answers_alike(engine, [rows[number] for number in chosen], weighs, composition)
        answers |= zip(chosen, made, strict=True)
    return [answers[number] for number in range(len(rows))]


def _answers_alike(
    engine: Engine, rows: Sequence[Mapping[str, Any]], weighs: bool, composition: str
) -> Sequence[Answer]:
    """Answers of rows that share what is wanted and how it is composed."""
    from lorauter.compositions import read_spelled
    from lorauter.compositions.base import compose_all
    from lorauter.compositions.reading import reader

    if is_spelled(composition):
        gated = [GatedRoute(read_gate(composition, row["adapters"])) for row in rows]
        return _answers_routed(engine, rows, gated, weighs)
    batch = compose_all(read_spelled(composition), [_mixture(row) for row in rows])
    read = reader(_folder_of(engine), passing=engine.bank.passing)
    with engine.knowing({key: partial(merge.weights, read) for key, merge in batch.merges.items()}):
        return _answers_routed(engine, rows, [Route(mixture) for mixture in batch.mixtures], weighs)


def _answers_routed(
    engine: Engine, rows: Sequence[Mapping[str, Any]], routes: Sequence[Routed], weighs: bool
) -> Sequence[Answer]:
    """Answers of rows by routes that the engine knows how to serve."""
    from lorauter.engine.decoding import read_spelled as read_decoding

    prompts = [row["prompt"] for row in rows]
    if weighs:
        return engine.score_options(prompts, [row["options"] for row in rows], routes)
    decoding, stops = read_decoding(rows[0]["decoding"])  # a plan has one
    samples = [row.get("sample") or "" for row in rows]  # an older version's plan has no such column
    limits = [row["max_new_tokens"] for row in rows]
    return engine.answer(prompts, routes, limits, stops, decoding=decoding, samples=samples)


def _folder_of(engine: Engine) -> Callable[[str], Path]:
    """Where the engine looks for adapters."""
    find = engine.find_adapter

    def folder(key: str) -> Path:
        found = find(key) if find else None
        if not isinstance(found, Path):
            raise SettingError(f"Adapter {key!r} has no folder.", "Give the engine a find_adapter of folders.")
        return found

    return folder


def _kind(row: Mapping[str, Any]) -> tuple[object, ...]:
    """What rows that fail together share."""
    return _mixture(row), row["composition"]


def _mixture(row: Mapping[str, Any]) -> tuple[tuple[str, float], ...]:
    return tuple(zip(row["adapters"], row["weights"], strict=True))
