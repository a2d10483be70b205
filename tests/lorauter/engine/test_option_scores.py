"""Options against the plain way: one forward pass of prompt and option together, a row at a time, through PEFT."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from benchmarks.tiny_model import write_base
from catalog.errors import SettingError
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Route

PROMPTS = ["Which colour is the cat?\nAnswer:", "Is it red?\nAnswer:", "x\nAnswer:"]
OPTIONS = [("red", "blue and red", "north"), ("yes",), ("cat", "dog")]
ADAPTERS = ["ann/colours", "bob/animals", ""]


@pytest.fixture(scope="module")
def engine(tiny_hub_folder: Path) -> Engine:
    return Engine(tiny_hub_folder / "tiny/llama", dtype="float32", find_adapter=lambda key: tiny_hub_folder / key)


def plainly(hub: Path, adapter: str, prompt: str, option: str) -> tuple[float, int]:
    """log p(option | prompt) and the option's tokens, with nothing shared and nothing padded."""
    model = AutoModelForCausalLM.from_pretrained(hub / "tiny/llama")
    return whole_row(hub, PeftModel.from_pretrained(model, hub / adapter) if adapter else model, prompt, option)


def whole_row(hub: Path, model: Any, prompt: str, option: str) -> tuple[float, int]:
    """The same of a given model."""
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


@pytest.fixture(scope="module")
def dora(tiny_hub_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random DoRA of every Linear, its magnitudes off the norms that PEFT starts from."""
    folder = tmp_path_factory.mktemp("dora")
    torch.manual_seed(5)
    config = LoraConfig(r=4, target_modules="all-linear", use_dora=True, init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_hub_folder / "tiny/llama"), config)
    for name, tensor in model.named_parameters():
        if "magnitude" in name:
            tensor.data *= 1 + 0.3 * torch.randn_like(tensor)
    model.save_pretrained(str(folder))
    return folder


def test_dora_and_mixtures_beside_others_give_what_whole_rows_give(tiny_hub_folder: Path, dora: Path) -> None:
    names = ["ann/colours", "bob/animals", "cleo/compass"]
    base = tiny_hub_folder / "tiny/llama"
    mixed: Any = PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(base), tiny_hub_folder / names[0], adapter_name="0"
    )
    for number in (1, 2):
        mixed.load_adapter(tiny_hub_folder / names[number], adapter_name=str(number))
    mixed.add_weighted_adapter(["0", "1", "2"], [0.6, 0.5, -0.2], "mixture", combination_type="cat")
    mixed.set_adapter("mixture")
    models = [PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), dora), mixed]
    engine = Engine(base, dtype="float32", find_adapter=lambda key: dora if key == "dora" else tiny_hub_folder / key)
    routes = [Route((("dora", 1.0),)), Route(tuple(zip(names, (0.6, 0.5, -0.2), strict=True))), Route(())]

    found = engine.score_options(PROMPTS, [OPTIONS[0]] * 3, routes)

    for row, prompt, model in zip(found, PROMPTS, models, strict=False):
        expected = [whole_row(tiny_hub_folder, model, prompt, option) for option in OPTIONS[0]]
        assert row.tokens == tuple(count for _, count in expected)
        assert row.totals == pytest.approx([total for total, _ in expected], abs=2e-4)
    bare = [plainly(tiny_hub_folder, "", PROMPTS[2], option)[0] for option in OPTIONS[0]]
    assert found[2].totals == pytest.approx(bare, abs=2e-4)


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


@pytest.mark.parametrize(("options", "tokens", "passes"), [(("yes", "no"), (1, 1), 1), (("yes", "none"), (1, 3), 2)])
def test_options_of_one_token_need_no_second_pass(
    tmp_path: Path, options: tuple[str, ...], tokens: tuple[int, ...], passes: int
) -> None:
    """The prompt's own pass has told the likelihood of whatever comes first."""
    hub = tmp_path / "hub"
    write_base(hub / "tiny/llama", learned([" yes", " no"]))
    engine, seen = Engine(hub / "tiny/llama", dtype="float32"), []
    engine.model.register_forward_hook(lambda *_: seen.append(1))

    (row,) = engine.score_options(["x"], [options], [Route(())])

    assert (row.tokens, len(seen)) == (tokens, passes)
    assert row.totals == pytest.approx([plainly(hub, "", "x", option)[0] for option in options], abs=2e-4)


def learned(words: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer that has a token for each of the words."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(words, trainers.BpeTrainer(special_tokens=["<end>"], initial_alphabet=alphabet))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
