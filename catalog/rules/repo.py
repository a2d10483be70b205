"""Rules about the repo, the files in it, and what a catalog wants of an adapter.

Knows: names, listings, files that are there and are not, the policy. Does not know: what an adapter computes
(catalog/rules/function), the base (catalog/rules/base).
"""

from __future__ import annotations

import re

from catalog.adapters.facts import CONFIG_NAME, PICKLE_NAME, WEIGHTS_NAME
from catalog.adapters.safe_names import colliding, folded, is_repo_id, is_safe_path
from catalog.rules.case import Case, Check

_SHA = re.compile(r"[0-9a-f]{40}")
_WEIGHT_ENDINGS = (".safetensors", ".bin", ".pt", ".pth", ".npz", ".ckpt", ".msgpack")
_NOT_ADAPTERS = re.compile(  # of training runs, and of the full model that may lie beside an adapter
    r"(training_args|optimizer|scheduler|rng_state.*|scaler|trainer_state|model|(pytorch_)?model[-_.].*|pytorch_model)\.\w+"
    r"|consolidated.*",
    re.IGNORECASE,
)

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


LISTED: tuple[tuple[str, Check], ...] = (
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
)
FILES: tuple[tuple[str, Check], ...] = (
    ("misnamed_weights", _misnamed_weights),
    ("pickle_only", _pickle_only),
    ("no_weights", _no_weights),
    ("lfs_pointer", _problem("lfs_pointer")),
    ("bad_header", _problem("bad_header")),
    ("truncated", _problem("truncated")),
)
WANTED: tuple[tuple[str, Check], ...] = (
    ("rank", _rank),
    ("size", _size),
    ("dora", _dora),
    ("licence", _licence),
    ("downloads", _downloads),
)
