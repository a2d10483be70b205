"""Texts that the engine draws: a row's own, whatever stands beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.errors import SettingError
from lorauter.engine.decoding import Decoding
from lorauter.engine.engine import Engine
from lorauter.engine.memory_budget import Budget
from lorauter.routing.routes import Mixture, Route
from tests.lorauter.engine.kinds import KINDS, ONE_EACH, PROMPTS

pytestmark = pytest.mark.usefixtures("one_thread")


DRAWN = Decoding(temperature=0.9, top_p=0.9, seed=3)
WEIGHTED: list[Mixture] = [((one, 0.5), (two, 0.3), ("dora", 0.2)) for one in ("qv", "head") for two in KINDS]


@pytest.mark.parametrize("decoding", [DRAWN, Decoding(temperature=1.5), Decoding(temperature=0.7, top_k=5, seed=9)])
def test_a_mixed_batch_draws_what_each_row_draws_alone(engine: Engine, decoding: Decoding) -> None:
    prompts, samples = PROMPTS * 2, [str(row // 9) for row in range(18)]
    limits = [3 + row % 7 for row in range(18)]

    together = engine.generate(prompts, WEIGHTED, limits, "", decoding, samples)

    rows = zip(prompts, WEIGHTED, limits, samples, strict=True)
    alone = [engine.generate([p], [mixture], limit, "", decoding, [name])[0] for p, mixture, limit, name in rows]
    assert together == alone
    assert together != engine.generate(prompts, WEIGHTED, limits, "")


def test_answers_in_batches_are_those_of_one_batch_in_any_order(engine: Engine) -> None:
    routes = [Route(mixture) for mixture in ONE_EACH]

    texts = engine.answer(PROMPTS[::-1], routes[::-1], 6, "", Budget(64, 2), DRAWN)

    assert texts[::-1] == engine.generate(PROMPTS, ONE_EACH, 6, "", DRAWN)


def test_samples_of_one_prompt_differ_and_stay(engine: Engine) -> None:
    names = [str(n) for n in range(8)]

    texts = engine.generate(["Why?"] * 8, [()] * 8, 6, "", DRAWN, names)

    assert len(set(texts)) == 8
    assert texts == engine.generate(["Why?"] * 8, [()] * 8, 6, "", DRAWN, names)
    assert len(set(engine.generate(["Why?"] * 8, [()] * 8, 6, "", DRAWN))) == 1


def test_another_seed_draws_another_text(engine: Engine) -> None:
    other = replace(DRAWN, seed=4)

    assert engine.generate(PROMPTS, ONE_EACH, 6, "", other) != engine.generate(PROMPTS, ONE_EACH, 6, "", DRAWN)


def test_the_most_probable_token_alone_is_greedy(engine: Engine) -> None:
    greedy = engine.generate(PROMPTS, ONE_EACH, 8)

    assert engine.generate(PROMPTS, ONE_EACH, 8, decoding=Decoding(temperature=2.0, top_k=1)) == greedy


def test_samples_must_be_as_many_as_prompts(engine: Engine) -> None:
    with pytest.raises(SettingError, match="1 samples for 2 prompts"):
        engine.generate(["a", "b"], [(), ()], 1, decoding=DRAWN, samples=["1"])
