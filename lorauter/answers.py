"""Answers of an engine to work, whatever each piece of it asks for: texts or weighed options, composed or gated.

Knows: how work becomes routes that an engine serves, what ends a piece of it, what becomes of work whose adapters
cannot be run. Does not know: shards, where answers are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from catalog.errors import SettingError, UnsupportedAdapter
from catalog.tasks.answer import Answer, Failed
from lorauter.engine.decoding import with_stops
from lorauter.engine.version import SERVING_VERSION
from lorauter.gates.named import is_spelled
from lorauter.gates.named import read_spelled as read_gate
from lorauter.gates.protocol import GatedRoute
from lorauter.routing.routes import Route, Routed
from warehouse.plans.plan import Conditions, Work

if TYPE_CHECKING:
    from lorauter.engine.engine import Engine


def ended_by(stops: Sequence[str], conditions: Conditions, work: Work) -> Conditions:
    """The conditions of an output that the stops of a prompt format end too; nothing ends an option that is weighed."""
    if not stops or work.options:
        return conditions
    return replace(conditions, decoding=with_stops(conditions.decoding, stops))


def answers_or_failures(engine: Engine, work: Sequence[Work], decoding: str) -> list[Answer]:
    """The answers of work, in its order; where one of its mixtures cannot be run, the others' all the same.

    A mixture that cannot be served is quarantined: its answers say why, and this version of the engine does not try
    them again. UnsupportedAdapter is all that an adapter can cause; whatever else is raised is the fault of the
    machine, of a setting or of this program: it leaves no answer. The base alone must not fail.
    """
    try:
        return _answers(engine, work, decoding)
    except UnsupportedAdapter:
        pass
    alike: dict[object, list[int]] = {}  # what fails together: one mixture, composed in one way
    for number, item in enumerate(work):
        alike.setdefault((item.mixture, item.composition), []).append(number)
    answers: dict[int, Answer] = {}
    for numbers in alike.values():
        part = [work[number] for number in numbers]
        made: Sequence[Answer]
        try:
            made = _answers(engine, part, decoding)
        except UnsupportedAdapter as error:
            if not part[0].mixture:
                raise
            made = [Failed(error.cause[:500], SERVING_VERSION)] * len(part)
        answers |= zip(numbers, made, strict=True)
    return [answers[number] for number in range(len(work))]


def _answers(engine: Engine, work: Sequence[Work], decoding: str) -> list[Answer]:
    """Texts, or log-probabilities of work with options, in the order of the work."""
    alike: dict[tuple[bool, str], list[int]] = {}
    for number, item in enumerate(work):
        alike.setdefault((bool(item.options), item.composition), []).append(number)
    answers: dict[int, Answer] = {}
    for (_, composition), numbers in alike.items():
        made = _composed(engine, [work[number] for number in numbers], composition, decoding)
        answers |= zip(numbers, made, strict=True)
    return [answers[number] for number in range(len(work))]


def _composed(engine: Engine, work: Sequence[Work], composition: str, decoding: str) -> Sequence[Answer]:
    """Answers of work that shares what is wanted and how it is composed."""
    from lorauter.compositions import read_spelled
    from lorauter.compositions.base import compose_all
    from lorauter.compositions.reading import reader

    if is_spelled(composition):
        gated = [GatedRoute(read_gate(composition, [key for key, _ in item.mixture])) for item in work]
        return _routed(engine, work, gated, decoding)
    batch = compose_all(read_spelled(composition), [item.mixture for item in work])
    read = reader(_folder_of(engine), passing=engine.bank.passing)
    with engine.knowing({key: partial(merge.weights, read) for key, merge in batch.merges.items()}):
        return _routed(engine, work, [Route(mixture) for mixture in batch.mixtures], decoding)


def _routed(engine: Engine, work: Sequence[Work], routes: Sequence[Routed], decoding: str) -> Sequence[Answer]:
    """Answers by routes that the engine knows how to serve; all of the work has options, or none has."""
    from lorauter.engine.decoding import read_spelled as read_decoding

    prompts = [item.prompt for item in work]
    if work[0].options:
        return engine.score_options(prompts, [item.options for item in work], routes)
    chosen, stops = read_decoding(decoding)
    limits, samples = [item.max_new_tokens for item in work], [item.sample for item in work]
    return engine.answer(prompts, routes, limits, stops, decoding=chosen, samples=samples)


def _folder_of(engine: Engine) -> Callable[[str], Path]:
    """Where the engine looks for adapters."""
    find = engine.find_adapter

    def folder(key: str) -> Path:
        place = find(key) if find else None
        if not isinstance(place, Path):
            raise SettingError(f"Adapter {key!r} has no folder.", "Give the engine a find_adapter of folders.")
        return place

    return folder
