"""What a column's metadata says beside `about`: its unit, and where its value is from; and meanings that tables share.

Knows: columns by name, which mean the same in every table. Does not know: tables (warehouse/schemas).
"""

from __future__ import annotations

from collections.abc import Mapping

ABOUT: Mapping[str, str] = {
    "repo": "repo id, org/name",
    "path": 'folder in the repo, "" is the root',
    "sha": "commit of the repo",
    "adapter": "key, repo[:path]@sha",
    "files": "names of the repo's files",
    "tags": "of the repo",
    "downloads": "of the repo, as the hub counts them",
    "likes": "of the repo",
    "gated": "whether its files need an agreement",
    "private": "whether only some may see it",
    "sha256": "of the weights file",
    "admitted": "whether every rule passed: it can be run and fits the policy; never that it is safe",
    "licence": "as its card says",
    "peft_type": "kind of adapter",
    "task_type": "kind of model that it was made for",
    "peft_version": "version of PEFT that saved it",
    "dtypes": "of its tensors",
    "dora": "whether it scales by learned magnitudes",
    "rslora": "whether its scaling is alpha / sqrt(rank)",
    "bias": "which biases it holds",
    "rules_version": "of the rules that judged it",
    "task": "name of the task",
    "task_hash": "of the task's examples, template and metric",
    "mean": "mean metric",
    "lift": "mean difference to the base",
    "lift_before": "mean difference to the base, there",
    "standard_error": "of the mean",
    "lift_standard_error": "of the lift, paired",
    "prompt": "text that was completed",
    "max_new_tokens": "longest answer",
    "dtype": "what the engine computed in",
    "reason": "why, in the author's words",
    "started": "when it began",
    "metric": "name of the metric",
    "description": "of the task, for people",
    "n_validation": "validation examples",
    "encoder": "repo id of the sentence encoder",
    "n": "examples behind it",
    "lift_over_majority": "score - majority_score",
    "lift_over_majority_standard_error": "of the paired difference",
    "lift_over_shuffled": "score - shuffled_score",
    "lift_over_shuffled_standard_error": "of the paired difference",
    "selection_n": "examples that chose it",
    "router": "name of the router",
    "input": "text of the query",
    "tasks": "of the route, nearest first",
    "snapshot": "id of the snapshot",
    "composition": "how adapters are put together",
}
_POINTS = "points of the metric, -1 to 1"
_METRIC = "metric, 0 to 1"
UNITS: Mapping[str, str] = {
    **dict.fromkeys(("size", "bytes"), "B"),
    **dict.fromkeys(("seconds", "route_seconds", "answer_seconds"), "s"),
    **dict.fromkeys(("at", "started", "decided"), "time, UTC"),
    **dict.fromkeys(("mean", "mean_before", "score", "base_score", "majority_score", "shuffled_score"), _METRIC),
    **dict.fromkeys(("selection_score", "standard_error"), _METRIC),
    **dict.fromkeys(("lift", "lift_before", "lift_over_majority", "lift_over_shuffled"), _POINTS),
    **dict.fromkeys(("n", "lift_n", "selection_n", "n_validation"), "examples"),
    **dict.fromkeys(("spent", "new", "exhaustive"), "evaluations"),
    **dict.fromkeys(("max_new_tokens", "option_tokens"), "tokens"),
    "option_logprobs": "nats",
    "file_requests": "requests",
    "listed": "repos",
    "confidence": "cosine, -1 to 1",
    "weight": "share, 0 to 1",
}
_HUB = ("repo", "sha", "files", "tags", "last_modified", "downloads", "likes", "gated", "private", "base_sha")
_CONFIG = ("peft_type", "task_type", "peft_version", "dora", "rslora", "bias", "saved_modules", "config")
_HEADER = ("rank", "ranks", "modules", "dtypes", "other_tensors", "header", "added_rows")
_WEIGHTS = ("non_finite", "zero_b", "mean_norm", "norms")
_MEASURED = ("text", "option_logprobs", "option_tokens", "mean", "score", "lift", "base_score", "standard_error")
SOURCES: Mapping[str, str] = {
    **dict.fromkeys(_HUB, "hub"),
    **dict.fromkeys(_CONFIG, "adapter_config.json"),
    **dict.fromkeys(_HEADER, "header of the weights"),
    **dict.fromkeys(_WEIGHTS, "weights"),
    **dict.fromkeys(_MEASURED, "engine"),
    "licence": "model card",
    "size": "hub",
    "sha256": "hub, then the download",
}


def notes(name: str, about: str) -> dict[str, str]:
    """Metadata of a column: about, and unit and source where they are known."""
    told = {"about": about or ABOUT.get(name, ""), "unit": UNITS.get(name, ""), "source": SOURCES.get(name, "")}
    return {key: value for key, value in told.items() if value}
