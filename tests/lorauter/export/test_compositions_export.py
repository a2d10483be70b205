"""Stories of exporting routes and adapters to vLLM and LoRAX: bodies as their documentation has them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.weights import PREFIX, AdapterWeights, read_adapter
from lorauter.compositions import open_composition
from lorauter.compositions.base import CompositionOptions
from lorauter.compositions.reading import reader
from lorauter.compositions.sign_election import elect_and_merge
from lorauter.compositions.thinning import keep_largest
from lorauter.export import lorax, vllm
from lorauter.export.adapters import ServedAdapter, ServedAdapters, plain_alpha
from lorauter.export.requests import Asked
from lorauter.routing.routes import Mixture

BASE = "org/base"
Q_PROJ = "model.layers.0.self_attn.q_proj"
NAMES = ("one", "two", "wide", "loud", "pattern", "dora", "rs16", "rs8")
ONE, TWO, WIDE, LOUD, PATTERN, DORA, RS16, RS8 = (f"ann/{name}@{'0' * 40}" for name in NAMES)
CONFIGS: dict[str, dict[str, Any]] = {
    ONE: {"r": 4, "lora_alpha": 8},
    TWO: {"r": 4, "lora_alpha": 8},
    WIDE: {"r": 8, "lora_alpha": 16},
    LOUD: {"r": 4, "lora_alpha": 64},
    PATTERN: {"r": 8, "lora_alpha": 8, "rank_pattern": {"q_proj": 4}, "alpha_pattern": {"q_proj": 2}},
    DORA: {"r": 4, "lora_alpha": 8, "use_dora": True},
    RS16: {"r": 16, "lora_alpha": 16, "use_rslora": True, "lora_dropout": 0.1},
    RS8: {"r": 8, "lora_alpha": 16, "use_rslora": True},
}
Find = Callable[[str], Path]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    for seed, (key, config) in enumerate(CONFIGS.items()):
        torch.manual_seed(seed)
        folder = tmp_path / key
        folder.mkdir(parents=True)
        rank = config.get("rank_pattern", {}).get("q_proj", config["r"])
        tensors = {"lora_A.weight": torch.randn(rank, 16), "lora_B.weight": torch.randn(12, rank)}
        if config.get("use_dora"):
            tensors["lora_magnitude_vector"] = torch.ones(12)
        save_file({f"{PREFIX}{Q_PROJ}.{n}": t for n, t in tensors.items()}, folder / "adapter_model.safetensors")
        plain = {"peft_type": "LORA", "target_modules": ["q_proj"]}
        (folder / "adapter_config.json").write_text(json.dumps(plain | config))
    return lambda key: tmp_path / key


def adapters(name: str, find: Find, out: Path) -> ServedAdapters:
    return ServedAdapters(open_composition(name), find, out, BASE)


def delta(weights: AdapterWeights) -> torch.Tensor:
    pair = weights.modules[Q_PROJ]
    return pair.scaling * pair.b.float() @ pair.a.float()


# -- which adapters -------------------------------------------------------------------------------


def test_a_batch_served_top_1_needs_the_adapters_own_folders(find: Find, tmp_path: Path) -> None:
    served = adapters("selection", find, tmp_path / "out")

    found = [served.of(m) for m in [((ONE, 0.6), (WIDE, 0.4)), ((WIDE, 1.0),), (), ((ONE, 1.0),)]]

    one, wide = ServedAdapter(ONE, find(ONE), 4), ServedAdapter(WIDE, find(WIDE), 8)
    assert found == [one, wide, None, one]
    assert served.all == (one, wide)
    assert not (tmp_path / "out").exists()


def test_a_mixture_is_written_as_one_cat_adapter(find: Find, tmp_path: Path) -> None:
    served = adapters("mixture", find, tmp_path / "out")

    found = served.of(((ONE, 0.6), (WIDE, -0.4), (PATTERN, 0.5)))

    assert found is not None
    assert (found.name[:4], found.folder.parent, found.rank) == ("cat:", tmp_path / "out", 4 + 8 + 4)
    one, wide, pattern = (delta(read_adapter(find(key))) for key in (ONE, WIDE, PATTERN))
    torch.testing.assert_close(delta(read_adapter(found.folder)), 0.6 * one - 0.4 * wide + 0.5 * pattern)


def test_an_adapter_whose_patterns_others_pass_over_is_written_plain(find: Find, tmp_path: Path) -> None:
    found = adapters("selection", find, tmp_path / "out").of(((PATTERN, 1.0),))

    assert found is not None
    config = json.loads((found.folder / "adapter_config.json").read_text())
    assert (found.name, found.rank, config["r"], config["lora_alpha"]) == (PATTERN, 4, 4, 4)
    assert not {"rank_pattern", "alpha_pattern"} & set(config)
    torch.testing.assert_close(delta(read_adapter(found.folder)), delta(read_adapter(find(PATTERN))))


@pytest.mark.parametrize(("key", "alpha"), [(RS16, 64), (RS8, 16 * 8**0.5)])
def test_an_rslora_says_its_scaling_by_alpha_alone(key: str, alpha: float, find: Find, tmp_path: Path) -> None:
    found = adapters("selection", find, tmp_path / "out").of(((key, 1.0),))

    assert found is not None
    config, own = (json.loads((f / "adapter_config.json").read_text()) for f in (found.folder, find(key)))
    assert config == {**own, "lora_alpha": pytest.approx(alpha, rel=1e-15), "use_rslora": False}
    served, kept = (read_adapter(folder).modules[Q_PROJ] for folder in (found.folder, find(key)))
    assert config["lora_alpha"] / config["r"] == served.scaling == kept.scaling
    assert torch.equal(served.a, kept.a) and torch.equal(served.b, kept.b)
    assert adapters("selection", find, tmp_path / "out").of(((key, 1.0),)) == found


@pytest.mark.parametrize("rank", [1, 2, 3, 6, 7, 16, 24, 64, 100, 256])
@pytest.mark.parametrize("alpha", [1, 9, 16, 32.5, 128])
def test_a_plain_alpha_gives_the_scaling_back(alpha: float, rank: int) -> None:
    scaling = alpha / math.sqrt(rank)

    given = plain_alpha(scaling, rank) / rank

    exact = rank & (rank - 1) == 0 or math.isqrt(rank) ** 2 == rank
    assert given == scaling if exact else given == pytest.approx(scaling, rel=2**-52)


def test_a_weight_below_1_is_written_into_a_folder(find: Find, tmp_path: Path) -> None:
    found = adapters("mixture", find, tmp_path / "out").of(((ONE, 0.6),))  # the rest went to the base

    assert found is not None
    torch.testing.assert_close(delta(read_adapter(found.folder)), 0.6 * delta(read_adapter(find(ONE))))


def test_a_folder_that_is_there_is_used_again(find: Find, tmp_path: Path) -> None:
    mixture = ((ONE, 0.5), (TWO, 0.5))
    first = adapters("ties", find, tmp_path / "out").of(mixture)
    assert first is not None
    written = (first.folder / "adapter_model.safetensors").stat().st_mtime_ns

    again = adapters("ties", find, tmp_path / "out").of(mixture)

    assert again == first
    assert (first.folder / "adapter_model.safetensors").stat().st_mtime_ns == written


@pytest.mark.parametrize("name", ["selection", "mixture", "linear"])
def test_a_dora_is_refused_by_name(name: str, find: Find, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAdapter, match=f"{DORA} is a DoRA"):
        adapters(name, find, tmp_path / "out").of(((DORA, 0.6), (ONE, 0.4)))


# -- vLLM -----------------------------------------------------------------------------------------


def test_vllm_requests_name_the_adapter_as_the_model() -> None:
    adapter = ServedAdapter(ONE, Path("/adapters/one"), 4)

    bodies = [
        vllm.completion(Asked("Is water wet?\nAnswer:", ((ONE, 1.0),), 8), BASE, adapter),
        vllm.completion(Asked("2 + 2 =", (), 4, stop=("\n",)), BASE, None),
        vllm.completion(Asked("2 + 2 =", (), 4, stop=("<|end|>",), special_stops=True), BASE, None),
    ]

    assert bodies == [
        {"model": ONE, "prompt": "Is water wet?\nAnswer:", "max_tokens": 8, "temperature": 0},
        {"model": BASE, "prompt": "2 + 2 =", "max_tokens": 4, "temperature": 0, "stop": ["\n"]},
        {"model": BASE, "prompt": "2 + 2 =", "max_tokens": 4, "temperature": 0}
        | {"stop": ["<|end|>"], "skip_special_tokens": False},
    ]
    assert vllm.load_request(adapter) == {"lora_name": ONE, "lora_path": "/adapters/one"}


def test_vllm_is_started_with_all_adapters_and_a_rank_it_takes() -> None:
    found = vllm.serve_command(
        BASE, [ServedAdapter(ONE, Path("/adapters/one"), 4), ServedAdapter("cat:1", Path("/a=b/1"), 36)]
    )

    start = ["vllm", "serve", BASE, "--enable-lora", "--max-lora-rank", "64", "--lora-modules"]
    assert found == [*start, f"{ONE}=/adapters/one", '{"name": "cat:1", "path": "/a=b/1"}']
    assert vllm.serve_command(BASE, []) == ["vllm", "serve", BASE]


def test_a_rank_above_vllms_is_refused() -> None:
    with pytest.raises(UnsupportedAdapter, match="cat:1 has rank 640; vLLM takes 512"):
        vllm.max_lora_rank([ServedAdapter(ONE, Path("/one"), 4), ServedAdapter("cat:1", Path("/cat"), 640)])


# -- LoRAX ----------------------------------------------------------------------------------------


def test_lorax_requests_name_the_folder() -> None:
    adapter = ServedAdapter(ONE, Path("/adapters/one"), 4)

    bodies = [
        lorax.generate(Asked("Why?", ((ONE, 1.0),), 8), adapter),
        lorax.generate(Asked("Why?", (), 4, ("\n",)), None),
    ]

    plain = {"do_sample": False, "return_full_text": False}
    named = {"adapter_id": "/adapters/one", "adapter_source": "local"}
    assert bodies == [
        {"inputs": "Why?", "parameters": {**named, **plain, "max_new_tokens": 8}},
        {"inputs": "Why?", "parameters": {**plain, "max_new_tokens": 4, "stop": ["\n"]}},
    ]


def merged(name: str, mixture: Mixture, find: Find) -> dict[str, Any]:
    options = CompositionOptions(density=0.5, majority="frequency")
    body = lorax.generate_merged(Asked("Why?", mixture, 8), name, options, find, reader(find))
    parameters: dict[str, Any] = body["parameters"]
    return parameters


@pytest.mark.parametrize(
    ("name", "weights", "told"),
    [
        ("fusion", [0.64, 0.36], {"merge_strategy": "linear", "density": 1.0}),
        ("linear", [0.8, 0.6], {"merge_strategy": "linear", "density": 1.0}),
        ("ties", [0.8, 0.6], {"merge_strategy": "ties", "density": 0.5, "majority_sign_method": "frequency"}),
        ("dare_linear", [0.8, 0.6], {"merge_strategy": "dare_linear", "density": 0.5}),
        ("dare_ties", [0.8, 0.6], {"merge_strategy": "dare_ties", "density": 0.5, "majority_sign_method": "frequency"}),
    ],
)
def test_lorax_is_told_what_to_merge(name: str, weights: list[float], told: dict[str, Any], find: Find) -> None:
    parameters = merged(name, ((ONE, 0.64), (TWO, 0.36)), find)

    ids = [str(find(ONE)), str(find(TWO))]
    assert (parameters["adapter_source"], parameters["max_new_tokens"]) == ("local", 8)
    assert parameters["merged_adapters"] == {"ids": ids, "weights": pytest.approx(weights), **told}


@pytest.mark.parametrize("name", ["fusion", "linear", "ties"])
def test_what_lorax_makes_of_it_is_our_merge(name: str, find: Find) -> None:
    """LoRAX's arithmetic, as its source has it: A and B by the full weight, then the first member's alpha / r."""
    mixture = ((ONE, 0.64), (TWO, 0.36))
    options = CompositionOptions(density=0.5, majority="frequency")
    weights = torch.tensor(merged(name, mixture, find)["merged_adapters"]["weights"])[:, None, None]
    pairs = [read_adapter(find(key)).modules[Q_PROJ] for key in (ONE, TWO)]
    sides = [torch.stack([pair.a for pair in pairs]), torch.stack([pair.b for pair in pairs])]
    if name == "ties":
        thin = [torch.stack([keep_largest(tensor, 0.5) for tensor in side]) for side in sides]
        a, b = (elect_and_merge(side, weights, "frequency") for side in thin)
    else:
        a, b = ((side * weights).sum(0) for side in sides)

    merge = open_composition(name, options).compose(mixture).merge

    assert merge is not None
    torch.testing.assert_close(delta(merge.weights(reader(find))), 2 * b @ a)


def test_a_lone_adapter_is_not_merged_and_a_weighted_one_is_not_thinned(find: Find) -> None:
    alone, weighted = merged("ties", ((ONE, 1.0),), find), merged("ties", ((ONE, 0.25),), find)

    assert (alone["adapter_id"], "merged_adapters" in alone) == (str(find(ONE)), False)
    expected = {"ids": [str(find(ONE))], "weights": [0.5], "merge_strategy": "linear", "density": 1.0}
    assert weighted["merged_adapters"] == expected
    assert "merged_adapters" not in merged("ties", (), find)


@pytest.mark.parametrize(
    ("name", "mixture", "error", "reason"),
    [
        ("cat", ((ONE, 0.5), (TWO, 0.5)), SettingError, "LoRAX has no merge 'cat'"),
        ("ties", ((ONE, 0.5), (TWO, -0.5)), SettingError, "two@0* has a negative weight"),
        ("linear", ((ONE, 0.5), (WIDE, 0.4)), UnsupportedAdapter, "one@0* has rank 4 and scaling 2, .*wide@0* 8 and 2"),
        (
            "linear",
            ((ONE, 0.5), (LOUD, 0.4)),
            UnsupportedAdapter,
            "one@0* has rank 4 and scaling 2, .*loud@0* 4 and 16",
        ),
        ("linear", ((ONE, 0.5), (DORA, 0.4)), UnsupportedAdapter, "dora@0* is a DoRA"),
        ("linear", ((RS16, 1.0),), UnsupportedAdapter, "rs16@0* .* is an rsLoRA, which LoRAX passes over"),
        ("linear", ((PATTERN, 1.0),), UnsupportedAdapter, "pattern@0* has ranks or scalings of single modules"),
    ],
)
def test_what_lorax_would_merge_otherwise_is_refused(
    name: str, mixture: Mixture, error: type[Exception], reason: str, find: Find
) -> None:
    with pytest.raises(error, match=reason):
        merged(name, mixture, find)
