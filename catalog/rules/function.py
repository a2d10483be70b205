"""Rules about what an adapter computes: those that config and header alone decide.

Knows: what PEFT 0.21 would make of an adapter, and what the engine serves exactly. Does not know: the repo
(catalog/rules/repo), the base (catalog/rules/base), the weights' bytes. `lorauter.adapters.weights` refuses by the
same rules, so a folder that is loaded without a catalog is refused with the same words.
"""

from __future__ import annotations

from typing import Any

from catalog.adapters.adapter import LoraShape
from catalog.adapters.config_fields import (
    FOREIGN,
    Init,
    hybrid_fields,
    init_of,
    is_off,
    malformed_field,
    unknown_fields,
    unserved_options,
)
from catalog.adapters.scaling import declared_rank, rank_mismatches, scaling_of
from catalog.adapters.tensor_names import broken_pairs, feature_of, is_of_mlx, is_side, magnitudes, unloaded_key
from catalog.bases.kind import foreign_class, foreign_module, foreign_name
from catalog.bases.target_modules import ALL_LINEAR
from catalog.rules.case import Case, Check
from catalog.rules.profile import added_rows

_FLOATS = ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")  # what torch can turn into the engine's dtype

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


def _hybrid_config(case: Case) -> str | None:
    """Two tools' fields contradict each other: PEFT's alpha and r, MLX's scale. Which of them holds is not said."""
    foreign = hybrid_fields(case.config) if case.is_lora else {}
    if not foreign:
        return None
    return f"fields of PEFT and of {next(iter(foreign.values()))} in one config: {', '.join(foreign)}"


def _malformed_field(case: Case) -> str | None:
    return (malformed_field(case.config) or _unfit_rank(case)) if case.is_lora else None


def _unfit_rank(case: Case) -> str | None:
    """Two initialisations, which PEFT repeats as it loads, fail at some ranks."""
    init = case.config.get("init_lora_weights")
    even = init == "orthogonal"
    narrow = isinstance(init, str) and init.lower() == "mica"
    for shape in case.facts.lora if even or narrow else ():
        if (even and shape.rank % 2) or (narrow and shape.rank > min(shape.d_in, shape.d_out)):
            told = "an even rank" if even else "no rank above a module's width"
            return f"init_lora_weights is {init!r}, which takes {told}: {shape.module[:120]!r} has rank {shape.rank}"
    return None


# The tensors


def _broken_pair(case: Case) -> str | None:
    """Half a pair: PEFT loads it, warns, and the module computes what the base does."""
    broken = broken_pairs(case.facts.tensors, {s.module for s in case.facts.lora})
    module = next(iter(broken), None)
    return None if module is None else f"{broken[module]} at {module[:120]!r}, {len(broken)} such modules"


def _no_lora_tensors(case: Case) -> str | None:
    if not case.facts.header_read or case.facts.lora:
        return None
    others = case.facts.other_tensors
    mlx = next((name for name in others if is_of_mlx(name)), None)
    told = f", named as MLX names them, e.g. {mlx[:120]!r}" if mlx else ""
    return f"no lora_A / lora_B pair among {len(others)} tensors{told}"


def _key_prefix(case: Case) -> str | None:
    """PEFT loads with strict=False: a key it does not find is passed over, and the output is the base's."""
    name = unloaded_key(case.facts.tensors, case.base.modules if case.base else ())
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
    """PiSSA, OLoRA, LoftQ, CorDA rewrite the base's weights on load."""
    changed = case.is_lora and init_of(case.config) is Init.CHANGED
    return f"init_lora_weights is {case.config['init_lora_weights']!r}, which changes the base" if changed else None


def _unserved_option(case: Case) -> str | None:
    used = unserved_options(case.config) if case.is_lora else []
    return f"uses {', '.join(used)}" if used else None


def _unknown_fields(case: Case) -> str | None:
    unknown = unknown_fields(case.config) if case.is_lora and not hybrid_fields(case.config) else []
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
    told = {name for name in case.facts.other_tensors if case.facts.tensors and is_side(name)}  # by broken_pair
    extra = [
        name
        for name in case.facts.other_tensors
        if name not in told and "lora_magnitude_vector" not in name and not name.endswith(".bias")
    ]
    if not case.facts.lora or not extra:
        return None
    return f"{len(extra)} tensors that are no LoRA pair, e.g. {extra[0][:120]!r}, {feature_of(extra[0])}"


def _dora_mismatch(case: Case) -> str | None:
    """Every pair of a DoRA has a magnitude vector of its output's length, and no pair of a LoRA has one."""
    if not case.facts.tensors or not case.facts.lora or not case.is_lora:
        return None
    vectors, wanted = magnitudes(case.facts.tensors), bool(case.config.get("use_dora"))
    pairs = {s.module: (s.d_out,) for s in case.facts.lora}
    stray = next((m for m in vectors if m not in pairs or not wanted), None)
    if stray is not None:
        return f"use_dora is {wanted}, and {stray[:120]!r} has a magnitude vector"
    odd = next((m for m, shape in pairs.items() if wanted and vectors.get(m) != shape), None)
    return None if odd is None else f"use_dora is True, and {odd[:120]!r} has no magnitude vector of its width"


# Config and tensors together


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
    for field, read in (("alpha_pattern", _scaling), ("rank_pattern", _declared_rank)):
        try:
            for shape in case.facts.lora:
                read(case, shape)
        except (ValueError, OverflowError) as error:
            return f"{field}: {error}"
    return None


def _scaling(case: Case, shape: LoraShape) -> float:
    return scaling_of(shape.module, shape.rank, case.config, case.patience)


def _declared_rank(case: Case, shape: LoraShape) -> Any:
    return declared_rank(shape.module, case.config, case.patience)


def _zero_alpha(case: Case) -> str | None:
    """Every pair is scaled by 0. A DoRA may still change its base: its magnitudes are not scaled."""
    if not case.is_lora or malformed_field(case.config) or case.config.get("use_dora") or case.facts.dora:
        return None
    alphas = [case.config.get("lora_alpha", 8), *(case.config.get("alpha_pattern") or {}).values()]
    if all(alphas) or (not case.facts.lora and any(alphas)):
        return None
    try:
        scaled = any(_scaling(case, shape) for shape in case.facts.lora)
    except (ValueError, OverflowError):
        return None
    return None if scaled else "lora_alpha is 0 for every module: the adapter changes nothing"


def _untargeted_modules(case: Case) -> str | None:
    """Tensors at modules that the config does not target: PEFT passes over them, their author meant them to act."""
    targets, targeted = case.config.get("target_modules"), case.pairs_targeted
    if not case.is_lora or not case.facts.lora or not targets or targeted is None:
        return None
    stray = [s.module for s in case.facts.lora if s.module not in targeted]
    if not stray:
        return None
    everything = isinstance(targets, str) and targets.lower() == ALL_LINEAR
    told = f", and {ALL_LINEAR} leaves out the output head" if everything else ""
    return f"{len(stray)} of {len(case.facts.lora)} modules are not targeted, e.g. {stray[0][:120]!r}{told}"


def _rank_mismatch(case: Case) -> str | None:
    """PEFT fails to load it, and where r is in doubt, so is the alpha that was meant for it."""
    if not case.is_lora or case.policy.rank_mismatch or malformed_field(case.config):
        return None
    modules = rank_mismatches(case.facts.lora, case.config, case.patience)
    if not modules:
        return None
    shape = next(s for s in case.facts.lora if s.module == modules[0])
    told = f"{modules[0][:120]!r}: {_declared_rank(case, shape)} in the config, {shape.rank} in the weights"
    return f"{len(modules)} of {len(case.facts.lora)} modules have another rank, e.g. {told}"


KIND: tuple[tuple[str, Check], ...] = (
    ("not_peft", _not_peft),
    ("peft_type", _peft_type),
    ("task_type", _task_type),
    ("base_kind", _base_kind),
    ("hybrid_config", _hybrid_config),
    ("malformed_field", _malformed_field),
)
FUNCTION: tuple[tuple[str, Check], ...] = (
    ("broken_pair", _broken_pair),
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
    ("rank_mismatch", _rank_mismatch),
    ("zero_b", _zero_alpha),
)
