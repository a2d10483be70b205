"""The rules that admit an adapter: an ordered table, one named reason each.

Knows: what makes an adapter unusable or unwanted, and the evidence for it.
Does not know: where facts come from, where verdicts go. "Admitted" says an adapter can be run and fits the
policy; it never says that it is safe.

Every failing rule is a finding; the first, in table order, is the reason. A rule that cannot be decided
(its facts are missing because an earlier one failed, or the base is not known here) passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from catalog.adapter import Finding
from catalog.base import Base
from catalog.base_kind import foreign_class, foreign_module, foreign_name
from catalog.base_names import BaseMatch, canonical, match_base
from catalog.config_fields import FOREIGN, PLAIN_INITS, UNSERVED, is_off, malformed_field, unknown_fields
from catalog.facts import CONFIG_NAME, PICKLE_NAME, WEIGHTS_NAME, AdapterFacts
from catalog.patterns import Patience
from catalog.profile import added_rows
from catalog.safe_names import colliding, folded, is_repo_id, is_safe_path
from catalog.scaling import scaling_of
from catalog.targets import ALL_LINEAR, resolve_targets, targeted
from catalog.tensor_names import feature_of, magnitudes, unloaded_key

__all__ = [
    "RULES",
    "RULES_VERSION",
    "Base",
    "Case",
    "Policy",
    "WeightFacts",
    "find_duplicates",
    "is_repo_id",
    "is_safe_path",
    "judge",
    "judge_weights",
]

RULES_VERSION = "2"
_SHA = re.compile(r"[0-9a-f]{40}")
_WEIGHT_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".npz", ".ckpt", ".msgpack")
_NOT_ADAPTERS = re.compile(  # of training runs, and of the full model that may lie beside an adapter
    r"(training_args|optimizer|scheduler|rng_state.*|scaler|trainer_state|model|(pytorch_)?model[-_.].*|pytorch_model)\.\w+"
    r"|consolidated.*",
    re.IGNORECASE,
)
_ANY_MODULES = ("model.layers.0.mlp.up_proj",)
_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # what torch can turn into the engine's dtype


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
class WeightFacts:
    """What the download showed: bytes, sha256, non-finite tensors, whether any ΔW is not zero."""

    size: int
    sha256: str
    non_finite: tuple[str, ...]
    zero_b: bool


@dataclass(frozen=True)
class Case:
    """One adapter before the rules: its facts, the base it is judged for (None: not known here), the policy.

    Args:
        match: the base it is made for. base_problem: why the base could not be read.
    """

    facts: AdapterFacts
    base: Base | None
    policy: Policy
    match: BaseMatch
    base_problem: str | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """The config, empty where it could not be read."""
        return self.facts.config or {}

    @cached_property
    def is_lora(self) -> bool:
        """Whether the config is a LoRA's: the rules about its fields mean nothing for another's."""
        return self.config.get("peft_type") == "LORA"

    @cached_property
    def patience(self) -> Patience:
        """What all patterns of the config together may take."""
        return Patience()

    @cached_property
    def targets(self) -> frozenset[str] | None:
        """Modules of the base that the config means; None where that cannot be decided."""
        return resolve_targets(self.config, self.base, self.patience) if self.base and self.is_lora else None

    @cached_property
    def pairs_targeted(self) -> frozenset[str] | None:
        """Modules of the header that the config means, or of any model's where there is no header; None: undecided."""
        return targeted(self.config, [s.module for s in self.facts.lora] or _ANY_MODULES, self.patience)


Check = Callable[[Case], str | None]


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
        match: the base it is made for, where that was found out already. base_problem: why `base` is unreadable.
    """
    case = Case(facts, base, policy, match or match_base(facts, [base] if base else []), base_problem)
    found = ((reason, check(case)) for reason, check in RULES)
    return [Finding(reason, evidence[:500]) for reason, evidence in found if evidence is not None]


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


# The repo


def _hostile_name(case: Case) -> str | None:
    facts = case.facts
    if not is_repo_id(facts.id.repo):
        return f"repo id {facts.id.repo[:120]!r}"
    if not _SHA.fullmatch(facts.id.sha):
        return f"commit sha {facts.id.sha[:60]!r}"
    names = ([facts.id.path] if facts.id.path else []) + list(facts.files)
    return next((f"file name {n[:120]!r}" for n in names if not is_safe_path(n)), None)


def _colliding_names(case: Case) -> str | None:
    """Two names of one file, where that may decide which of them is read as config or weights."""
    ours = {CONFIG_NAME, WEIGHTS_NAME}
    pair = colliding(name for name in case.facts.files if folded(name) in ours)
    return f"{pair[0][:120]!r} and {pair[1][:120]!r} are one file on some disks" if pair else None


def _gated(case: Case) -> str | None:
    return "the repo is gated or private" if case.facts.gated else None


def _blocked_author(case: Case) -> str | None:
    author = case.facts.id.repo.partition("/")[0]
    return f"author {author!r} is blocked" if author in case.policy.blocked else None


def _no_adapter(case: Case) -> str | None:
    return None if CONFIG_NAME in case.facts.files else f"no {CONFIG_NAME} in the repo"


def _problem(reason: str) -> Check:
    def check(case: Case) -> str | None:
        return next((p.evidence for p in case.facts.problems if p.reason == reason), None)

    return check


# The config: what kind of adapter, for what kind of model


def _not_peft(case: Case) -> str | None:
    """Other tools write a file of the same name: MLX, JAX, AdapterHub."""
    if case.facts.config is None or case.config.get("peft_type") is not None:
        return None
    fields = sorted(case.config)
    tool = next((tool for field, tool in FOREIGN.items() if field in case.config), None)
    told = f" ({tool})" if tool else ""
    return f"no peft_type; the fields are {', '.join(f[:40] for f in fields[:8]) or 'none'}{told}"


def _peft_type(case: Case) -> str | None:
    kind = case.config.get("peft_type")
    return None if kind in (None, "LORA") else f"peft_type is {kind!r}"


def _task_type(case: Case) -> str | None:
    kind = case.config.get("task_type")
    return None if kind in (None, "CAUSAL_LM") else f"task_type is {kind!r}"


def _base_kind(case: Case) -> str | None:
    """A base that is no causal language model: by its class, its modules, its name."""
    if name := foreign_class(case.config):
        return f"the base's class is {name[:120]!r}"
    if module := foreign_module(s.module for s in case.facts.lora):
        return f"no causal language model has a module {module[:120]!r}"
    named = case.match.base
    if not named or (case.base and case.base.id == named):  # a base that was read needs no guess from its name
        return None
    kind = foreign_name(named)
    return f"{named[:120]!r} is {kind} by its name" if kind else None


def _malformed_field(case: Case) -> str | None:
    return malformed_field(case.config) if case.is_lora else None


def _unknown_base(case: Case) -> str | None:
    if case.config.get("peft_type") is None or case.match.base is not None:
        return None
    named = case.config.get("base_model_name_or_path")
    return f"base_model_name_or_path is {named!r}"[:300] + ", and neither card nor shapes tell the base"


def _wrong_base(case: Case) -> str | None:
    named, base = case.match.base, case.base
    if case.facts.config is None or named is None or base is None:
        return None
    if base.id.lower() in (named.lower(), canonical(named).lower()) or canonical(base.id) == canonical(named):
        return None
    return f"made for {case.match.named[:200]!r}"


# The weights: is there a file, and is it what it claims to be


def _misnamed(case: Case) -> str | None:
    """A weights file under a name that PEFT does not look for, and no other; a full model's is none of these."""
    names = [n for n in case.facts.files if n.lower().endswith(_WEIGHT_ENDINGS) and not _NOT_ADAPTERS.fullmatch(n)]
    return names[0] if names and not {WEIGHTS_NAME, PICKLE_NAME}.intersection(case.facts.files) else None


def _misnamed_weights(case: Case) -> str | None:
    """`Copy of …`, sharded, of diffusers or MLX: PEFT finds nothing to load."""
    name = _misnamed(case)
    return f"no {WEIGHTS_NAME}, but {name[:120]!r}" if name and case.facts.config is not None else None


def _pickle_only(case: Case) -> str | None:
    facts = case.facts
    if facts.config is None or WEIGHTS_NAME in facts.files or PICKLE_NAME not in facts.files:
        return None
    return f"only {PICKLE_NAME}, a pickle, which is never opened"


def _no_weights(case: Case) -> str | None:
    if case.facts.config is None or {WEIGHTS_NAME, PICKLE_NAME}.intersection(case.facts.files) or _misnamed(case):
        return None
    return f"no {WEIGHTS_NAME}"


def _no_lora_tensors(case: Case) -> str | None:
    if not case.facts.header_read or case.facts.lora:
        return None
    return f"no lora_A / lora_B pair among {len(case.facts.other_tensors)} tensors"


def _key_prefix(case: Case) -> str | None:
    """PEFT loads with strict=False: a key it does not find is passed over, and the output is the base's."""
    name = unloaded_key(case.facts.tensors)
    return f"PEFT would not load {name[:200]!r}" if name else None


def _dtype(case: Case) -> str | None:
    wrong = sorted({t.dtype for t in case.facts.tensors} - set(_FLOATS))
    return f"tensors of dtype {', '.join(wrong)}" if case.facts.lora and wrong else None


# What the engine does not serve


def _alora(case: Case) -> str | None:
    """An activated LoRA acts from its invocation tokens on, not on the whole prompt."""
    tokens = case.config.get("alora_invocation_tokens")
    return None if is_off(tokens) else f"alora_invocation_tokens is {tokens!r}"


def _layer_replication(case: Case) -> str | None:
    layers = case.config.get("layer_replication")
    return None if is_off(layers) else f"layer_replication is {layers!r}"


def _changed_base(case: Case) -> str | None:
    """PiSSA, OLoRA, LoftQ, CorDA … rewrite the base's weights on load."""
    init = case.config.get("init_lora_weights", True)
    return f"init_lora_weights is {init!r}" if case.is_lora and init not in PLAIN_INITS else None


def _unserved_option(case: Case) -> str | None:
    used = [name for name in UNSERVED if not is_off(case.config.get(name))]
    return f"uses {', '.join(used)}" if case.is_lora and used else None


def _unknown_fields(case: Case) -> str | None:
    unknown = unknown_fields(case.config) if case.is_lora else []
    return f"fields unknown to PEFT 0.21: {', '.join(name[:60] for name in unknown)}" if unknown else None


def _modules_to_save(case: Case) -> str | None:
    saved = case.config.get("modules_to_save")
    return f"modules_to_save is {saved!r}" if case.is_lora and not is_off(saved) else None


def _added_rows(case: Case) -> str | None:
    rows = added_rows(case.facts, case.base)
    return f"its embeddings have {rows} rows more than the base's" if rows > 0 else None


def _bias(case: Case) -> str | None:
    """`bias: all` without a bias among the tensors changes nothing: the base's Linears had none."""
    if not is_off(case.config.get("lora_bias")):
        return "lora_bias is on"
    biases = [name for name in case.facts.other_tensors if name.endswith(".bias")]
    return f"{len(biases)} trained biases, e.g. {biases[0][:200]!r}" if case.facts.lora and biases else None


def _extra_tensors(case: Case) -> str | None:
    extra = [n for n in case.facts.other_tensors if "lora_magnitude_vector" not in n and not n.endswith(".bias")]
    if not case.facts.lora or not extra:
        return None
    return f"{len(extra)} tensors that are no LoRA pair, e.g. {extra[0][:120]!r}, {feature_of(extra[0])}"


def _dora_mismatch(case: Case) -> str | None:
    """Every pair of a DoRA has a magnitude vector of its output's length, and no pair of a LoRA has one."""
    if not case.facts.tensors or not case.facts.lora or not case.is_lora:
        return None
    found, wanted = magnitudes(case.facts.tensors), bool(case.config.get("use_dora"))
    pairs = {s.module: (s.d_out,) for s in case.facts.lora}
    stray = next((m for m in found if m not in pairs or not wanted), None)
    if stray is not None:
        return f"use_dora is {wanted}, and {stray[:120]!r} has a magnitude vector"
    odd = next((m for m, shape in pairs.items() if wanted and found.get(m) != shape), None)
    return None if odd is None else f"use_dora is True, and {odd[:120]!r} has no magnitude vector of its width"


# Config and weights together, then both against the base.
# A rank in the config that is not the header's is no rule: PEFT refuses to load such an adapter, but the tensors
# leave no doubt about their rank and the engine serves them, so the header wins and the profile records it.


def _no_targets(case: Case) -> str | None:
    targets = case.config.get("target_modules")
    return f"target_modules is {targets!r}" if case.is_lora and not targets else None


def _undecidable_pattern(case: Case) -> str | None:
    """Patterns that are none, or that take longer than any honest one: nobody could serve them."""
    if not case.is_lora or malformed_field(case.config):
        return None
    undecided = case.pairs_targeted is None or (case.base is not None and case.targets is None)
    if case.config.get("target_modules") and undecided:
        return "target_modules, exclude_modules or layers_pattern cannot be matched"
    try:
        for shape in case.facts.lora:
            scaling_of(shape.module, shape.rank, case.config, case.patience)
    except (ValueError, OverflowError) as error:
        return f"alpha_pattern: {error}"
    return None


def _untargeted_modules(case: Case) -> str | None:
    """Tensors at modules that the config does not target: PEFT passes over them, their author meant them to act."""
    targets, found = case.config.get("target_modules"), case.pairs_targeted
    if not case.is_lora or not case.facts.lora or not targets or found is None:
        return None
    if isinstance(targets, str) and targets.lower() == ALL_LINEAR:
        return None  # only the base knows what is linear; `unmatched_modules` asks it
    stray = [s.module for s in case.facts.lora if s.module not in found]
    return (
        f"{len(stray)} of {len(case.facts.lora)} modules are not targeted, e.g. {stray[0][:120]!r}" if stray else None
    )


def _base_unreadable(case: Case) -> str | None:
    return case.base_problem


def _no_matching_modules(case: Case) -> str | None:
    lora, base = case.facts.lora, case.base
    if base is None or not lora or any(shape.module in base.modules for shape in lora):
        return None
    return f"none of {len(lora)} modules is in the base, e.g. {lora[0].module[:120]!r}"


def _shape_mismatch(case: Case) -> str | None:
    for shape in case.facts.lora if case.base else ():
        expected = case.base.modules.get(shape.module) if case.base else None
        if expected not in (None, (shape.d_in, shape.d_out)):
            return f"{shape.module[:200]}: {shape.d_in}→{shape.d_out}, the base has {expected}"
    return None


def _unmatched_modules(case: Case) -> str | None:
    lora, base = case.facts.lora, case.base
    missing = [s.module for s in lora if base and s.module not in base.modules]
    if not missing or len(missing) == len(lora):
        return None
    return f"{len(missing)} of {len(lora)} modules are not in the base, e.g. {missing[0][:120]!r}"


def _missing_modules(case: Case) -> str | None:
    """Modules that the config targets and that have no tensors: part of the weights was lost."""
    if not case.facts.lora or not case.targets:
        return None
    lost = sorted(case.targets - {s.module for s in case.facts.lora})
    return f"{len(lost)} of {len(case.targets)} targeted modules have no tensors, e.g. {lost[0]!r}" if lost else None


# The policy


def _rank(case: Case) -> str | None:
    rank, limit = case.facts.max_rank, case.policy.max_rank
    return f"rank {rank}, the limit is {limit}" if rank > limit else None


def _size(case: Case) -> str | None:
    size, limit = case.facts.size, case.policy.max_bytes
    return f"{size} bytes, the limit is {limit}" if size is not None and size > limit else None


def _dora(case: Case) -> str | None:
    dora = case.facts.dora or case.config.get("use_dora") is True
    return "a DoRA adapter, which the policy excludes" if dora and not case.policy.dora else None


def _licence(case: Case) -> str | None:
    licences, licence = case.policy.licences, case.facts.licence
    return None if not licences or licence in licences else f"licence {licence!r} is not among {', '.join(licences)}"


def _downloads(case: Case) -> str | None:
    few = case.facts.downloads < case.policy.min_downloads
    return f"{case.facts.downloads} downloads, the least is {case.policy.min_downloads}" if few else None


RULES: tuple[tuple[str, Check], ...] = (
    ("hostile_name", _hostile_name),
    ("colliding_names", _colliding_names),
    ("gated", _gated),
    ("blocked_author", _blocked_author),
    ("no_adapter", _no_adapter),
    ("disabled", _problem("disabled")),
    ("withheld", _problem("withheld")),
    ("gone", _problem("gone")),
    ("unreadable", _problem("unreadable")),
    ("unreachable", _problem("unreachable")),
    ("bad_config", _problem("bad_config")),
    ("not_peft", _not_peft),
    ("peft_type", _peft_type),
    ("task_type", _task_type),
    ("base_kind", _base_kind),
    ("malformed_field", _malformed_field),
    ("unknown_base", _unknown_base),
    ("wrong_base", _wrong_base),
    ("misnamed_weights", _misnamed_weights),
    ("pickle_only", _pickle_only),
    ("no_weights", _no_weights),
    ("lfs_pointer", _problem("lfs_pointer")),
    ("bad_header", _problem("bad_header")),
    ("truncated", _problem("truncated")),
    ("no_lora_tensors", _no_lora_tensors),
    ("key_prefix", _key_prefix),
    ("dtype", _dtype),
    ("alora", _alora),
    ("layer_replication", _layer_replication),
    ("changed_base", _changed_base),
    ("unserved_option", _unserved_option),
    ("unknown_fields", _unknown_fields),
    ("modules_to_save", _modules_to_save),
    ("added_rows", _added_rows),
    ("bias", _bias),
    ("extra_tensors", _extra_tensors),
    ("dora_mismatch", _dora_mismatch),
    ("no_targets", _no_targets),
    ("undecidable_pattern", _undecidable_pattern),
    ("untargeted_modules", _untargeted_modules),
    ("base_unreadable", _base_unreadable),
    ("no_matching_modules", _no_matching_modules),
    ("shape_mismatch", _shape_mismatch),
    ("unmatched_modules", _unmatched_modules),
    ("missing_modules", _missing_modules),
    ("rank", _rank),
    ("size", _size),
    ("dora", _dora),
    ("licence", _licence),
    ("downloads", _downloads),
)
