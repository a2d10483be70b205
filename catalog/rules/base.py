"""Rules about the base: whether an adapter names one, whether it is the one at hand, whether its modules fit.

Knows: the base's names, revision and modules. Does not know: how they were found out (lorauter/adapters/base_modules),
what an adapter computes (catalog/rules/function).
"""

from __future__ import annotations

import json
import re

from catalog.adapters.config_fields import REVISIONS
from catalog.bases.names import canonical
from catalog.rules.case import Case, Check

_COMMIT = re.compile(r"[0-9a-f]{7,40}")


def _unknown_base(case: Case) -> str | None:
    """Nothing names a base that is known. Shapes never do: a base, its chat model and a merged one share them."""
    if case.config.get("peft_type") is None or case.match.base is not None:
        return None
    named = case.config.get("base_model_name_or_path")
    told = f"base_model_name_or_path is {named!r}"[:200] + ", and the card names no base"
    base = case.base
    fits = bool(base and case.facts.lora) and all(
        base.modules.get(s.module) == (s.d_in, s.d_out) for s in case.facts.lora if base
    )
    told += f"; its shapes fit {base.id}, as they fit whatever was made from it" if base and fits else ""
    alias = json.dumps({named[:100]: "org/model"}) if isinstance(named, str) and named else ""
    return f"{told}. If it is a copy of a base, say so: LORAUTER_ALIASES={alias!r}" if alias else told


def _wrong_base(case: Case) -> str | None:
    named, base = case.match.base, case.base
    if case.facts.config is None or named is None or base is None:
        return None
    if base.id.lower() in (named.lower(), canonical(named).lower()) or canonical(base.id) == canonical(named):
        return None
    return f"made for {case.match.named[:200]!r}"


def _base_revision(case: Case) -> str | None:
    """PEFT would load the base at the revision that the config notes down."""
    named, base = case.config.get("revision"), case.base
    if not case.is_lora or not isinstance(named, str) or named in REVISIONS:
        return None
    is_commit = _COMMIT.fullmatch(named) is not None
    if base is None:  # a commit may be the one of the base that will be read
        return None if is_commit and not case.alone else f"made for the base's revision {named[:120]!r}"
    if named == base.revision or (is_commit and base.sha.startswith(named)):
        return None
    commit = f" ({base.sha[:12]})" if base.sha.strip("0") else ""  # a folder on a disk has none
    return f"made for the base's revision {named[:120]!r}, and the base here is {base.revision}{commit}"


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


NAMED: tuple[tuple[str, Check], ...] = (("unknown_base", _unknown_base), ("wrong_base", _wrong_base))
REVISION: tuple[tuple[str, Check], ...] = (("base_revision", _base_revision),)
MODULES: tuple[tuple[str, Check], ...] = (
    ("base_unreadable", _base_unreadable),
    ("no_matching_modules", _no_matching_modules),
    ("shape_mismatch", _shape_mismatch),
    ("unmatched_modules", _unmatched_modules),
    ("missing_modules", _missing_modules),
)
