"""Stories of compositions, with PEFT's add_weighted_adapter as the reference: fp32, a tiny random Llama."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import PeftModel
from peft.utils import merge_utils
from transformers import LlamaForCausalLM

from lorauter.adapters.weights import AdapterWeights, LoraPair
from lorauter.compositions import COMPOSITIONS
from lorauter.compositions.base import Composed, CompositionOptions
from lorauter.compositions.thinning import drawn
from lorauter.routing.routes import Mixture
from tests.lorauter.compositions.kinds import (
    IDS,
    O_PROJ,
    Q_PROJ,
    TOLERANCE,
    V_PROJ,
    compose,
    delta,
    merge_of,
    served,
)

pytestmark = pytest.mark.usefixtures("one_thread")


SAME_RANK: list[Mixture] = [
    (("qv", 0.6), ("qv_too", 0.4)),
    (("qv", 0.7), ("mlp", -0.4), ("qv_too", 1.3)),  # other targets, a negative weight, weights that add up to anything
    (("qv", 0.5), ("rslora", 0.5)),
]


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
