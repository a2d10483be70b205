"""Stories of compositions, with PEFT's add_weighted_adapter as the reference: fp32, a tiny random Llama.

TOLERANCE is on logits of order 1 to 10; PEFT multiplies in another order.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import merge_utils
from transformers import LlamaConfig, LlamaForCausalLM

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights, LoraPair, read_adapter
from lorauter.compositions import COMPOSITIONS, open_composition
from lorauter.compositions.base import Composed, CompositionOptions, Merge, Merging, compose_all
from lorauter.compositions.cat import cat
from lorauter.compositions.reading import reader
from lorauter.compositions.saving import save_merged
from lorauter.compositions.thinning import drawn
from lorauter.engine.bank.bank import AdapterBank
from lorauter.routing.routes import Mixture

pytestmark = pytest.mark.usefixtures("one_thread")

TOLERANCE = {"atol": 1e-4, "rtol": 1e-4}
Q_PROJ, V_PROJ, O_PROJ = (f"model.layers.0.self_attn.{name}_proj" for name in "qvo")
ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
KINDS: dict[str, dict[str, Any]] = {
    "qv": {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"]},
    "qv_too": {"r": 4, "lora_alpha": 3, "target_modules": ["q_proj", "v_proj"]},
    "mlp": {"r": 4, "lora_alpha": 4, "target_modules": ["v_proj", "up_proj", "down_proj"]},
    "wide": {"r": 8, "target_modules": ATTENTION},
    "rslora": {"r": 4, "lora_alpha": 4, "use_rslora": True, "target_modules": ["q_proj", "o_proj"]},
    "pattern": {
        "r": 4,
        "target_modules": ATTENTION,
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {"v_proj": 3, "q_proj": 5},
    },
    "dora": {"r": 4, "use_dora": True, "target_modules": ["q_proj", "down_proj"]},
}
MERGES = ("linear", "ties", "magnitude_prune", "dare_linear", "dare_ties")
TWO_SIDED = (*MERGES, "fusion")
OPTIONS = CompositionOptions(density=0.3, seed=5)
IDS = torch.arange(20)[None] * 3 % 50
SAME_RANK: list[Mixture] = [
    (("qv", 0.6), ("qv_too", 0.4)),
    (("qv", 0.7), ("mlp", -0.4), ("qv_too", 1.3)),  # other targets, a negative weight, weights that add up to anything
    (("qv", 0.5), ("rslora", 0.5)),
]


@pytest.fixture(scope="module")
def base() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=50,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="module")
def find(base: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("adapters")
    for seed, (kind, options) in enumerate(KINDS.items()):
        torch.manual_seed(seed)
        model = get_peft_model(copy.deepcopy(base), LoraConfig(init_lora_weights=False, **options))
        model.save_pretrained(str(root / kind))
    return lambda key: root / key


@pytest.fixture(scope="module")
def read(find: Callable[[str], Path]) -> Callable[[str], AdapterWeights]:
    return reader(find)


@pytest.fixture(scope="module")
def peft(base: LlamaForCausalLM, find: Callable[[str], Path]) -> PeftModel:
    model = PeftModel.from_pretrained(copy.deepcopy(base), str(find("qv")), adapter_name="qv")
    for kind in KINDS:
        if kind != "qv":
            model.load_adapter(str(find(kind)), adapter_name=kind)
    return model.eval()


@torch.inference_mode()
def peft_merged(peft: PeftModel, mixture: Mixture, how: str, **options: Any) -> torch.Tensor:
    """Logits of PEFT's own merge: made under a new name, used, deleted."""
    peft.add_weighted_adapter([k for k, _ in mixture], [w for _, w in mixture], "new", how, **options)
    try:
        peft.set_adapter("new")
        logits: torch.Tensor = peft(IDS).logits
        return logits
    finally:
        peft.delete_adapter("new")


@torch.inference_mode()
def served(base: LlamaForCausalLM, composed: Composed, read: Callable[[str], AdapterWeights]) -> torch.Tensor:
    """Logits of the base with what the composition says, as the adapter bank serves it."""
    bank = AdapterBank(base, "cpu", torch.float32, capacity=8)
    for key, _ in composed.mixture:
        merged = composed.merge is not None and composed.merge.key == key
        bank.add(key, composed.merge.weights(read) if merged and composed.merge else read(key))
    with bank.serving(bank.plan([composed.mixture])):
        logits: torch.Tensor = base(IDS).logits
    return logits


def compose(name: str, mixture: Mixture, options: CompositionOptions = OPTIONS) -> Composed:
    return open_composition(name, options).compose(mixture)


def merge_of(name: str, mixture: Mixture, options: CompositionOptions = OPTIONS) -> Merge:
    merge = compose(name, mixture, options).merge
    assert merge is not None
    return merge


def delta(pair: LoraPair) -> torch.Tensor:
    return pair.scaling * pair.b @ pair.a


# -- against PEFT ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mixture",
    [*SAME_RANK, (("qv", 0.6), ("wide", -0.3), ("pattern", 0.5), ("rslora", 0.2))],
)
def test_mixture_and_cat_are_pefts_cat(
    mixture: Mixture, base: LlamaForCausalLM, peft: PeftModel, read: Callable[[str], AdapterWeights]
) -> None:
    expected = peft_merged(peft, mixture, "cat")

    torch.testing.assert_close(served(base, compose("mixture", mixture), read), expected, **TOLERANCE)
    torch.testing.assert_close(served(base, compose("cat", mixture), read), expected, **TOLERANCE)


@pytest.mark.parametrize("mixture", SAME_RANK)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("linear", {}),
        ("magnitude_prune", {"density": 0.3}),
        ("ties", {"density": 0.3}),
        ("ties", {"density": 0.3, "majority": "frequency"}),
        ("ties", {"density": 1.0}),
    ],
)
def test_a_merge_is_pefts(
    name: str,
    options: dict[str, Any],
    mixture: Mixture,
    base: LlamaForCausalLM,
    peft: PeftModel,
    read: Callable[[str], AdapterWeights],
) -> None:
    logits = served(base, compose(name, mixture, CompositionOptions(**options)), read)

    density, majority = options.get("density"), options.get("majority", "total")
    expected = peft_merged(peft, mixture, name, density=density, majority_sign_method=majority)
    torch.testing.assert_close(logits, expected, **TOLERANCE)


@pytest.mark.parametrize("mixture", SAME_RANK)
@pytest.mark.parametrize("name", ["dare_linear", "dare_ties"])
def test_dare_with_our_masks_in_pefts_hands_is_pefts(
    name: str,
    mixture: Mixture,
    base: LlamaForCausalLM,
    peft: PeftModel,
    read: Callable[[str], AdapterWeights],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PEFT draws from torch's global state, which injecting the new adapter moves: so it gets our masks instead."""
    masks = {}
    for key, _ in mixture:
        for module, pair in read(key).modules.items():
            for side, tensor in (("a", pair.a), ("b", pair.b)):
                masks[tensor.numpy().tobytes()] = drawn(tensor.shape, 0.3, 5, key, module, side)

    def ours(tensor: torch.Tensor, density: float, rescale: bool) -> torch.Tensor:
        assert rescale
        return tensor * masks[tensor.numpy().tobytes()] / density

    monkeypatch.setattr(merge_utils, "random_pruning", ours)

    logits = served(base, compose(name, mixture), read)

    torch.testing.assert_close(logits, peft_merged(peft, mixture, name, density=0.3), **TOLERANCE)


@pytest.mark.parametrize("name", COMPOSITIONS)
@pytest.mark.parametrize("key", ["qv", "pattern", "dora"])
def test_one_adapter_alone_is_itself(
    name: str, key: str, base: LlamaForCausalLM, peft: PeftModel, read: Callable[[str], AdapterWeights]
) -> None:
    composed = compose(name, ((key, 1.0),))

    peft.set_adapter(key)
    with torch.inference_mode():
        expected = peft(IDS).logits
    assert composed == Composed(((key, 1.0),))
    torch.testing.assert_close(served(base, composed, read), expected, **TOLERANCE)


def test_pefts_single_member_is_the_weighted_adapter_whatever_the_merge(
    base: LlamaForCausalLM, peft: PeftModel, read: Callable[[str], AdapterWeights]
) -> None:
    logits = served(base, compose("ties", (("qv", -0.5),)), read)

    torch.testing.assert_close(logits, peft_merged(peft, (("qv", -0.5),), "ties", density=0.3), **TOLERANCE)


def test_where_peft_overscales_a_merge_that_begins_with_an_rslora_ours_does_not(
    base: LlamaForCausalLM, peft: PeftModel, read: Callable[[str], AdapterWeights]
) -> None:
    """PEFT 0.21 hands use_rslora of the first member on: √r too much (PEFT issue 3761). In our order it is the same."""
    mixture = (("rslora", 0.7), ("qv", 0.3))

    logits = served(base, compose("linear", mixture), read)

    torch.testing.assert_close(logits, peft_merged(peft, mixture[::-1], "linear"), **TOLERANCE)
    assert not torch.allclose(logits, peft_merged(peft, mixture, "linear"), atol=0.1)


# -- the maths ------------------------------------------------------------------------------------


def test_fusion_is_the_product_of_the_averaged_factors(read: Callable[[str], AdapterWeights]) -> None:
    merged = merge_of("fusion", (("qv", 0.5), ("qv_too", 0.5))).weights(read).modules

    one, two = read("qv").modules[Q_PROJ], read("qv_too").modules[Q_PROJ]
    expected = (0.5 * 2 * one.b + 0.5 * 0.75 * two.b) @ (0.5 * one.a + 0.5 * two.a)
    torch.testing.assert_close(delta(merged[Q_PROJ]), expected)


def test_a_lone_member_of_a_fusion_has_its_weight_squared() -> None:
    assert compose("fusion", (("qv", 0.5),)) == Composed((("qv", 0.25),))


def test_linear_is_far_from_the_mixture_and_cat_is_it(read: Callable[[str], AdapterWeights]) -> None:
    mixture = (("qv", 0.5), ("qv_too", 0.5))
    exact = sum(weight * delta(read(key).modules[Q_PROJ]) for key, weight in mixture)
    off = {
        name: float((delta(merge_of(name, mixture).weights(read).modules[Q_PROJ]) - exact).norm() / exact.norm())
        for name in ("cat", "linear")
    }

    assert off["cat"] < 1e-6
    assert off["linear"] > 0.5


def test_a_module_that_one_member_touches_has_that_members_part(read: Callable[[str], AdapterWeights]) -> None:
    merged = merge_of("linear", (("qv", 0.75), ("rslora", 0.25))).weights(read).modules

    assert set(merged) == set(read("qv").modules) | set(read("rslora").modules)
    torch.testing.assert_close(delta(merged[V_PROJ]), 0.75 * delta(read("qv").modules[V_PROJ]))
    torch.testing.assert_close(delta(merged[O_PROJ]), 0.25 * delta(read("rslora").modules[O_PROJ]))


def test_unequal_ranks_merge_where_they_do_not_meet(read: Callable[[str], AdapterWeights]) -> None:
    low = AdapterWeights({V_PROJ: read("qv").modules[V_PROJ]})
    high = AdapterWeights({Q_PROJ: read("wide").modules[Q_PROJ]})
    known = {"low": low, "high": high}

    merged = merge_of("ties", (("low", 0.5), ("high", 0.5))).weights(known.__getitem__).modules

    assert {name: pair.a.shape[0] for name, pair in merged.items()} == {V_PROJ: 4, Q_PROJ: 8}


def test_trimming_keeps_the_share_and_dropping_keeps_the_mean() -> None:
    torch.manual_seed(0)
    ones = AdapterWeights({Q_PROJ: LoraPair(torch.randn(8, 500) + 5, torch.ones(500, 8), 1.0)})
    two = (("one", 0.5), ("two", 0.5))

    trimmed = merge_of("magnitude_prune", (("one", 1.0), ("none", 1e-12))).weights(lambda _: ones).modules[Q_PROJ]
    dropped = merge_of("dare_linear", two).weights(lambda _: ones).modules[Q_PROJ]

    assert int((trimmed.a.abs() > 1e-3).sum()) == 1200
    plain = merge_of("linear", two).weights(lambda _: ones).modules[Q_PROJ]
    assert float(dropped.a.mean() / plain.a.mean()) == pytest.approx(1, abs=0.05)
    assert float((dropped.a == 0).float().mean()) == pytest.approx(0.7**2, abs=0.03)


# -- keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cat", *TWO_SIDED])
def test_the_same_members_have_one_key_and_one_adapter(name: str, read: Callable[[str], AdapterWeights]) -> None:
    one = merge_of(name, (("qv", 0.7), ("qv_too", 0.3)))
    torch.manual_seed(99)  # DARE does not draw from it
    two = merge_of(name, (("qv_too", 0.3), ("qv", 0.2), ("mlp", 0.0), ("qv", 0.5)))

    assert (one.key, one.members) == (two.key, two.members)
    assert one.key.startswith(f"{name}:")
    ours, theirs = one.weights(read).modules, two.weights(read).modules
    assert ours and ours.keys() == theirs.keys()
    assert [module for module in ours if not torch.equal(delta(ours[module]), delta(theirs[module]))] == []


@pytest.mark.parametrize(
    ("name", "deciding"),
    [
        ("cat", set()),
        ("linear", set()),
        ("fusion", set()),
        ("ties", {"density", "majority"}),
        ("magnitude_prune", {"density"}),
        ("dare_linear", {"density", "seed"}),
        ("dare_ties", {"density", "seed", "majority"}),
    ],
)
def test_a_key_changes_with_what_decides_the_weights(name: str, deciding: set[str]) -> None:
    mixture = (("qv", 0.7), ("qv_too", 0.3))
    others: dict[str, Any] = {"density": 0.31, "majority": "frequency", "seed": 6}
    plain: dict[str, Any] = {"density": 0.3, "seed": 5}
    key = merge_of(name, mixture).key

    changed = {o for o, v in others.items() if merge_of(name, mixture, CompositionOptions(**plain | {o: v})).key != key}

    assert changed == deciding
    assert merge_of(name, (("qv", 0.71), ("qv_too", 0.3))).key != key


def test_rows_with_equal_mixtures_share_their_merge() -> None:
    rows: list[Mixture] = [(("a", 0.5), ("b", 0.5)), (("b", 0.5), ("a", 0.5)), (("a", 1.0),), (), (("a", 1), ("b", 1))]

    batch = compose_all(open_composition("cat"), rows)

    first, last = batch.mixtures[0][0][0], batch.mixtures[4][0][0]
    assert batch.mixtures == [((first, 1.0),), ((first, 1.0),), (("a", 1.0),), (), ((last, 1.0),)]
    assert list(batch.merges) == [first, last]


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_no_adapter_is_the_base(name: str) -> None:
    assert compose(name, ()) == Composed(())


@pytest.mark.parametrize(
    ("mixture", "expected"),
    [
        ((("a", 0.5), ("b", 0.3)), (("a", 1.0),)),
        ((("b", 0.5), ("a", 0.5)), (("a", 1.0),)),
        ((("a", 0.2), ("b", 0.3), ("a", 0.2)), (("a", 1.0),)),
        ((("a", 0.4), ("b", 0.1)), ()),  # the other half went to tasks that publish the base
    ],
)
def test_selection_takes_the_heaviest(mixture: Mixture, expected: Mixture) -> None:
    assert compose("selection", mixture) == Composed(expected)


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TWO_SIDED)
def test_unequal_ranks_are_refused_by_name(name: str, read: Callable[[str], AdapterWeights]) -> None:
    merge = merge_of(name, (("qv", 0.6), ("wide", 0.4)))

    with pytest.raises(
        UnsupportedAdapter, match=rf"qv has rank 4 and wide rank 8 at .*: {name} adds .* mixture or cat"
    ):
        merge.weights(read)


@pytest.mark.parametrize("name", ["cat", *TWO_SIDED])
def test_a_dora_is_refused_by_name(name: str, read: Callable[[str], AdapterWeights]) -> None:
    merge = merge_of(name, (("qv", 0.6), ("dora", 0.4)))

    with pytest.raises(UnsupportedAdapter, match=f"dora is a DoRA, which {name} cannot merge.* mixture or selection"):
        merge.weights(read)


def test_adapters_of_other_bases_are_refused() -> None:
    known = {
        n: AdapterWeights({Q_PROJ: LoraPair(torch.ones(2, d), torch.ones(8, 2), 1.0)}) for n, d in (("a", 8), ("b", 9))
    }
    merge = merge_of("cat", (("a", 0.5), ("b", 0.5)))

    with pytest.raises(UnsupportedAdapter, match=r"a and b have different shapes at .*q_proj: \(8, 8\) and \(8, 9\)"):
        merge.weights(known.__getitem__)


def test_a_member_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAdapter, match="org/gone@abc: The adapter has no readable"):
        reader(lambda key: tmp_path)("org/gone@abc")


@pytest.mark.parametrize("options", [{"density": 0}, {"density": 1.1}, {"majority": "loudest"}])
def test_an_option_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(options))} is"):
        CompositionOptions(**options)


def test_an_unknown_composition_is_refused() -> None:
    with pytest.raises(SettingError, match=r"no composition 'svd'.*mixture, selection, cat"):
        open_composition("svd")


# -- on disk --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "mixture", "rank"),
    [
        ("cat", (("qv", 0.6), ("wide", -0.3), ("pattern", 0.5), ("rslora", 0.2)), 4 + 8 + 2 + 4),
        ("ties", (("qv", 0.6), ("mlp", 0.4)), 4),
    ],
)
def test_peft_loads_a_saved_merge_with_the_same_logits(
    name: str,
    mixture: Mixture,
    rank: int,
    base: LlamaForCausalLM,
    read: Callable[[str], AdapterWeights],
    tmp_path: Path,
) -> None:
    composed = compose(name, mixture)
    assert composed.merge

    saved = save_merged(tmp_path, composed.merge.weights(read), "org/base")

    config = json.loads((tmp_path / "adapter_config.json").read_text())
    loaded = PeftModel.from_pretrained(copy.deepcopy(base), str(tmp_path)).eval()
    with torch.inference_mode():
        logits = loaded(IDS).logits
    assert (saved, config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (
        rank,
        rank,
        rank,
        "org/base",
    )
    torch.testing.assert_close(logits, served(base, composed, read), **TOLERANCE)


def test_a_saved_adapter_is_read_back_and_keeps_patterns_as_padding(
    read: Callable[[str], AdapterWeights], tmp_path: Path
) -> None:
    save_merged(tmp_path, read("pattern"), "org/base")

    again = read_adapter(tmp_path).modules

    assert {pair.a.shape[0] for pair in again.values()} == {4}
    for name, pair in read("pattern").modules.items():
        torch.testing.assert_close(delta(again[name]), delta(pair))


def test_a_dora_is_not_written_as_a_lora(read: Callable[[str], AdapterWeights], tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAdapter, match="DoRA cannot be written"):
        save_merged(tmp_path, read("dora"), "org/base")


def test_a_merge_of_one_can_be_asked_for(read: Callable[[str], AdapterWeights]) -> None:
    composition: Merging = cat()

    merged = composition.merge((("qv", 0.5),)).weights(read).modules

    torch.testing.assert_close(delta(merged[Q_PROJ]), 0.5 * delta(read("qv").modules[Q_PROJ]))
