"""Options against the plain way: one forward pass of prompt and option together, a row at a time, through PEFT."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from catalog.errors import SettingError
from catalog.option_metrics import OptionLogprobs
from lorauter.engine import Engine
from lorauter.routing import Route

PROMPTS = ["Which colour is the cat?\nAnswer:", "Is it red?\nAnswer:", "x\nAnswer:"]
OPTIONS = [("red", "blue and red", "north"), ("yes",), ("cat", "dog")]
ADAPTERS = ["ann/colours", "bob/animals", ""]


@pytest.fixture(scope="module")
def engine(tiny_hub_folder: Path) -> Engine:
    return Engine(tiny_hub_folder / "tiny/llama", dtype="float32", find_adapter=lambda key: tiny_hub_folder / key)


def plainly(hub: Path, adapter: str, prompt: str, option: str) -> tuple[float, int]:
    """log p(option | prompt) and the option's tokens, with nothing shared and nothing padded."""
    model = AutoModelForCausalLM.from_pretrained(hub / "tiny/llama")
    model = PeftModel.from_pretrained(model, hub / adapter) if adapter else model
    tokenizer = AutoTokenizer.from_pretrained(hub / "tiny/llama")
    start, rest = tokenizer(prompt)["input_ids"], tokenizer(f" {option}", add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = model(torch.tensor([start + rest])).logits[0].log_softmax(-1)
    places = range(len(start) - 1, len(start) + len(rest) - 1)
    return sum(float(logits[place, token]) for place, token in zip(places, rest, strict=True)), len(rest)


def test_shared_prompts_give_what_whole_rows_give(engine: Engine, tiny_hub_folder: Path) -> None:
    routes = [Route(((key, 1.0),) if key else ()) for key in ADAPTERS]
    found = engine.score_options(PROMPTS, OPTIONS, routes)
    for row, prompt, options, adapter in zip(found, PROMPTS, OPTIONS, ADAPTERS, strict=True):
        expected = [plainly(tiny_hub_folder, adapter, prompt, option) for option in options]
        assert row.tokens == tuple(count for _, count in expected)
        assert row.totals == pytest.approx([total for total, _ in expected], abs=2e-4)


def test_a_row_does_not_depend_on_its_batch(engine: Engine) -> None:
    routes = [Route(((key, 1.0),) if key else ()) for key in ADAPTERS]
    together = engine.score_options(PROMPTS, OPTIONS, routes)
    alone = [engine.score_options([p], [o], [r])[0] for p, o, r in zip(PROMPTS, OPTIONS, routes, strict=True)]
    for one, other in zip(together, alone, strict=True):
        assert one.totals == pytest.approx(other.totals, abs=2e-4)


def test_no_prompts_have_no_scores(engine: Engine) -> None:
    assert engine.score_options([], [], []) == []


def test_a_prompt_without_options_is_told(engine: Engine) -> None:
    with pytest.raises(SettingError, match="A prompt has no options"):
        engine.score_options(["x"], [()], [Route(())])


def test_options_of_one_token_need_no_second_pass(engine: Engine) -> None:
    found = engine.score_options(["x"], [("a", "b")], [Route(())])
    assert found == [OptionLogprobs(found[0].totals, (len(engine._continuation("a")), len(engine._continuation("b"))))]
