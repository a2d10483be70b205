"""Stories of the engine, with PEFT as the reference: fp32, a tiny random Llama, real PEFT folders."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from benchmarks.tiny_model import byte_tokenizer
from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.weights import PREFIX, read_adapter
from lorauter.device import choose_device, choose_dtype
from lorauter.engine.bank.bank import AdapterBank
from lorauter.engine.batches import RowSize, plan_batches
from lorauter.engine.decoding import Decoding
from lorauter.engine.engine import Engine
from lorauter.engine.memory_budget import Budget
from lorauter.engine.stopping import cut_at_stop
from lorauter.engine.version import ENGINE_VERSION
from lorauter.routing.routes import Mixture

pytestmark = pytest.mark.usefixtures("one_thread")

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "qv": {"r": 4, "target_modules": ["q_proj", "v_proj"]},
    "attention": {"r": 8, "target_modules": ATTENTION},
    "linear": {"r": 4, "target_modules": "all-linear"},
    "alpha": {"r": 4, "lora_alpha": 1, "target_modules": ["q_proj", "v_proj"]},
    "rslora": {"r": 4, "lora_alpha": 4, "use_rslora": True, "target_modules": ["o_proj", "up_proj"]},
    "pattern": {
        "r": 4,
        "target_modules": ATTENTION,
        "rank_pattern": {"q_proj": 2, r"layers\.1\.self_attn.k_proj": 6},
        "alpha_pattern": {"v_proj": 3, "^model.layers.0.self_attn.q_proj": 5},
    },
    "dora": {"r": 4, "use_dora": True, "target_modules": ["q_proj", "down_proj"]},
    "dora_too": {"r": 2, "use_dora": True, "target_modules": ATTENTION},
    "head": {"r": 4, "target_modules": ["q_proj", "lm_head"]},
}
PROMPTS = [
    "Is water wet?",
    "a",
    "The quick brown fox jumps",
    "2 + 2 =",
    "Once upon",
    "To be or not",
    "ab ab ab",
    "x",
    "Why?",
]
ONE_EACH: list[Mixture] = [((kind, 1.0),) for kind in KINDS]
CONTEXT = 64


@pytest.fixture(scope="session")
def base_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    tokenizer = byte_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        attention_bias=True,
        tie_word_embeddings=False,
        initializer_range=0.2,
        eos_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(config)
    randomise(model, "bias")  # transformers starts biases at zero, which would hide a wrong one
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def randomise(model: torch.nn.Module, ending: str, by: float = 0.3) -> None:
    for name, tensor in model.named_parameters():
        if ending in name:
            tensor.data += by * torch.randn_like(tensor)


@pytest.fixture(scope="session")
def find(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("adapters")
    for seed, (kind, options) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        config = LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **options)
        model = get_peft_model(load(base_dir), config)
        randomise(model, "lora_magnitude_vector")
        model.save_pretrained(str(folder / kind), save_embedding_layers=False)
    return lambda key: folder / key


def load(base_dir: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32).eval()


@pytest.fixture(scope="session")
def engine(base_dir: Path, find: Callable[[str], Path]) -> Engine:
    return Engine(base_dir, device="cpu", dtype="float32", find_adapter=find)


@dataclass(frozen=True)
class Reference:
    """PEFT itself, one prompt at a time."""

    base: Any
    peft: PeftModel
    tokenizer: Any

    def logits(self, prompt: str, adapter: str) -> torch.Tensor:
        self.peft.set_adapter(adapter)
        return next_logits(self.peft, self.tokenizer, prompt)

    def text(self, prompt: str, adapter: str | None, tokens: int) -> str:
        model: Any = self.base
        if adapter is not None:
            self.peft.set_adapter(adapter)
            model = self.peft
        ids = self.tokenizer(prompt, return_tensors="pt")["input_ids"]
        mask = torch.ones_like(ids)
        found = model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
        text: str = self.tokenizer.decode(found[0, ids.shape[1] :], skip_special_tokens=True)
        return text.lstrip()


def next_logits(model: Any, tokenizer: Any, prompt: str) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = model(**tokenizer(prompt, return_tensors="pt")).logits[0, -1]
    return logits


@pytest.fixture(scope="session")
def reference(base_dir: Path, find: Callable[[str], Path], engine: Engine) -> Reference:
    peft = PeftModel.from_pretrained(load(base_dir), str(find("qv")), adapter_name="qv")
    for kind in KINDS:
        if kind != "qv":
            peft.load_adapter(str(find(kind)), adapter_name=kind)
    return Reference(load(base_dir), peft.eval(), engine.tokenizer)


# -- against PEFT ---------------------------------------------------------------------------------


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


# -- one batch ------------------------------------------------------------------------------------


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


# -- drawn texts ----------------------------------------------------------------------------------

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
    routes = [FakeRoute(mixture) for mixture in ONE_EACH]

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


# -- many batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class FakeRoute:
    mixture: Mixture


def test_answers_come_in_the_order_asked(base_dir: Path, find: Callable[[str], Path], engine: Engine) -> None:
    small = Engine(base_dir, device="cpu", dtype="float32", capacity=2, find_adapter=find)
    routes = [FakeRoute(mixture) for mixture in ONE_EACH]

    texts = small.answer(PROMPTS, routes, 6, budget=Budget(4096, 4))

    assert texts == engine.generate(PROMPTS, ONE_EACH, 6)


ROWS = st.lists(
    st.builds(
        RowSize,
        st.integers(1, 60),
        st.integers(1, 8),
        st.lists(st.sampled_from("abcd"), max_size=2, unique=True).map(tuple),
    ),
    max_size=40,
)


@given(ROWS, st.integers(1, 300), st.integers(1, 9), st.integers(2, 4))
def test_batches_hold_every_row_once_within_bounds(
    rows: list[RowSize], budget: int, max_rows: int, max_adapters: int
) -> None:
    batches = plan_batches(rows, budget, max_rows, max_adapters)

    assert sorted(i for batch in batches for i in batch) == list(range(len(rows)))
    for batch in batches:
        longest = max(rows[i].prompt_tokens + rows[i].max_new_tokens for i in batch)
        assert len(batch) <= max_rows
        assert len(batch) == 1 or len(batch) * longest <= budget
        assert len({key for i in batch for key in rows[i].adapters}) <= max_adapters


# -- the bank -------------------------------------------------------------------------------------


def test_the_least_recently_used_adapter_goes_first(base_dir: Path, find: Callable[[str], Path]) -> None:
    bank = AdapterBank(load(base_dir), "cpu", torch.float32, capacity=2)
    bank.ensure(["qv", "alpha"], find)
    bank.ensure(["qv"], find)

    bank.ensure(["linear"], find)

    assert bank.keys == ("qv", "linear")


def test_a_batch_over_the_capacity_is_refused(base_dir: Path, find: Callable[[str], Path]) -> None:
    bank = AdapterBank(load(base_dir), "cpu", torch.float32, capacity=2)

    with pytest.raises(SettingError, match="needs 3 adapters and the bank holds 2"):
        bank.ensure(["qv", "alpha", "linear"], find)


def test_modules_that_no_adapter_touches_do_no_work(base_dir: Path, find: Callable[[str], Path]) -> None:
    bank = AdapterBank(load(base_dir), "cpu", torch.float32, capacity=2)
    bank.add("qv", read_adapter(find("qv")))

    plan = bank.plan([(("qv", 1.0),), ()])

    assert set(plan.modules) == {f"model.layers.{i}.self_attn.{m}" for i in range(3) for m in ("q_proj", "v_proj")}


@pytest.mark.parametrize(
    ("module", "d_in", "reason"),
    [
        ("model.layers.0.self_attn.q_proj", 32, "shape mismatch at model.layers.0.self_attn.q_proj"),
        (
            "model.layers.9.self_attn.q_proj",
            64,
            "targets model.layers.9.self_attn.q_proj, which the base lacks",
        ),
        ("model.embed_tokens", 64, "targets model.embed_tokens, a Embedding and not a Linear"),
        ("model.norm", 64, "targets model.norm, a LlamaRMSNorm and not a Linear"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(
    base_dir: Path, tmp_path: Path, module: str, d_in: int, reason: str
) -> None:
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": [module.rpartition(".")[2]]}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    pair = {"lora_A": torch.ones(2, d_in), "lora_B": torch.ones(64, 2)}
    save_file(
        {f"{PREFIX}{module}.{name}.weight": t for name, t in pair.items()},
        tmp_path / "adapter_model.safetensors",
    )
    engine = Engine(base_dir, device="cpu", dtype="float32", find_adapter=lambda key: tmp_path)

    with pytest.raises(UnsupportedAdapter, match=f"org/one@abc: The adapter .*{reason}"):
        engine.generate(["Why?"], [(("org/one@abc", 1.0),)], 2)


# -- device and dtype -----------------------------------------------------------------------------


def test_auto_chooses_something_known() -> None:
    assert (choose_device("cpu"), choose_dtype("float32", "cpu")) == ("cpu", "float32")
    assert choose_dtype("auto", "cpu") in ("bfloat16", "float32")


@pytest.mark.parametrize("name", ["gpu", "cpu:0", "cuda:x", "cuda:99"])
def test_an_unknown_device_is_refused(name: str) -> None:
    with pytest.raises(SettingError, match=name):
        choose_device(name)


def test_an_unknown_dtype_is_refused() -> None:
    with pytest.raises(SettingError, match="float8"):
        choose_dtype("float8", "cpu")


def test_a_folder_without_a_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="cannot be read"):
        Engine(tmp_path)
