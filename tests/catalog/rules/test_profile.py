"""The profile: one record of what an adapter is."""

from __future__ import annotations

import json
from typing import Any

from catalog.adapters.adapter import AdapterId
from catalog.adapters.facts import AdapterFacts, RawAdapter, RepoListing, gather_facts
from catalog.bases.base import Base
from catalog.bases.names import match_base
from catalog.rules.profile import Profile, RankGroup, profile

SHA = "a" * 40
BASE = Base("a/b", SHA, {"q": (8, 16), "k": (8, 4), "v": (8, 4), "lm_head": (8, 50)}, {"wte": (50, 8)})
CONFIG: dict[str, Any] = {
    "peft_type": "LORA",
    "task_type": "CAUSAL_LM",
    "peft_version": "0.18.0",
    "base_model_name_or_path": "a/b-bnb-4bit",
    "r": 2,
    "lora_alpha": 4,
    "rank_pattern": {"v": 4},
    "alpha_pattern": {"v": 2},
    "target_modules": ["q", "k", "v"],
    "bias": "none",
    "use_dora": True,
    "modules_to_save": ["wte", "wte"],
}
SHAPES = {
    "q.lora_A.weight": ("BF16", [2, 8]),
    "q.lora_B.weight": ("BF16", [16, 2]),
    "q.lora_magnitude_vector": ("F32", [16]),
    "v.lora_A.weight": ("BF16", [8, 8]),
    "v.lora_B.weight": ("BF16", [4, 8]),
    "z.lora_A.weight": ("BF16", [2, 8]),
    "z.lora_B.weight": ("BF16", [4, 2]),
    "wte.weight": ("BF16", [53, 8]),
}


def facts() -> AdapterFacts:
    header, end = {}, 0
    for name, (dtype, shape) in SHAPES.items():
        size = (2 if dtype == "BF16" else 4) * shape[0] * (shape[1] if len(shape) == 2 else 1)
        header[f"base_model.model.{name}"] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + size]}
        end += size
    return gather_facts(
        RepoListing("ann/x", SHA, ()), AdapterId("ann/x", "", SHA), RawAdapter(json.dumps(CONFIG), json.dumps(header))
    )


def test_a_profile_against_its_base() -> None:
    adapter = facts()
    assert profile(adapter, BASE, match_base(adapter, [BASE])) == Profile(
        base_named="a/b-bnb-4bit",
        base_source="config",
        base_twin=True,
        peft_type="LORA",
        task_type="CAUSAL_LM",
        peft_version="0.18.0",
        modules=3,
        matched=2,
        targeted=3,
        ranks=(RankGroup(2, 2.0, 2), RankGroup(8, 0.25, 1)),
        dtypes=("BF16", "F32"),
        dora=True,
        rslora=False,
        bias="none",
        saved_modules=("wte",),
        added_rows=3,
        other_tensors=2,
        rank_mismatches=1,  # v: rank_pattern says 4, the tensors say 8
    )


def test_without_a_base_what_only_a_base_tells_is_unknown() -> None:
    adapter = facts()
    found = profile(adapter, None, match_base(adapter))
    assert (found.modules, found.matched, found.targeted, found.added_rows) == (3, None, None, 0)


def test_an_adapter_of_which_nothing_could_be_read_has_an_empty_profile() -> None:
    empty = gather_facts(RepoListing("ann/x", SHA, ()), AdapterId("ann/x", "", SHA), RawAdapter())
    expected = Profile(None, "", False, None, None, None, 0, 0, None, (), (), False, False, None, (), 0, 0, 0)
    assert profile(empty, BASE, match_base(empty)) == expected


def test_an_alpha_that_is_no_number_leaves_the_scaling_open() -> None:
    adapter = gather_facts(
        RepoListing("ann/x", SHA, ()),
        AdapterId("ann/x", "", SHA),
        RawAdapter(
            '{"lora_alpha": "x"}',
            '{"q.lora_A.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]},'
            ' "q.lora_B.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [4, 8]}}',
        ),
    )
    assert profile(adapter, None, match_base(adapter)).ranks == (RankGroup(1, None, 1),)
