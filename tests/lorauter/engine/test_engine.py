"""Stories of the engine, with PEFT as the reference: fp32, a tiny random Llama, real PEFT folders."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel

from catalog.errors import SettingError
from lorauter.engine.engine import Engine
from lorauter.engine.stopping import cut_at_stop
from lorauter.engine.version import ENGINE_VERSION
from lorauter.routing.routes import Mixture
from tests.lorauter.engine.kinds import CONTEXT, KINDS, ONE_EACH, PROMPTS, Reference, load, next_logits

pytestmark = pytest.mark.usefixtures("one_thread")


def test_every_kind_in_one_batch_writes_what_peft_writes(engine: Engine, reference: Reference) -> None:
    texts = engine.generate(PROMPTS, ONE_EACH, 10, stop="")

    assert texts == [reference.text(p, kind, 10) for p, kind in zip(PROMPTS, KINDS, strict=True)]


def test_every_kind_in_one_batch_has_pefts_logits(engine: Engine, reference: Reference) -> None:
    logits = engine.next_logits(PROMPTS, ONE_EACH)

    expected = [reference.logits(p, kind) for p, kind in zip(PROMPTS, KINDS, strict=True)]
    torch.testing.assert_close(logits, torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_one_adapter_for_all_rows_has_pefts_logits(engine: Engine, reference: Reference) -> None:
    logits = engine.next_logits(PROMPTS, [(("dora", 1.0),)] * len(PROMPTS))

    expected = torch.stack([reference.logits(p, "dora") for p in PROMPTS])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_an_empty_mixture_is_the_base(engine: Engine, reference: Reference) -> None:
    texts = engine.generate(PROMPTS, [()] * len(PROMPTS), 10, stop="")

    assert texts == [reference.text(p, None, 10) for p in PROMPTS]


def test_a_mixture_is_pefts_cat(engine: Engine, base_dir: Path, find: Callable[[str], Path]) -> None:
    weights = {"attention": 0.5, "pattern": 0.3, "again": -0.7}
    peft = PeftModel.from_pretrained(load(base_dir), str(find("attention")), adapter_name="attention")
    peft.load_adapter(str(find("pattern")), adapter_name="pattern")
    peft.load_adapter(str(find("attention")), adapter_name="again")
    peft.add_weighted_adapter(list(weights), list(weights.values()), "mix", combination_type="cat")
    peft.set_adapter("mix")

    logits = engine.next_logits(PROMPTS, [(("attention", 0.5), ("pattern", 0.3), ("attention", -0.7))] * 9)

    expected = torch.stack([next_logits(peft, engine.tokenizer, p) for p in PROMPTS])
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


def test_a_mixture_of_every_kind_is_the_dense_merge(
    engine: Engine, base_dir: Path, find: Callable[[str], Path]
) -> None:
    mixture = tuple((kind, 0.1 + 0.05 * i) for i, kind in enumerate(KINDS))
    dense = merged(base_dir, find, mixture)

    logits = engine.next_logits(PROMPTS, [(), *[mixture] * 8])

    expected = [next_logits(dense, engine.tokenizer, p) for p in PROMPTS[1:]]
    torch.testing.assert_close(logits[1:], torch.stack(expected), atol=2e-4, rtol=2e-4)


def merged(base_dir: Path, find: Callable[[str], Path], mixture: Mixture) -> Any:
    """The base with W + Σ w_a (W_a - W), where PEFT itself merges each adapter into W_a."""
    model = load(base_dir)
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    total = {name: tensor.clone() for name, tensor in base.items()}
    for key, weight in mixture:
        own = PeftModel.from_pretrained(load(base_dir), str(find(key))).merge_and_unload().state_dict()
        for name, tensor in base.items():
            total[name] += weight * (own[name] - tensor)
    model.load_state_dict(total)
    return model


def test_the_order_of_rows_does_not_change_texts(engine: Engine) -> None:
    forward = engine.generate(PROMPTS, ONE_EACH, 8)

    backward = engine.generate(PROMPTS[::-1], ONE_EACH[::-1], 8)

    assert backward == forward[::-1]


def test_rows_that_end_early_leave_the_others_alone(engine: Engine, reference: Reference) -> None:
    limits = [1, 12, 3, 7, 1, 1, 2, 12, 5]

    texts = engine.generate(PROMPTS, ONE_EACH, limits, stop="")

    rows = zip(PROMPTS, KINDS, limits, strict=True)
    assert texts == [reference.text(p, kind, limit) for p, kind, limit in rows]


def test_a_key_named_twice_adds_up(engine: Engine) -> None:
    halves = engine.next_logits(["Why?"], [(("qv", 0.5), ("linear", 0.0), ("qv", 0.5))])

    assert torch.equal(halves, engine.next_logits(["Why?"], [(("qv", 1.0),)]))


def test_the_base_is_bare_outside_a_batch(engine: Engine, reference: Reference) -> None:
    before = next_logits(engine.model, engine.tokenizer, "Why?")

    engine.generate(["Why?"], [(("linear", 1.0),)], 2)

    assert torch.equal(next_logits(engine.model, engine.tokenizer, "Why?"), before)
    assert torch.allclose(before, next_logits(reference.base, engine.tokenizer, "Why?"), atol=1e-5)


def test_a_long_prompt_is_cut_from_the_left(engine: Engine) -> None:
    prompt = "".join(chr(97 + i % 26) for i in range(100))

    texts = engine.generate([prompt], [()], 6, stop="")

    assert texts == engine.generate([prompt[-(CONTEXT - 6) :]], [()], 6, stop="")


def test_an_empty_prompt_has_an_answer(engine: Engine) -> None:
    alone = engine.generate([""], [()], 4)

    assert engine.generate(["", "longer"], [(), ()], 4)[:1] == alone


def test_no_rows_give_no_texts(engine: Engine) -> None:
    assert engine.generate([], [], 4) == []


@pytest.mark.parametrize(
    ("text", "stop", "expected"),
    [
        (" yes\nno", "\n", ("yes", True)),
        ("\n\n yes", "\n", ("yes", False)),
        ("\n\n yes\n", "\n", ("yes", True)),
        ("\n \n", "\n", ("", False)),
        ("yes \nno", "\n", ("yes ", True)),
        ("## a ## b", "##", ("## a ", True)),
        ("yes\nno", "", ("yes\nno", False)),
        ("a ## b\nc", ("\n", "##"), ("a ", True)),
        ("a\nb ## c", ["##", "\n"], ("a", True)),
        ("a\nb", (), ("a\nb", False)),
    ],
)
def test_the_stop_rule(text: str, stop: str | Sequence[str], expected: tuple[str, bool]) -> None:
    assert cut_at_stop(text, stop) == expected


def test_a_row_is_cut_at_its_stop(engine: Engine) -> None:
    whole = engine.generate(["Why?"], [()], 10, stop="")[0]
    stop = whole[4]

    assert engine.generate(["Why?"], [()], 10, stop=stop) == [cut_at_stop(whole, stop)[0]]


def test_a_row_is_cut_at_the_first_of_many_stops(engine: Engine) -> None:
    wholes = engine.generate(PROMPTS, ONE_EACH, 10, stop="")
    stops = [wholes[0][4], wholes[3][2], "never seen"]

    assert engine.generate(PROMPTS, ONE_EACH, 10, stop=stops) == [cut_at_stop(whole, stops)[0] for whole in wholes]


@pytest.mark.parametrize("limits", [0, [1, 2], [-1]])
def test_a_wrong_bound_is_refused(engine: Engine, limits: Any) -> None:
    with pytest.raises(SettingError, match="max_new_tokens"):
        engine.generate(["Why?"], [()], limits)


def test_the_fingerprint_names_what_a_text_depends_on(engine: Engine) -> None:
    fingerprint = engine.fingerprint

    assert fingerprint == {
        "engine": ENGINE_VERSION,
        "dtype": "float32",
        "device": "cpu",
        "torch": str(torch.__version__),
        "batches": "8192 tokens, 128 rows",
    }
