"""Which base an adapter is made for: config, then card, then path; never its shapes."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from catalog.adapters.adapter import AdapterId, LoraShape
from catalog.adapters.facts import AdapterFacts
from catalog.adapters.safe_names import is_repo_id
from catalog.bases.base import Base
from catalog.bases.names import BaseMatch, canonical, listed_names, match_base, table

SHA = "a" * 40
OURS = Base("Acme/Tiny-Llama", SHA, {"q": (16, 32), "v": (16, 8)})


def facts(
    named: object, *, card: tuple[str, ...] = (), lora: tuple[LoraShape, ...] = (), config: bool = True
) -> AdapterFacts:
    return AdapterFacts(
        id=AdapterId("ann/x", "", SHA),
        files=(),
        licence=None,
        gated=False,
        downloads=0,
        config={"peft_type": "LORA", "base_model_name_or_path": named} if config else None,
        size=None,
        sha256=None,
        lora=lora,
        other_tensors=(),
        header_read=bool(lora),
        card_bases=card,
    )


@pytest.mark.parametrize(
    ("named", "base", "source", "twin"),
    [
        ("some/model", "some/model", "config", False),
        ("acme/tiny-llama", "Acme/Tiny-Llama", "config", False),
        ("gpt2", "openai-community/gpt2", "config", False),
        ("T5-small", "google-t5/t5-small", "config", False),
        ("meta-llama/Llama-3.2-1B-instruct", "meta-llama/Llama-3.2-1B-Instruct", "config", False),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "config", False),
        ("daryl149/llama-2-7b-chat-hf", "meta-llama/Llama-2-7b-chat-hf", "config", False),
        ("NousResearch/Llama-2-7b-hf", "meta-llama/Llama-2-7b-hf", "config", False),
        ("vilsonrodrigues/falcon-7b-instruct-sharded", "tiiuae/falcon-7b-instruct", "config", False),
        ("nobody/unheard-of-sharded", "nobody/unheard-of-sharded", "config", False),
        ("unsloth/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B-Instruct", "config", False),
        ("unsloth/gemma-2-2b-bnb-4bit", "google/gemma-2-2b", "config", True),
        ("unsloth/qwen2.5-7b-instruct-unsloth-bnb-4bit", "Qwen/Qwen2.5-7B-Instruct", "config", True),
        ("unsloth/tinyllama-bnb-4bit", "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T", "config", True),
        ("TheBloke/Llama-2-7B-Chat-GPTQ", "meta-llama/Llama-2-7b-chat-hf", "config", True),
        ("Qwen/Qwen2.5-7B-Instruct-GPTQ-Int4", "Qwen/Qwen2.5-7B-Instruct", "config", True),
        ("hub/Meta-Llama-3.1-8B-Instruct-AWQ-INT4", "meta-llama/Llama-3.1-8B-Instruct", "config", True),
        ("nobody/unheard-of-8bit", "nobody/unheard-of", "config", True),
        ("nobody/tiny-llama-4bit", "Acme/Tiny-Llama", "config", True),
        ("someone/tiny-llama", "someone/tiny-llama", "config", False),  # a namesake is no copy
        ("/c/models--meta-llama--Meta-Llama-3-8B/snapshots/8cde", "meta-llama/Meta-Llama-3-8B", "path", False),
        ("/data/Qwen/Qwen2.5-VL-7B-Instruct/", "Qwen/Qwen2.5-VL-7B-Instruct", "path", False),
        ("/home/me/models/Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct", "path", False),
        ("C:\\models\\Qwen2.5-1.5B-Instruct", "Qwen/Qwen2.5-1.5B-Instruct", "path", False),
        ("models/gemma-2-2b-bnb-4bit", "google/gemma-2-2b", "path", True),
        ("../base/tiny-llama", "Acme/Tiny-Llama", "path", False),
        ("internlm-chat-7b", "internlm/internlm-chat-7b", "path", False),
        ("/root/.cache/modelscope/hub/Qwen/Qwen2___5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", "path", False),
        ("/hub/models/LLM-Research/Meta-Llama-3___1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "path", False),
        ("LLM-Research/Llama-3.2-1B-Instruct", "meta-llama/Llama-3.2-1B-Instruct", "config", False),
        ("/kaggle/input/llama-3.1/transformers/8b-instruct/2", "meta-llama/Llama-3.1-8B-Instruct", "path", False),
        ("/kaggle/input/gemma-2/transformers/gemma-2-2b-it/2", "google/gemma-2-2b-it", "path", False),
        ("/kaggle/input/mistral/pytorch/7b-instruct-v0.1-hf/1", "mistralai/Mistral-7B-Instruct-v0.1", "path", False),
        ("/root/.cache/kagglehub/models/q/qwen2.5/transformers/7b/1", "Qwen/Qwen2.5-7B", "path", False),
        ("gemma3-270m", "google/gemma-3-270m", "path", False),
        ("/root/out/Gemma_3.270m-it", "google/gemma-3-270m-it", "path", False),
        ("tiny_llama", "Acme/Tiny-Llama", "path", False),
    ],
)
def test_the_config_names_the_base(named: str, base: str, source: str, twin: bool) -> None:
    assert match_base(facts(named), [OURS]) == BaseMatch(base, source, named, twin)


@pytest.mark.parametrize("named", [None, "", 7, "base_model", "/root/out/checkpoint-20", "/home/LLAMA/7B/Transformer/"])
def test_where_the_config_tells_nothing_the_card_is_asked(named: object) -> None:
    assert match_base(facts(named, card=("gpt2",))) == BaseMatch("openai-community/gpt2", "card", "gpt2", twin=False)


def test_a_config_that_names_a_base_wins_over_the_card() -> None:
    assert match_base(facts("some/model", card=("other/model",))).base == "some/model"


def test_of_several_bases_on_a_card_the_runs_own_counts_and_else_the_first() -> None:
    several = facts(None, card=("a/x", "acme/TINY-llama"))
    assert match_base(several, [OURS]) == BaseMatch("Acme/Tiny-Llama", "card", "acme/TINY-llama", twin=False)
    assert match_base(several) == BaseMatch("a/x", "card", "a/x", twin=False)


@pytest.mark.parametrize(
    "named",
    [
        "./merged_sft_model",
        "/kaggle/input/llama-3/transformers/8b-chat-hf/1",  # Kaggle's own name for what the hub calls Instruct
        "/kaggle/input/my-model/checkpoint-3",
        "/data/llama-32-1b",  # 3.2-1b, or 32-1b
        "/data/qwen25-7b",
        "./models/llama-3.2-3b-base",
        "/data/Qwen2.5-7B-Instruct/checkpoint-500",  # trained on from there
        "/data/Qwen2.5-7B-Instruct-merged",
        "___",
    ],
)
def test_a_name_that_leaves_a_doubt_stands_for_nothing(named: str) -> None:
    assert match_base(facts(named, lora=(Q,)), [OURS]) == BaseMatch(None, "", named, twin=False)


Q = LoraShape("q", 4, 16, 32, "F32")


@pytest.mark.parametrize("named", [None, "", "/a/path", "./merged_sft_model"])
def test_shapes_stand_in_for_no_name(named: str | None) -> None:
    found = match_base(facts(named, lora=(Q,)), [OURS])
    assert found == BaseMatch(None, "", named or "", twin=False)


def test_a_config_that_was_not_read_names_nothing() -> None:
    assert match_base(facts("some/model", config=False)) == BaseMatch(None, "", "", twin=False)


def test_an_alias_may_name_a_path_as_a_whole() -> None:
    found = match_base(facts("./merged_sft_model"), [OURS], {"./Merged_SFT_model": "acme/tiny-llama"})
    assert (found.base, found.source) == ("Acme/Tiny-Llama", "path")


@pytest.mark.parametrize("aliases", [{"Our/Copy": "acme/base"}, {"our/copy": "acme/base"}])
def test_a_users_alias_goes_before_all_and_knows_no_case(aliases: Mapping[str, str]) -> None:
    assert canonical("OUR/copy", aliases) == "acme/base"
    assert canonical("our/copy-bnb-4bit", aliases) == "acme/base"
    assert canonical("gpt2", {"GPT2": "my/gpt2"}) == "my/gpt2"


def test_a_name_that_stands_for_nothing_is_its_own() -> None:
    assert canonical("/some/where") == "/some/where"


def test_a_hub_is_asked_for_a_base_under_all_its_names() -> None:
    assert listed_names("meta-llama/Llama-3.1-8B") == (
        "meta-llama/Llama-3.1-8B",
        "meta-llama/Meta-Llama-3.1-8B",
        "unsloth/Meta-Llama-3.1-8B-bnb-4bit",
        "unsloth/meta-llama-3.1-8b-bnb-4bit",
        "unsloth/Meta-Llama-3.1-8B-unsloth-bnb-4bit",
        "unsloth/meta-llama-3.1-8b-unsloth-bnb-4bit",
        "unsloth/Meta-Llama-3.1-8B",
        "unsloth/meta-llama-3.1-8b",
    )
    assert listed_names("acme/tiny", {"my/tiny": "Acme/Tiny"})[:3] == ("acme/tiny", "my/tiny", "unsloth/tiny-bnb-4bit")
    assert listed_names("gpt2")[:2] == ("gpt2", "openai-community/gpt2")


@pytest.mark.parametrize("base", [*table(), "tiny/llama"])
def test_every_name_that_a_hub_is_asked_for_leads_back_to_the_base(base: str) -> None:
    names = listed_names(base)
    assert names[0] == base and len(names) <= 8
    led = {canonical(name) for name in names if base in table()}
    assert led <= {base}


def test_the_table_is_sound() -> None:
    known = table()
    copies = [copy.lower() for others in known.values() for copy in others]
    ids = {id_.lower() for id_ in known}
    assert all(is_repo_id(id_) for id_ in known)
    assert len(copies) == len(set(copies))
    assert [c for c in copies if c in ids and c not in ("eleutherai/gpt-neo-125m", "eleutherai/gpt-j-6b")] == []
