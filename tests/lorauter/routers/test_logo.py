"""LoGo against plain dense arithmetic: transformers' own forward pass, ΔW as PEFT merges it, one prompt at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.engine.engine import Engine
from lorauter.engine.memory_budget import Budget
from lorauter.routers.logo import LogoRouter
from lorauter.routing.routes import Question, Route

pytestmark = pytest.mark.usefixtures("one_thread")

Delta = Callable[[str, str], torch.Tensor]
PROMPTS = ["Which colour is the cat?", "north", "red blue dog cat red blue", "Is it?"]
KEYS = ["narrow", "wide", "linear", "pattern", "dora"]
LAST = "model.layers.1.self_attn.q_proj"


def plain_inputs(hub: Path, prompt: str, module: str, last: int = 0) -> torch.Tensor:
    """What the base hands to a module at the last token, given the last so many tokens, or all: (d_in,)."""
    model = AutoModelForCausalLM.from_pretrained(hub / "tiny/llama").eval()
    tokenizer = AutoTokenizer.from_pretrained(hub / "tiny/llama")
    seen: list[torch.Tensor] = []
    model.get_submodule(module).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        model(tokenizer(prompt, return_tensors="pt")["input_ids"][:, -last:])
    return seen[0][0, -1]


def plain_signals(hub: Path, delta: Delta, prompt: str, signal: str) -> dict[str, float]:
    h = plain_inputs(hub, prompt, LAST)
    added = {key: delta(key, LAST) @ h for key in KEYS}
    if signal == "norm":
        return {key: float(o.norm()) for key, o in added.items()}
    shares = {key: torch.softmax(o, 0) for key, o in added.items()}
    return {key: float(1 / (-(p * p.log()).sum() + 1e-6)) for key, p in shares.items()}


@pytest.mark.parametrize("module", [LAST, "model.layers.0.mlp.down_proj", "lm_head"])
def test_a_probe_sees_what_the_module_is_given(tiny_engine: Engine, tiny_hub_folder: Path, module: str) -> None:
    found = tiny_engine.probe(PROMPTS, module)

    expected = torch.stack([plain_inputs(tiny_hub_folder, prompt, module) for prompt in PROMPTS])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_a_probe_does_not_depend_on_its_batches(tiny_engine: Engine) -> None:
    together = tiny_engine.probe(PROMPTS, LAST)

    torch.testing.assert_close(tiny_engine.probe(PROMPTS, LAST, budget=Budget(32, 2)), together, atol=1e-5, rtol=1e-4)


def test_a_long_prompt_is_probed_at_its_end(tiny_engine: Engine, tiny_hub_folder: Path) -> None:
    prompt = "never read " * 9 + "north"

    found = tiny_engine.probe([prompt], LAST, most_tokens=3)

    torch.testing.assert_close(found[0], plain_inputs(tiny_hub_folder, prompt, LAST, last=3), atol=1e-5, rtol=1e-4)


def test_a_module_that_no_adapter_could_touch_is_refused(tiny_engine: Engine) -> None:
    with pytest.raises(UnsupportedAdapter, match=r"model\.norm, a LlamaRMSNorm"):
        tiny_engine.probe(PROMPTS, "model.norm")


@pytest.mark.parametrize("signal", ["norm", "entropy"])
def test_weights_are_the_signals_of_dense_products(
    tiny_engine: Engine, tiny_hub_folder: Path, delta: Delta, signal: str
) -> None:
    router = LogoRouter(tiny_engine, KEYS, signal, top_k=3)

    routes = router.route(PROMPTS)

    for prompt, route in zip(PROMPTS, routes, strict=True):
        signals = plain_signals(tiny_hub_folder, delta, prompt, signal)
        kept = sorted(signals, key=lambda key: -signals[key])[:3]
        total = sum(signals[key] for key in kept)
        assert dict(route.mixture) == pytest.approx({key: signals[key] / total for key in kept}, rel=1e-4)


def test_a_route_depends_on_its_prompt_alone(tiny_engine: Engine) -> None:
    router = LogoRouter(tiny_engine, KEYS)
    before = router.route([PROMPTS[0]])[0]
    tiny_engine.generate(PROMPTS, [route.mixture for route in router.route(PROMPTS)], 3)

    backward = LogoRouter(tiny_engine, KEYS[::-1]).route(PROMPTS[::-1])

    assert dict(backward[-1].mixture) == pytest.approx(dict(before.mixture), rel=1e-4)
    assert [key for key, _ in backward[-1].mixture] == [key for key, _ in before.mixture]


def test_an_adapter_without_the_module_is_silent(tiny_engine: Engine) -> None:
    router = LogoRouter(tiny_engine, ["mlp", "narrow"])

    assert router.route(["north"]) == [Route((("narrow", 1.0),))]
    assert router.silent == ("mlp",)


def test_where_no_adapter_has_the_module_the_last_shared_one_speaks(
    tiny_hub_folder: Path, tiny_pool: Callable[[str], Path], delta: Delta, tmp_path: Path
) -> None:
    """One of the two has the modules up_proj and down_proj, the other down_proj alone."""
    module, base = "model.layers.1.mlp.down_proj", tiny_hub_folder / "tiny/llama"
    config = LoraConfig(r=3, target_modules=["down_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    model.save_pretrained(str(tmp_path))
    engine = Engine(base, dtype="float32", find_adapter=lambda key: tmp_path if key == "down" else tiny_pool(key))

    route = LogoRouter(engine, ["mlp", "down"]).route(["north"])[0]

    own: Any = model.get_submodule(f"base_model.model.{module}")
    h = plain_inputs(tiny_hub_folder, "north", module)
    mlp, down = (
        float((dense @ h).norm()) for dense in (delta("mlp", module), own.get_delta_weight("default").detach())
    )
    assert dict(route.mixture) == pytest.approx({"mlp": mlp / (mlp + down), "down": down / (mlp + down)}, rel=1e-4)


def test_prompts_are_probed_as_they_are_answered(tiny_engine: Engine) -> None:
    asked = LogoRouter(tiny_engine, KEYS, prompt_of=lambda query: f"{query}\nAnswer:").route(["north"])

    assert asked == LogoRouter(tiny_engine, KEYS).route(["north\nAnswer:"])


def test_one_text_with_two_prompts_is_probed_by_each(tiny_engine: Engine) -> None:
    router = LogoRouter(tiny_engine, KEYS)
    prompts = ["north\nAnswer:", "Say it in red: north"]

    asked = router.route_questions([Question("north", prompt=prompt) for prompt in prompts])

    assert asked == router.route(prompts)
    assert asked[0] != asked[1]


@pytest.mark.parametrize(("signal", "top_k"), [("loud", 1), ("norm", 0)])
def test_constants_that_make_no_sense_are_refused(tiny_engine: Engine, signal: str, top_k: int) -> None:
    with pytest.raises(SettingError, match="LoGo has no signal"):
        LogoRouter(tiny_engine, KEYS, signal, top_k)


def test_no_queries_or_no_adapters_give_no_weights(tiny_engine: Engine) -> None:
    assert LogoRouter(tiny_engine, KEYS).route([]) == []
    assert LogoRouter(tiny_engine, []).route(["north"]) == [Route(())]
