"""Every rule of the table: a case that it rejects, and the same case one step nearer to sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from catalog.adapters.adapter import AdapterId, Finding, LoraShape
from catalog.adapters.facts import AdapterFacts
from catalog.adapters.parse import Problem, Tensor, lora_shapes
from catalog.bases.names import BaseMatch
from catalog.rules.table import (
    RULES,
    Base,
    Policy,
    WeightFacts,
    judge,
    judge_alone,
    judge_weights,
)
from tests.catalog.rules.rule_cases import BASE, CASES, LOOSE, POLICY, SHA, SOUND, P, Q, V, config, lora, tensors

FLAT = [(reason, *case) for reason, cases in CASES.items() for case in cases]


def test_every_rule_of_the_table_has_a_case() -> None:
    elsewhere = ["dora_mismatch"]  # it needs a policy that allows DoRA, and has stories of its own below
    assert [*CASES, *elsewhere] == sorted((reason for reason, _ in RULES), key=[*CASES, *elsewhere].index)


@pytest.mark.parametrize(("reason", "broken", "evidence", "near"), FLAT)
def test_a_rule_rejects_its_case_alone_and_leaves_the_neighbour(
    reason: str, broken: dict[str, Any], evidence: str, near: dict[str, Any]
) -> None:
    assert judge(replace(SOUND, **broken), BASE, POLICY) == [Finding(reason, evidence)]
    assert judge(replace(SOUND, **near), BASE, POLICY) == []


def test_a_base_that_is_not_here_is_known_by_its_name_alone() -> None:
    def offline(**changes: Any) -> list[Finding]:
        return judge(replace(SOUND, **changes), None, POLICY)

    assert offline(**config(base_model_name_or_path="openai/whisper-small")) == [
        Finding("base_kind", "'openai/whisper-small' is an audio model by its name")
    ]
    assert offline(**config(base_model_name_or_path="acme/whisperer-7b")) == []
    assert offline(**lora("model.encoder.layers.0.q_proj")) == [
        Finding("base_kind", "no causal language model has a module 'model.encoder.layers.0.q_proj'")
    ]
    assert offline(**lora("transformer.encoder.layers.0.q", "model.decoder.layers.0.q_proj")) == []


def test_without_a_base_the_rules_about_its_modules_pass() -> None:
    facts = replace(SOUND, **lora("far.away", "other"))
    assert judge(facts, None, POLICY) == []


def test_an_unreadable_base_comes_after_what_is_wrong_with_the_adapter_itself() -> None:
    facts = replace(SOUND, problems=(Problem("truncated", "short"),), licence=None)
    found = [f.reason for f in judge(facts, None, POLICY, base_problem="gone")]
    assert found == ["truncated", "base_unreadable", "licence"]


def test_the_match_that_is_given_counts() -> None:
    match = BaseMatch("Tiny/Llama", "config", "my/alias", twin=False)
    facts = replace(SOUND, **config(base_model_name_or_path="my/alias"))
    assert judge(facts, BASE, POLICY, match) == []


def test_before_the_config_is_read_only_the_listing_can_reject() -> None:
    facts = replace(SOUND, config=None, lora=(), header_read=False, size=None, sha256=None)
    assert judge(facts, BASE, POLICY) == []


def test_a_policy_may_let_the_rank_of_the_header_win_over_the_configs() -> None:
    facts = replace(SOUND, **config(r=64, rank_pattern={"q": 2}))
    assert [f.reason for f in judge(facts, BASE, POLICY)] == ["rank_mismatch"]
    assert judge(facts, BASE, replace(POLICY, rank_mismatch=True)) == []


def test_a_revision_that_the_base_was_asked_for_by_is_its_own() -> None:
    facts = replace(SOUND, **config(revision="step1000"))
    assert judge(facts, replace(BASE, revision="step1000"), POLICY) == []


def test_before_the_base_is_read_a_commit_may_be_its_own_and_a_name_is_not() -> None:
    named, commit = (replace(SOUND, **config(revision=r)) for r in ("step1000", SHA))
    assert judge(named, None, POLICY) == [Finding("base_revision", "made for the base's revision 'step1000'")]
    assert judge(commit, None, POLICY) == []
    assert [f.reason for f in judge_alone(commit.config or {}, PAIR)] == ["base_revision"]


def test_a_dora_of_alpha_0_may_still_change_the_base() -> None:
    names = {f"{P}{s.module}__lora_magnitude_vector": (s.d_out,) for s in (Q, V)}
    facts = replace(SOUND, **config(use_dora=True, lora_alpha=0), **tensors(**names))
    assert judge(facts, BASE, LOOSE) == []


WRAPPED = ["_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "base_model", "q"]


@pytest.mark.parametrize("part", WRAPPED)
@pytest.mark.parametrize("base", [None, BASE])
def test_what_a_wrapper_put_into_keys_is_told_with_a_base_and_without(part: str, base: Base | None) -> None:
    facts = gathered({}, f"base_model.model.{part}.{part}.q")
    assert judge(facts, base, POLICY)[0].reason == "key_prefix"


def test_what_the_base_calls_its_modules_is_no_wrapper() -> None:
    named = Base("Tiny/Llama", SHA, {"module.q": (16, 32)})
    facts = gathered(config(target_modules=["q"]), "base_model.model.module.q")
    assert judge(facts, named, POLICY) == []
    assert judge(facts, None, POLICY)[0].reason == "key_prefix"


@pytest.mark.parametrize("base", [None, BASE])
def test_all_linear_leaves_out_the_head(base: Base | None) -> None:
    head = LoraShape("lm_head", 4, 16, 100, "F32")
    facts = replace(SOUND, lora=(Q, V, head), **config(target_modules="all-linear"))
    told = "1 of 3 modules are not targeted, e.g. 'lm_head', and all-linear leaves out the output head"
    assert judge(facts, base, POLICY) == [Finding("untargeted_modules", told)]


HALVES = {"A": (4, 16), "B": (32, 4)}
PAIR = tuple(Tensor(f"base_model.model.q.lora_{side}.weight", "F32", shape, 0, 0) for side, shape in HALVES.items())


def gathered(changes: dict[str, Any], module: str) -> AdapterFacts:
    """An adapter of one pair, with its tensors' names."""
    found = tuple(Tensor(f"{module}.lora_{side}.weight", "F32", shape, 0, 0) for side, shape in HALVES.items())
    return replace(SOUND, lora=lora_shapes(found)[0], tensors=found, **changes)


@pytest.mark.parametrize(
    ("fields", "shapes", "evidence"),
    [
        ({"use_dora": True}, {"q": (32,), "v": (8,)}, None),
        ({"use_dora": True}, {"q": (32,)}, "use_dora is True, and 'v' has no magnitude vector of its width"),
        ({"use_dora": True}, {"q": (32,), "v": (9,)}, "use_dora is True, and 'v' has no magnitude vector of its width"),
        ({"use_dora": True}, {"q": (32,), "v": (8,), "k": (8,)}, "use_dora is True, and 'k' has a magnitude vector"),
        ({}, {"q": (32,), "v": (8,)}, "use_dora is False, and 'q' has a magnitude vector"),
    ],
)
def test_a_dora_has_a_magnitude_for_every_pair(
    fields: dict[str, Any], shapes: dict[str, tuple[int, ...]], evidence: str | None
) -> None:
    names = {f"{P}{module}__lora_magnitude_vector": shape for module, shape in shapes.items()}
    facts = replace(SOUND, **config(**fields), **tensors(**names))
    assert judge(facts, BASE, LOOSE) == ([] if evidence is None else [Finding("dora_mismatch", evidence)])


def test_a_permissive_policy_admits_what_a_strict_one_would_not() -> None:
    facts = replace(SOUND, licence=None, downloads=0, id=AdapterId("eve/x", "", SHA), **config(use_dora=True))
    assert judge(facts, BASE, Policy()) == []


def test_all_failing_rules_are_told_in_table_order() -> None:
    facts = replace(
        SOUND,
        **config(peft_type="IA3", base_model_name_or_path="x/y"),
        gated=True,
        downloads=0,
        licence="other",
        problems=(Problem("truncated", "t"), Problem("unreadable", "u")),
    )
    found = [finding.reason for finding in judge(facts, BASE, POLICY)]
    assert found == ["gated", "unreadable", "peft_type", "wrong_base", "truncated", "licence", "downloads"]


def test_a_problem_without_evidence_still_rejects() -> None:
    facts = replace(SOUND, problems=(Problem("bad_config", ""),))
    assert judge(facts, BASE, Policy()) == [Finding("bad_config", "")]


def test_evidence_is_cut() -> None:
    found = judge(replace(SOUND, **config(peft_type="x" * 9999)), BASE, Policy())
    assert [len(finding.evidence) for finding in found] == [500]


# After the download

FINE = WeightFacts(1000, "f" * 64, (), False)


@pytest.mark.parametrize(
    ("weights", "findings"),
    [
        (FINE, []),
        (replace(FINE, size=999), [Finding("size_mismatch", "999 bytes came, 1000 were announced")]),
        (
            replace(FINE, sha256="0" * 64),
            [Finding("sha_mismatch", f"sha256 {'0' * 64}, announced {'f' * 64}")],
        ),
        (replace(FINE, non_finite=("a", "b")), [Finding("non_finite", "NaN or infinity in a")]),
        (
            replace(FINE, zero_b=True),
            [Finding("zero_b", "every product of A and B is zero: the adapter changes nothing")],
        ),
        (replace(FINE, zero_b=True, non_finite=("a",)), [Finding("non_finite", "NaN or infinity in a")]),
    ],
)
def test_weights_are_held_against_what_was_announced(weights: WeightFacts, findings: list[Finding]) -> None:
    assert judge_weights(SOUND, weights) == findings


def test_what_was_not_announced_is_not_compared() -> None:
    assert judge_weights(replace(SOUND, size=None, sha256=None), replace(FINE, size=1, sha256="0")) == []
