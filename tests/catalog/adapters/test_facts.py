"""A listing entry and two reads become facts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.adapters.adapter import AdapterId, LoraShape
from catalog.adapters.facts import AdapterFacts, RawAdapter, RepoListing, gather_facts, listing_from_json
from catalog.adapters.parse import Problem, Tensor
from catalog.rules.table import Base, Policy, judge

SHA = "a" * 40
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
TAGS = ("license:mit", "base_model:adapter:some/base")


def test_a_listing_entry_is_read_field_by_field() -> None:
    item = {
        "id": "ann/x",
        "sha": SHA,
        "siblings": [{"rfilename": "README.md"}, {"rfilename": CONFIG}],
        "tags": ["peft", "license:mit"],
        "lastModified": "2026-01-01T00:00:00.000Z",
        "downloads": 7,
        "likes": 2,
        "gated": "manual",
        "private": False,
    }
    listing = listing_from_json(item)
    assert listing == RepoListing(
        "ann/x", SHA, ("README.md", CONFIG), ("peft", "license:mit"), "2026-01-01T00:00:00.000Z", 7, 2, True, False
    )
    assert (listing.licence, listing.base_models) == ("mit", ())


def test_the_bases_of_the_card_are_read_from_the_tags() -> None:
    tags = ("base_model:a/x", "base_model:adapter:a/x", "base_model:quantized:b/y", "base_model:", "base_modelled:c/z")
    assert RepoListing("ann/x", SHA, (), tags).base_models == ("a/x", "b/y")


def test_fields_of_the_wrong_type_count_as_absent() -> None:
    item = {"id": 1, "sha": None, "siblings": "x", "tags": {"a": 1}, "downloads": True, "likes": -1, "gated": None}
    assert listing_from_json(item) == RepoListing("", "", ())


def test_siblings_that_are_no_files_keep_no_name() -> None:
    item = {"siblings": [{"rfilename": "a"}, "b", {"rfilename": 3}]}
    assert listing_from_json(item).files == ("a", "")


def test_half_a_surrogate_pair_in_a_name_becomes_a_question_mark() -> None:
    assert listing_from_json({"siblings": [{"rfilename": "a\ud800"}]}).files == ("a?",)


def test_every_folder_with_a_config_is_one_adapter() -> None:
    files = (CONFIG, f"b/{CONFIG}", f"a/c/{CONFIG}", f"b/{CONFIG}", f"d/not_{CONFIG}")
    assert RepoListing("ann/x", SHA, files).adapters() == [
        AdapterId("ann/x", "", SHA),
        AdapterId("ann/x", "a/c", SHA),
        AdapterId("ann/x", "b", SHA),
    ]


def test_a_repo_without_a_config_is_judged_at_its_root() -> None:
    assert RepoListing("ann/x", SHA, ("model.safetensors",)).adapters() == [AdapterId("ann/x", "", SHA)]


def test_files_of_a_folder_are_those_directly_in_it() -> None:
    listing = RepoListing("ann/x", SHA, ("z", "a/y", "a/b/x", "a/w"))
    assert (listing.files_in(""), listing.files_in("a")) == (("z",), ("w", "y"))


@pytest.mark.parametrize("path", ["", "a/b"])
def test_the_key_of_an_adapter_leads_back_to_it(path: str) -> None:
    adapter = AdapterId("ann/x", path, SHA)
    assert AdapterId.parse(adapter.key) == adapter


def test_facts_hold_what_listing_config_and_header_say() -> None:
    listing = RepoListing("ann/x", SHA, (f"a/{CONFIG}", f"a/{WEIGHTS}"), TAGS, downloads=5, private=True)
    header = json.dumps(
        {
            "base_model.model.q.lora_A.weight": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]},
            "base_model.model.q.lora_B.weight": {"dtype": "BF16", "shape": [4, 2], "data_offsets": [12, 28]},
            "base_model.model.q.lora_magnitude_vector": {"dtype": "F32", "shape": [4], "data_offsets": [28, 44]},
        }
    )
    size = 8 + len(header) + 44
    facts = gather_facts(listing, AdapterId("ann/x", "a", SHA), RawAdapter('{"r": 2}', header, size, "f" * 64))
    assert facts == AdapterFacts(
        id=AdapterId("ann/x", "a", SHA),
        files=(CONFIG, WEIGHTS),
        licence="mit",
        gated=True,
        downloads=5,
        config={"r": 2},
        size=size,
        sha256="f" * 64,
        lora=(LoraShape("q", 2, 3, 4, "BF16"),),
        other_tensors=("base_model.model.q.lora_magnitude_vector",),
        header_read=True,
        card_bases=("some/base",),
        tensors=(
            Tensor("base_model.model.q.lora_A.weight", "BF16", (2, 3), 0, 12),
            Tensor("base_model.model.q.lora_B.weight", "BF16", (4, 2), 12, 28),
            Tensor("base_model.model.q.lora_magnitude_vector", "F32", (4,), 28, 44),
        ),
    )
    assert (facts.max_rank, facts.dora) == (2, True)


def test_problems_of_reading_come_before_those_of_parsing() -> None:
    raw = RawAdapter("[]", "{", 9, None, (Problem("unreadable", "x"),))
    facts = gather_facts(RepoListing("ann/x", SHA, ()), AdapterId("ann/x", "", SHA), raw)
    assert [p.reason for p in facts.problems] == ["unreadable", "bad_config", "bad_header"]
    assert (facts.config, facts.lora, facts.header_read, facts.max_rank) == (None, (), False, 0)


texts = st.text(st.characters(exclude_categories=()), max_size=8)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=10,
)
_FIELDS = ("id", "sha", "siblings", "tags", "lastModified", "downloads", "likes", "gated", "private")
items = st.fixed_dictionaries({}, optional=dict.fromkeys(_FIELDS, json_values)) | st.fixed_dictionaries(
    {"id": texts, "sha": texts, "siblings": st.lists(st.fixed_dictionaries({"rfilename": texts}), max_size=4)}
)
plain = st.text(max_size=40) | json_values.map(json.dumps)
problems = st.builds(Problem, st.sampled_from(("unreadable", "bad_config", "other")), st.text(max_size=5))
raws = st.builds(
    RawAdapter,
    st.none() | plain,
    st.none() | plain,
    st.none() | st.integers(0, 1 << 60),
    st.none() | st.text(max_size=5),
    st.lists(problems, max_size=2).map(tuple),
)
BASE = Base("tiny/llama", SHA, {"q": (3, 4)})


@given(items, raws)
@settings(max_examples=300, deadline=None)
def test_whatever_a_hub_sends_is_judged_and_can_be_stored(item: dict[str, object], raw: RawAdapter) -> None:
    listing = listing_from_json(item)
    for adapter in listing.adapters():
        findings = judge(gather_facts(listing, adapter, raw), BASE, Policy())
        stored = json.dumps([[f.reason, f.evidence] for f in findings], ensure_ascii=False).encode()
        assert stored and all(len(f.evidence) <= 500 for f in findings)
