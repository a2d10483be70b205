"""The rules that admit an adapter: an ordered table, one named reason each.

Knows: what makes an adapter unusable or unwanted, and the evidence for it.
Does not know: where facts come from, where verdicts go. "Admitted" says an adapter can be run and fits the
policy; it never says that it is safe.

Every failing rule is a finding; the first, in table order, is the reason. A rule that cannot be decided
(its facts are missing because an earlier one failed) passes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from catalog.adapter import Finding
from catalog.facts import CONFIG_NAME, PICKLE_NAME, WEIGHTS_NAME, AdapterFacts

RULES_VERSION = "1"
_REPO_ID = re.compile(r"\w([\w.-]{0,94}\w)?/\w([\w.-]{0,94}\w)?", re.ASCII)
_SHA = re.compile(r"[0-9a-f]{40}")
_HIDDEN = ("C", "Zl", "Zp")  # Unicode categories that break or hide a line


@dataclass(frozen=True, slots=True)
class Policy:
    """What this catalog wants, beyond what can be run.

    Args:
        max_rank: largest LoRA rank. max_bytes: largest weights file. licences: admitted licence tags, empty
            for any. dora: whether DoRA adapters are admitted. min_downloads: least downloads.
        blocked: authors (the part before `/`) never admitted.
    """

    max_rank: int = 64
    max_bytes: int = 1 << 30
    licences: tuple[str, ...] = ()
    dora: bool = True
    min_downloads: int = 0
    blocked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Base:
    """The base model that adapters are judged for: id, other names it goes by, module name → (d_in, d_out)."""

    id: str
    sha: str
    modules: Mapping[str, tuple[int, int]]
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WeightFacts:
    """What the download showed: bytes, sha256, non-finite tensors, whether any ΔW is not zero."""

    size: int
    sha256: str
    non_finite: tuple[str, ...]
    zero_b: bool


Check = Callable[[AdapterFacts, Base, Policy], str | None]


def judge(facts: AdapterFacts, base: Base, policy: Policy) -> list[Finding]:
    """All failing rules in table order; empty means admitted to the download."""
    found = ((reason, check(facts, base, policy)) for reason, check in RULES)
    return [Finding(reason, evidence[:500]) for reason, evidence in found if evidence is not None]


def judge_weights(facts: AdapterFacts, weights: WeightFacts) -> list[Finding]:
    """The deep rules, after the download. Raises nothing; empty means admitted to scoring."""
    findings = []
    if facts.size is not None and weights.size != facts.size:
        findings.append(Finding("size_mismatch", f"{weights.size} bytes came, {facts.size} were announced"))
    if facts.sha256 is not None and weights.sha256 != facts.sha256:
        findings.append(Finding("sha_mismatch", f"sha256 {weights.sha256}, announced {facts.sha256}"))
    if weights.non_finite:
        findings.append(Finding("non_finite", f"NaN or infinity in {weights.non_finite[0]}"))
    elif weights.zero_b:
        findings.append(Finding("zero_b", "every B is zero: the adapter changes nothing"))
    return findings


def find_duplicates(admitted: Iterable[AdapterFacts]) -> dict[str, Finding]:
    """Adapters whose weights another one already has, by content hash: key → finding naming the first.

    The first is the most downloaded, then the one whose name sorts first.
    """
    first: dict[str, str] = {}
    duplicates = {}
    for facts in sorted(admitted, key=lambda f: (-f.downloads, f.id)):
        if facts.sha256 is None:
            continue
        original = first.setdefault(facts.sha256, facts.id.key)
        if original != facts.id.key:
            duplicates[facts.id.key] = Finding("duplicate", f"the weights are those of {original}")
    return duplicates


def is_safe_path(name: str) -> bool:
    """Whether a file name from a hub can be joined to a local folder and shown to a person."""
    parts = name.split("/")
    return (
        0 < len(name) <= 512
        and not name.startswith(("/", "~"))
        and all(part not in ("", ".", "..") and len(part.encode("utf-8", "replace")) <= 255 for part in parts)
        and not any(c in '\\%<>:"|?*' or unicodedata.category(c).startswith(_HIDDEN) for c in name)
    )


def is_repo_id(name: str) -> bool:
    """Whether a name is an `org/name` that the hub's own client would ask for; cache folders rely on it."""
    return bool(_REPO_ID.fullmatch(name)) and not name.endswith(".git") and not re.search(r"--|\.\.", name)


def _hostile_name(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    if not is_repo_id(facts.id.repo):
        return f"repo id {facts.id.repo[:120]!r}"
    if not _SHA.fullmatch(facts.id.sha):
        return f"commit sha {facts.id.sha[:60]!r}"
    names = ([facts.id.path] if facts.id.path else []) + list(facts.files)
    return next((f"file name {n[:120]!r}" for n in names if not is_safe_path(n)), None)


def _gated(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    return "the repo is gated or private" if facts.gated else None


def _no_adapter(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    return None if CONFIG_NAME in facts.files else f"no {CONFIG_NAME} in the repo"


def _peft_type(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    if facts.config is None:
        return None
    kind = facts.config.get("peft_type")
    return None if kind == "LORA" else f"peft_type is {kind!r}"


def _task_type(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    kind = (facts.config or {}).get("task_type")
    return None if kind in (None, "CAUSAL_LM") else f"task_type is {kind!r}"


def _wrong_base(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    named = (facts.config or {}).get("base_model_name_or_path")
    if not isinstance(named, str) or not is_repo_id(named):
        return None  # null or a local path: the card listed it under this base, the shapes must confirm it
    known = {base.id.lower(), *(alias.lower() for alias in base.aliases)}
    return None if named.lower() in known else f"made for {named!r}"


def _pickle_only(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    if facts.config is None or WEIGHTS_NAME in facts.files or PICKLE_NAME not in facts.files:
        return None
    return f"only {PICKLE_NAME}, a pickle, which is never opened"


def _no_weights(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    if facts.config is None or WEIGHTS_NAME in facts.files or PICKLE_NAME in facts.files:
        return None
    return f"no {WEIGHTS_NAME}"


def _problem(reason: str) -> Check:
    def check(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
        return next((p.evidence for p in facts.problems if p.reason == reason), None)

    return check


def _no_lora_tensors(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    if not facts.header_read or facts.lora:
        return None
    return f"no lora_A / lora_B pair among {len(facts.other_tensors)} tensors"


def _no_matching_modules(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    if not facts.lora or any(shape.module in base.modules for shape in facts.lora):
        return None
    return f"none of {len(facts.lora)} modules is in the base, e.g. {facts.lora[0].module[:120]!r}"


def _shape_mismatch(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    for shape in facts.lora:
        expected = base.modules.get(shape.module)
        if expected not in (None, (shape.d_in, shape.d_out)):
            return f"{shape.module}: {shape.d_in}→{shape.d_out}, the base has {expected}"
    return None


def _unmatched_modules(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    missing = [s.module for s in facts.lora if s.module not in base.modules]
    if not missing or len(missing) == len(facts.lora):
        return None
    return f"{len(missing)} of {len(facts.lora)} modules are not in the base, e.g. {missing[0][:120]!r}"


def _extra_tensors(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    extra = [name for name in facts.other_tensors if "lora_magnitude_vector" not in name]
    if not facts.lora or not extra:
        return None
    return f"{len(extra)} tensors that are no LoRA pair, e.g. {extra[0][:120]!r}"


def _rank(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    return f"rank {facts.max_rank}, the limit is {policy.max_rank}" if facts.max_rank > policy.max_rank else None


def _size(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    too_big = facts.size is not None and facts.size > policy.max_bytes
    return f"{facts.size} bytes, the limit is {policy.max_bytes}" if too_big else None


def _licence(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    wanted = not policy.licences or facts.licence in policy.licences
    return None if wanted else f"licence {facts.licence!r} is not among {', '.join(policy.licences)}"


def _dora(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    return "a DoRA adapter, which the policy excludes" if facts.dora and not policy.dora else None


def _downloads(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    few = facts.downloads < policy.min_downloads
    return f"{facts.downloads} downloads, the least is {policy.min_downloads}" if few else None


def _blocked(facts: AdapterFacts, base: Base, policy: Policy) -> str | None:
    author = facts.id.repo.partition("/")[0]
    return f"author {author!r} is blocked" if author in policy.blocked else None


RULES: tuple[tuple[str, Check], ...] = (
    ("hostile_name", _hostile_name),
    ("gated", _gated),
    ("blocked_author", _blocked),
    ("no_adapter", _no_adapter),
    ("unreadable", _problem("unreadable")),
    ("bad_config", _problem("bad_config")),
    ("peft_type", _peft_type),
    ("task_type", _task_type),
    ("wrong_base", _wrong_base),
    ("pickle_only", _pickle_only),
    ("no_weights", _no_weights),
    ("lfs_pointer", _problem("lfs_pointer")),
    ("bad_header", _problem("bad_header")),
    ("truncated", _problem("truncated")),
    ("no_lora_tensors", _no_lora_tensors),
    ("no_matching_modules", _no_matching_modules),
    ("shape_mismatch", _shape_mismatch),
    ("unmatched_modules", _unmatched_modules),
    ("extra_tensors", _extra_tensors),
    ("rank", _rank),
    ("size", _size),
    ("dora", _dora),
    ("licence", _licence),
    ("downloads", _downloads),
)
