"""Every rule of the table: a case that it rejects, and the same case one step nearer to sound."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from catalog.adapter import AdapterId, Finding, LoraShape
from catalog.facts import AdapterFacts
from catalog.parse import Problem
from catalog.rules import (
    RULES,
    Base,
    Policy,
    WeightFacts,
    find_duplicates,
    is_repo_id,
    is_safe_path,
    judge,
    judge_weights,
)

SHA = "a" * 40
CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
BASE = Base("Tiny/Llama", SHA, {"q": (16, 32), "v": (16, 8)}, aliases=("twin/llama-4bit",))
Q, V = LoraShape("q", 4, 16, 32, "F32"), LoraShape("v", 4, 16, 8, "F32")
CONFIG_FIELDS = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "Tiny/Llama"}
SOUND = AdapterFacts(
    id=AdapterId("ann/colours", "", SHA),
    files=(CONFIG, WEIGHTS),
    licence="mit",
    gated=False,
    downloads=5,
    config=CONFIG_FIELDS,
    size=1000,
    sha256="f" * 64,
    lora=(Q, V),
    other_tensors=(),
    header_read=True,
)


def named(repo: str = "ann/colours", path: str = "", sha: str = SHA) -> dict[str, Any]:
    return {"id": AdapterId(repo, path, sha)}


def config(**fields: object) -> dict[str, Any]:
    return {"config": CONFIG_FIELDS | fields}


def problem(reason: str) -> dict[str, Any]:
    return {"problems": (Problem(reason, "seen"),)}


POLICY = Policy(max_rank=4, max_bytes=1000, licences=("mit",), dora=False, min_downloads=5, blocked=("eve",))
DORA = "q.lora_magnitude_vector"

# reason: changes to the sound adapter that fire it, the evidence, changes that come close and do not
CASES: dict[str, list[tuple[dict[str, Any], str, dict[str, Any]]]] = {
    "hostile_name": [
        (named("ann/x\n"), r"repo id 'ann/x\n'", named("ann/x")),
        (named("ann/a--b"), "repo id 'ann/a--b'", named("ann/a-b")),
        (named("../x"), "repo id '../x'", named("a.b/x")),
        (named(path="../up"), "file name '../up'", named(path="..up")),
        (named(path="a\u2028b"), r"file name 'a\u2028b'", named(path="a b")),
        (named(sha="main"), "commit sha 'main'", named(sha="0" * 40)),
        (named(sha=SHA + "\n"), f"commit sha '{SHA}\\n'", {}),
        ({"files": (CONFIG, WEIGHTS, "a\\b")}, r"file name 'a\\b'", {"files": (CONFIG, WEIGHTS, "a-b")}),
    ],
    "gated": [({"gated": True}, "the repo is gated or private", {"gated": False})],
    "blocked_author": [(named("eve/x"), "author 'eve' is blocked", named("evelyn/x"))],
    "no_adapter": [({"files": (WEIGHTS,)}, f"no {CONFIG} in the repo", {"files": (CONFIG, WEIGHTS)})],
    "unreadable": [(problem("unreadable"), "seen", problem("unheard"))],
    "bad_config": [(problem("bad_config"), "seen", {})],
    "peft_type": [
        (config(peft_type="IA3"), "peft_type is 'IA3'", config(peft_type="LORA")),
        (config(peft_type=None), "peft_type is None", {"config": None}),
    ],
    "task_type": [(config(task_type="SEQ_CLS"), "task_type is 'SEQ_CLS'", config(task_type=None))],
    "wrong_base": [
        (config(base_model_name_or_path="a/b"), "made for 'a/b'", config(base_model_name_or_path="tiny/llama")),
        (config(base_model_name_or_path="b/c"), "made for 'b/c'", config(base_model_name_or_path="Twin/Llama-4bit")),
        (config(base_model_name_or_path="c/d"), "made for 'c/d'", config(base_model_name_or_path="/home/c/d")),
        (config(base_model_name_or_path="d/e"), "made for 'd/e'", config(base_model_name_or_path=None)),
    ],
    "pickle_only": [
        (
            {"files": (PICKLE, CONFIG)},
            f"only {PICKLE}, a pickle, which is never opened",
            {"files": (PICKLE, CONFIG, WEIGHTS)},
        )
    ],
    "no_weights": [({"files": (CONFIG,)}, f"no {WEIGHTS}", {"files": (CONFIG, WEIGHTS)})],
    "lfs_pointer": [(problem("lfs_pointer"), "seen", {})],
    "bad_header": [(problem("bad_header"), "seen", {})],
    "truncated": [(problem("truncated"), "seen", {})],
    "no_lora_tensors": [
        ({"lora": (), "other_tensors": ("w",)}, "no lora_A / lora_B pair among 1 tensors", {"lora": (Q,)}),
        ({"lora": ()}, "no lora_A / lora_B pair among 0 tensors", {"lora": (), "header_read": False}),
    ],
    "no_matching_modules": [
        (
            {"lora": (replace(Q, module="h.q"), replace(V, module="h.v"))},
            "none of 2 modules is in the base, e.g. 'h.q'",
            {"lora": (Q,)},
        )
    ],
    "shape_mismatch": [
        ({"lora": (replace(Q, d_in=8), V)}, "q: 8→32, the base has (16, 32)", {"lora": (Q, replace(V, rank=2))}),
        ({"lora": (Q, replace(V, d_out=9))}, "v: 16→9, the base has (16, 8)", {}),
    ],
    "unmatched_modules": [
        ({"lora": (Q, replace(V, module="z"))}, "1 of 2 modules are not in the base, e.g. 'z'", {"lora": (Q, V)})
    ],
    "extra_tensors": [
        (
            {"other_tensors": ("lm_head.weight",)},
            "1 tensors that are no LoRA pair, e.g. 'lm_head.weight'",
            {"other_tensors": ()},
        )
    ],
    "rank": [({"lora": (replace(Q, rank=5), V)}, "rank 5, the limit is 4", {"lora": (Q, V)})],
    "size": [({"size": 1001}, "1001 bytes, the limit is 1000", {"size": 1000})],
    "dora": [({"other_tensors": (DORA,)}, "a DoRA adapter, which the policy excludes", {})],
    "licence": [
        ({"licence": "other"}, "licence 'other' is not among mit", {"licence": "mit"}),
        ({"licence": None}, "licence None is not among mit", {}),
    ],
    "downloads": [({"downloads": 4}, "4 downloads, the least is 5", {"downloads": 5})],
}
FLAT = [(reason, *case) for reason, cases in CASES.items() for case in cases]


def test_every_rule_of_the_table_has_a_case() -> None:
    assert list(CASES) == [reason for reason, _ in RULES]


@pytest.mark.parametrize(("reason", "broken", "evidence", "near"), FLAT)
def test_a_rule_rejects_its_case_alone_and_leaves_the_neighbour(
    reason: str, broken: dict[str, Any], evidence: str, near: dict[str, Any]
) -> None:
    assert judge(replace(SOUND, **broken), BASE, POLICY) == [Finding(reason, evidence)]
    assert judge(replace(SOUND, **near), BASE, POLICY) == []


def test_a_permissive_policy_admits_what_a_strict_one_would_not() -> None:
    facts = replace(SOUND, licence=None, downloads=0, other_tensors=(DORA,), id=AdapterId("eve/x", "", SHA))
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
        (replace(FINE, zero_b=True), [Finding("zero_b", "every B is zero: the adapter changes nothing")]),
        (replace(FINE, zero_b=True, non_finite=("a",)), [Finding("non_finite", "NaN or infinity in a")]),
    ],
)
def test_weights_are_held_against_what_was_announced(weights: WeightFacts, findings: list[Finding]) -> None:
    assert judge_weights(SOUND, weights) == findings


def test_what_was_not_announced_is_not_compared() -> None:
    assert judge_weights(replace(SOUND, size=None, sha256=None), replace(FINE, size=1, sha256="0")) == []


# Duplicates


def copy(repo: str, downloads: int, sha256: str | None = "f" * 64) -> AdapterFacts:
    return replace(SOUND, id=AdapterId(repo, "", SHA), downloads=downloads, sha256=sha256)


def test_copies_are_duplicates_of_the_most_downloaded_then_of_the_first_by_name() -> None:
    found = find_duplicates([copy("b/x", 9), copy("c/x", 9), copy("a/x", 1), copy("a/y", 1, "0" * 64)])
    finding = Finding("duplicate", f"the weights are those of b/x@{SHA}")
    assert found == {f"c/x@{SHA}": finding, f"a/x@{SHA}": finding}


def test_weights_of_unknown_hash_are_no_duplicates() -> None:
    assert find_duplicates([copy("a/x", 1, None), copy("b/x", 1, None)]) == {}


# Names


@pytest.mark.parametrize("name", ["a", "a/b.json", ".gitattributes", "..a/b..", "with space", "é/ü", "x" * 255])
def test_a_plain_path_is_safe(name: str) -> None:
    assert is_safe_path(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "~/x",
        "..",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "a%2fb",
        "C:x",
        "a\0",
        "a\nb",
        "\x1b[31m",
        "a\u202eb",
        "a\u2028b",
        "<b>",
        "a|b",
        "a?",
        "x" * 256,
        "é" * 128,
        "a/" * 256 + "a",
        "\ud800",
    ],
)
def test_a_path_that_could_trick_disk_or_eye_is_not_safe(name: str) -> None:
    assert not is_safe_path(name)


@pytest.mark.parametrize("name", ["ann/x", "a_1/b-2.3", "a" * 96 + "/x", "a/gpt.2"])
def test_a_repo_id_is_an_org_and_a_name(name: str) -> None:
    assert is_repo_id(name)


@pytest.mark.parametrize(
    "name",
    ["x", "a/b/c", "a/", "/b", "a/b\n", "a/.b", "a/b-", "-a/b", "a/b--c", "a/b..c", "a/b.git", "a/é", "a" * 97 + "/x"],
)
def test_what_the_hubs_client_refuses_is_no_repo_id(name: str) -> None:
    assert not is_repo_id(name)
