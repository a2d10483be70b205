"""The rules that admit an adapter: an ordered table, one named reason each.

Knows: the order of the rules, how they are run before the download, after it, and on a folder alone.
Does not know: the rules themselves (catalog/rules/repo, catalog/rules/function,
catalog/rules/base), where facts come from, where
verdicts go. "Admitted" says an adapter can be run and fits the policy; it never says that it is safe.

Every failing rule is a finding; the first, in table order, is the reason. A rule that cannot be decided
(its facts are missing because an earlier one failed, or the base is not known here) passes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from catalog.adapters.adapter import AdapterId, Finding
from catalog.adapters.facts import AdapterFacts
from catalog.adapters.parse import Tensor, lora_shapes
from catalog.bases.base import Base
from catalog.bases.names import BaseMatch, match_base
from catalog.rules.base import MODULES, NAMED, REVISION
from catalog.rules.case import Case, Check, Policy
from catalog.rules.function import FUNCTION, KIND
from catalog.rules.repo import FILES, LISTED, WANTED

__all__ = [
    "RULES",
    "RULES_VERSION",
    "Base",
    "Case",
    "Policy",
    "WeightFacts",
    "judge",
    "judge_alone",
    "judge_weights",
]

RULES_VERSION = "3"
RULES: tuple[tuple[str, Check], ...] = (*LISTED, *KIND, *NAMED, *REVISION, *FILES, *FUNCTION, *MODULES, *WANTED)
# The rules for a folder that is loaded without a catalog (lorauter.adapters.weights).
_ALONE = (*KIND, *REVISION, *FUNCTION)


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """What the download showed.

    Args:
        size: bytes of the file.
        sha256: of the file.
        non_finite: tensors, and products of finite ones, that hold NaN or infinity.
        zero_b: whether every ΔW is zero.
    """

    size: int
    sha256: str
    non_finite: tuple[str, ...]
    zero_b: bool


def judge(
    facts: AdapterFacts,
    base: Base | None,
    policy: Policy,
    match: BaseMatch | None = None,
    base_problem: str | None = None,
) -> list[Finding]:
    """All failing rules in table order; empty means admitted to the download.

    Args:
        base: the one it is judged for; None where it is not known, and its modules decide nothing.
        match: the base it is made for, where that was found out already.
        base_problem: why `base` is unreadable.
    """
    case = Case(facts, base, policy, match or match_base(facts, [base] if base else []), base_problem)
    return _findings(case, RULES)


def judge_alone(config: Mapping[str, Any], tensors: tuple[Tensor, ...], passing: Collection[str] = ()) -> list[Finding]:
    """What config and header alone say against running an adapter, whatever a catalog wants and whatever the base is.

    Args:
        passing: reasons that are let pass.
    """
    lora, other = lora_shapes(tensors)
    facts = AdapterFacts(
        AdapterId("", "", ""), (), None, False, 0, config, None, None, lora, other, True, (), (), tensors
    )
    case = Case(facts, None, Policy(), BaseMatch(None, "", "", twin=False), alone=True)
    return _findings(case, [(reason, check) for reason, check in _ALONE if reason not in passing])


def _findings(case: Case, rules: Iterable[tuple[str, Check]]) -> list[Finding]:
    verdicts = ((reason, check(case)) for reason, check in rules)
    return [Finding(reason, evidence[:500]) for reason, evidence in verdicts if evidence is not None]


def judge_weights(facts: AdapterFacts, weights: WeightFacts) -> list[Finding]:
    """The deep rules, after the download. Raises nothing; empty means admitted to scoring."""
    findings = []
    if facts.size is not None and weights.size != facts.size:
        findings.append(Finding("size_mismatch", f"{weights.size} bytes came, {facts.size} were announced"))
    if facts.sha256 is not None and weights.sha256 != facts.sha256:
        findings.append(Finding("sha_mismatch", f"sha256 {weights.sha256}, announced {facts.sha256}"))
    if weights.non_finite:
        findings.append(Finding("non_finite", f"NaN or infinity in {weights.non_finite[0]}"[:500]))
    elif weights.zero_b:
        findings.append(Finding("zero_b", "every product of A and B is zero: the adapter changes nothing"))
    return findings
