"""Every table, declared once as an Arrow schema.

Knows: names, types, meanings, units and sources of columns (field metadata `about`, `unit`, `source`). Does not
know: who writes or reads them.
A base model is always the pair (base, base_sha); an adapter is its key `repo[:path]@sha`, "" is the base alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from warehouse.schemas.field_notes import notes

SCHEMA_VERSION = "3"  # 2: snapshots hold `scores`, and lifts over majority and shuffled targets; 3: ASIDE


def _field(name: str, kind: pa.DataType, about: str = "", source: str = "") -> pa.Field:
    return pa.field(name, kind, metadata=notes(name, about) | ({"source": source} if source else {}))


def _schema(*fields: pa.Field) -> pa.Schema:
    return pa.schema(fields, metadata={"lorauter_schema": SCHEMA_VERSION})


def _timeless(schema: pa.Schema) -> pa.Schema:
    """Without the time and the ledger's own columns: a snapshot's content does not depend on when it was made."""
    return pa.schema([f for f in schema if f.name not in LEDGER_ONLY], metadata=schema.metadata)


LEDGER_ONLY = ("at", "inputs", "content", "refused_by")
_TEXTS = pa.list_(pa.string())
_FINDINGS = pa.list_(pa.struct([("reason", pa.string()), ("evidence", pa.string())]))
_SHAPES = pa.list_(pa.struct([("module", pa.string()), ("d_in", pa.int32()), ("d_out", pa.int32())]))
_RANKS = pa.list_(pa.struct([("rank", pa.int32()), ("scaling", pa.float64()), ("modules", pa.int32())]))
_NORMS = pa.list_(pa.struct([("module", pa.string()), ("norm", pa.float64())]))
_TIME = pa.timestamp("us", tz="UTC")
_CONTENT = _field("content", pa.string(), "hash of the row but its time")
_BASE = (_field("base", pa.string(), "base model id"), _field("base_sha", pa.string(), "commit of the base"))

BASES = _schema(
    *_BASE,
    _field("modules", _SHAPES, "Linear-like modules: d_in to d_out"),
    _field("embeddings", _SHAPES, "embeddings: d_in rows of width d_out"),
    _field("source", pa.string(), "config, or header of its checkpoint"),
    _field("problem", pa.string(), "why its modules cannot be known; null where they are"),
    _field("at", _TIME, "when it was read"),
)
REPOS = _schema(
    _field("target", pa.string(), "what the listing was asked for, kind:name"),
    _field("repo", pa.string()),
    _field("sha", pa.string(), "commit"),
    _field("files", _TEXTS),
    _field("tags", _TEXTS),
    _field("last_modified", pa.string(), "as the hub says, ISO 8601"),
    _field("downloads", pa.int64()),
    _field("likes", pa.int64()),
    _field("gated", pa.bool_()),
    _field("private", pa.bool_()),
    _field("created", pa.string(), "when it was made, as the hub says, ISO 8601; null in rows of an older version"),
    _field("gone", pa.string(), "why the target holds it no longer (a tombstone, `at` its date); null while it does"),
    _field("gone_to", pa.string(), "its new name, where it was renamed"),
    _CONTENT,
    _field("at", _TIME, "when it was first seen so"),
)
PAGES = _schema(
    _field("target", pa.string(), "what was asked for, kind:name"),
    _field("crawl", pa.string(), "name of the pass, its start in ISO 8601"),
    _field("kind", pa.string(), "sweep: every page; increment: down to the watermark"),
    _field("page", pa.int32(), "number within the pass"),
    _field("repos", _TEXTS, "repos on it"),
    _field("next_url", pa.string(), "address of the following page, null at the end"),
    _field("mark", pa.string(), "lastModified at which an increment stops"),
    _field("newest", pa.string(), "largest lastModified of the pass: the next increment's mark"),
    _field("ended", pa.bool_(), "whether the pass is complete, tombstones included"),
    _field("error", pa.string(), "why the next page could not be had; the next crawl goes on there"),
    _field("at", _TIME, "when it was written"),
)
RAW = _schema(
    _field("repo", pa.string()),
    _field("path", pa.string(), 'folder in the repo, "" is the root'),
    _field("sha", pa.string(), "commit"),
    _field("config", pa.string(), "text of adapter_config.json"),
    _field("header", pa.string(), "JSON of the safetensors header"),
    _field("size", pa.int64(), "bytes of the weights file"),
    _field("sha256", pa.string(), "of the weights file, announced by the hub"),
    _field("problems", _FINDINGS, "problems met while reading"),
    _CONTENT,
    _field("at", _TIME, "when it was read"),
)
CARDS = _schema(
    _field("adapter", pa.string()),
    _field("text", pa.string(), "words of its card, cut", "model card"),
    _field("at", _TIME, "when it was read"),
)
WEIGHTS = _schema(
    _field("adapter", pa.string()),
    _field("size", pa.int64(), "bytes downloaded"),
    _field("sha256", pa.string()),
    _field("non_finite", _TEXTS, "names of tensors with NaN or infinity"),
    _field("zero_b", pa.bool_(), "whether every B is zero"),
    _field("unsupported", pa.string(), "why the engine cannot serve it exactly, null where it can"),
    _field("mean_norm", pa.float64(), "mean over modules of the Frobenius norm of BA, scaling left out"),
    _field("norms", _NORMS, "of BA by module, scaling left out"),
    _field("at", _TIME, "when it was checked"),
)
VERDICTS = _schema(
    *_BASE,
    _field("adapter", pa.string()),
    _field("repo", pa.string()),
    _field("path", pa.string()),
    _field("sha", pa.string()),
    _field("admitted", pa.bool_()),
    _field("downloaded", pa.bool_(), "whether it came as far as the checks of its weights"),
    _field("reason", pa.string(), "first failing rule, null where admitted"),
    _field("findings", _FINDINGS, "every failing rule with its evidence"),
    _field("licence", pa.string()),
    _field("size", pa.int64(), "bytes of weights"),
    _field("sha256", pa.string(), "of the weights"),
    _field("duplicate_of", pa.string(), "adapter whose weights these are too: they are stored once"),
    _field("base_named", pa.string(), "what it calls its base"),
    _field("base_source", pa.string(), "where its base is known from: config, card or path"),
    _field("base_twin", pa.bool_(), "whether that names a quantised or renamed twin of the base"),
    _field("peft_type", pa.string()),
    _field("task_type", pa.string()),
    _field("peft_version", pa.string()),
    _field("rank", pa.int32(), "largest LoRA rank in the weights' header"),
    _field("ranks", _RANKS, "modules by rank and scaling"),
    _field("modules", pa.int32(), "adapted modules"),
    _field("matched", pa.int32(), "of them in the base; null where its modules are not known"),
    _field("targeted", pa.int32(), "base modules that target_modules means; null where that cannot be told"),
    _field("dtypes", _TEXTS),
    _field("dora", pa.bool_()),
    _field("rslora", pa.bool_()),
    _field("bias", pa.string()),
    _field("saved_modules", _TEXTS, "modules_to_save"),
    _field("added_rows", pa.int32(), "embedding rows beyond the base's vocabulary"),
    _field("other_tensors", pa.int32(), "tensors that are no LoRA pair"),
    _field("rank_mismatches", pa.int32(), "modules whose rank is not the config's"),
    _field("downloads", pa.int64()),
    _field("last_modified", pa.string(), "of its repo, as the hub says, ISO 8601; null in rows of an older version"),
    _field("rules_version", pa.string()),
    _field("inputs", pa.string(), "hash of all that the rules before the download looked at"),
    _field("sound", pa.bool_(), "whether every rule before the download passed"),
    _CONTENT,
    _field("at", _TIME, "when it was judged"),
)
_REFUSED_BY = _field(
    "refused_by",
    pa.string(),
    "version of the engine that cannot run the adapter, another one tries again; null otherwise, and in older rows",
)
OUTPUTS = _schema(
    _field("key", pa.string(), "hash of all that decides the output"),
    *_BASE,
    _field("adapters", _TEXTS, "adapter keys of the mixture, empty for the base alone"),
    _field("weights", pa.list_(pa.float64()), "their weights"),
    _field("composition", pa.string(), "how they are served, with its settings; null for the output mixture"),
    _field("task", pa.string(), "task the prompt came from, null for a free query"),
    _field("example", pa.string(), "id of the example or query"),
    _field("prompt", pa.string()),
    _field("max_new_tokens", pa.int32()),
    _field("decoding", pa.string(), "how tokens were chosen and what ended a text; greedy: up to a line's end"),
    _field("sample", pa.string(), "what tells drawn outputs of one prompt apart; null where nothing was drawn"),
    _field("dtype", pa.string()),
    _field("engine", pa.string(), "version of the engine"),
    _field("text", pa.string(), "generated text, raw"),
    _field("options", _TEXTS, "options to weigh in place of a text; null or empty where a text is wanted"),
    _field("option_logprobs", pa.list_(pa.float64()), "log-probability of each option, summed over its tokens"),
    _field("option_tokens", pa.list_(pa.int32()), "tokens of each option"),
    _field("error", pa.string(), "why there is no answer: the adapter cannot be run; null where there is one"),
    _REFUSED_BY,
)
RUNGS = _schema(
    *_BASE,
    _field("task", pa.string()),
    _field("task_hash", pa.string()),
    _field("race", pa.string(), "hash of task, conditions and strategy: rungs of one race go on from run to run"),
    _field("rung", pa.int32(), "from 1"),
    _field("adapter", pa.string()),
    _field("n", pa.int32(), "examples seen so far"),
    _field("mean", pa.float64(), "cumulative mean of the metric"),
    _field("standard_error", pa.float64()),
    _field("kept", pa.bool_(), "whether it went on to the next rung, or won"),
    _field("why", pa.string(), "why it went no further, or what it leads by"),
    _REFUSED_BY,
    _field("at", _TIME, "when it was decided"),
)
MADE = ("text", "option_logprobs", "option_tokens", "error", "refused_by")  # columns of an output that running it fills
PLAN = _schema(_field("shard", pa.int32()), *[f for f in OUTPUTS if f.name not in MADE])

TASKS = _schema(
    *_BASE,
    _field("task", pa.string()),
    _field("task_hash", pa.string()),
    _field("metric", pa.string()),
    _field("template", pa.string(), "prompt template"),
    _field("max_new_tokens", pa.int32()),
    _field("description", pa.string()),
    _field("declared", pa.string(), "repo of the task's own adapter, where one is declared"),
    _field("n_validation", pa.int32()),
    _field("majority", pa.string(), "most frequent target of the validation set"),
    _field("majority_score", pa.float64(), "its metric on the examples that score the published adapter"),
    _field("encoder", pa.string()),
    _field("encoder_sha", pa.string(), "its commit"),
    _field("encoder_prompt", pa.string(), "text put before whatever is embedded; null in rows of an older version"),
    _field("encoder_hash", pa.string(), "of its weights and settings: embeddings of two hashes do not compare"),
    _field("embedding", pa.list_(pa.float32()), "mean of the L2-normalised embeddings of the validation inputs"),
)
INPUTS = _schema(
    *_BASE,
    _field("task", pa.string()),
    _field("number", pa.int32(), "place in the task's validation set"),
    _field("input", pa.string(), "a validation input: what routers that look at more than the mean are fitted on"),
    _field("target", pa.string(), "its target; null in rows of an older version"),
    _field("embedding", pa.list_(pa.float32()), "of the input, L2-normalised, by the task's encoder"),
)
SCORES = _schema(
    *_BASE,
    _field("task", pa.string()),
    _field("adapter", pa.string(), '"" is the base alone'),
    _field("n", pa.int32(), "selection examples that it met, the first n of the task's order"),
    _field("mean", pa.float64(), "mean metric on them"),
    _field("standard_error", pa.float64()),
    _field("lift", pa.float64(), "mean difference to the base, on the examples that both met"),
    _field("lift_standard_error", pa.float64()),
    _field("lift_n", pa.int32(), "how many those are"),
    _field("rung", pa.int32(), "the last one that it met examples in"),
    _field("chosen", pa.bool_(), "whether it is the task's published one"),
    _field("why", pa.string(), "why it went no further, or what it leads by"),
)
BEST = _schema(
    *_BASE,
    _field("task", pa.string()),
    _field("adapter", pa.string(), 'key of the published adapter, "" where no adapter improves on the base'),
    _field("repo", pa.string()),
    _field("path", pa.string()),
    _field("sha", pa.string()),
    _field("score", pa.float64(), "mean metric on examples that did not choose it"),
    _field("standard_error", pa.float64()),
    _field("n", pa.int32()),
    _field("base_score", pa.float64(), "the base's mean on the same examples"),
    _field("lift", pa.float64(), "score - base_score"),
    _field("lift_standard_error", pa.float64(), "of the paired difference"),
    _field("majority_score", pa.float64(), "what always giving the most frequent target scores on them"),
    _field("lift_over_majority", pa.float64()),
    _field("lift_over_majority_standard_error", pa.float64()),
    _field("shuffled_score", pa.float64(), "the adapter's answers against other examples' targets"),
    _field("lift_over_shuffled", pa.float64()),
    _field("lift_over_shuffled_standard_error", pa.float64()),
    _field("curation", pa.string(), "a person's decision that chose it in the race's place; null where the race did"),
    _field("selection_score", pa.float64(), "mean on the examples that chose it: biased upwards"),
    _field("selection_n", pa.int32()),
)
ANSWERS = _schema(
    _field("id", pa.string(), "of the query"),
    _field("router", pa.string()),
    _field("input", pa.string()),
    _field("text", pa.string(), "raw answer"),
    _field(
        "tasks",
        pa.list_(pa.struct([("task", pa.string()), ("similarity", pa.float64()), ("weight", pa.float64())])),
    ),
    _field(
        "adapters",
        pa.list_(pa.struct([("adapter", pa.string()), ("weight", pa.float64())])),
        "empty: the base alone; weights are null where a gate weighs them token by token",
    ),
    _field("composition", pa.string(), "how they are served, with its settings, or the gate; null: output mixture"),
    _field("decoding", pa.string(), "how tokens were chosen and what ended a text; greedy: up to a line's end"),
    _field("confidence", pa.float64(), "how near the query is to a task: of most routers, the cosine to the nearest"),
    _field("task", pa.string(), "the query's true task, where known"),
    _field("target", pa.string(), "reference, where known"),
    _field("metric", pa.string()),
    _field("score", pa.float64(), "metric of text against target"),
    _field("error", pa.string(), "why there is no text: the row or the route's adapters; null where there is one"),
    _field(
        "fallbacks",
        pa.list_(pa.struct([("task", pa.string()), ("gone", pa.string()), ("used", pa.string())])),
        "tasks of the route whose adapter has vanished or was filtered out, and the one used in its place",
    ),
    _field("route_seconds", pa.float64(), "mean of its chunk"),
    _field("answer_seconds", pa.float64(), "mean of its chunk; null where all its answers were known"),
    _field("snapshot", pa.string()),
)
_ACT = (
    _field("kind", pa.string(), "pin, ban or note; unpin and unban lift; force: published against the gate"),
    _field("adapter", pa.string(), "repo, repo:path or a whole key"),
    _field("task", pa.string(), '"" for every task'),
    _field("author", pa.string(), "who decided"),
    _field("reason", pa.string()),
)
CURATION = _schema(
    _field("act", pa.string(), "hash of the rest"),
    *_ACT,
    _field("base", pa.string(), 'base model id, "" for all'),
    _field("at", _TIME, "when it was decided"),
)
CURATED = _schema(*_BASE, *_ACT, _field("decided", _TIME, "when it was decided"))
CHANGES = _schema(
    *_BASE,
    _field("task", pa.string()),
    _field("adapter", pa.string()),
    _field("change", pa.string(), "came, went, rose or fell, against the snapshot that was current before"),
    _field("mean_before", pa.float64(), "mean metric there; null for one that came"),
    _field("mean", pa.float64(), "mean metric now; null for one that went"),
    _field("lift_before", pa.float64()),
    _field("lift", pa.float64()),
    _field("chosen_before", pa.bool_(), "whether it was the task's published one"),
    _field("chosen", pa.bool_(), "whether it is now"),
    _field("since", pa.string(), "id of the snapshot before"),
)
RUNS = _schema(
    _field("run", pa.string(), "hash of its start and its base"),
    *_BASE,
    _field("command", pa.string(), "refresh, or the stage that was run alone"),
    _field("started", _TIME),
    _field("seconds", pa.float64(), "s, from start to publish"),
    _field("listed", pa.int64(), "repos that the crawl met; 0 where none was made"),
    _field("file_requests", pa.int64(), "requests for files, made in this run"),
    _field("bytes", pa.int64(), "B of listings, configs, headers and cards; weights are not counted"),
    _field("spent", pa.int64(), "evaluations that the strategy asked for"),
    _field("new", pa.int64(), "of them those that had to be made"),
    _field("exhaustive", pa.int64(), "evaluations of every adapter on every example"),
    _field("at", _TIME, "when it ended"),
)
SOURCES = _schema(
    _field("table", pa.string(), "of the ledger"),
    _field("fragment", pa.string(), "name of a fragment that was there when this was published"),
)
EVALUATION_ITEMS = _schema(
    _field("setting", pa.string(), "non-ood, semi-ood or ood"),
    _field("router", pa.string()),
    _field("composition", pa.string()),
    _field("task", pa.string(), "the query's true task"),
    _field("id", pa.string(), "of the test example"),
    _field("text", pa.string(), "raw answer; null where options were weighed"),
    _field("score", pa.float64(), "the task's metric; 0 where there is no answer"),
    _field("error", pa.string(), "why there is no answer; null where there is one"),
    _field(
        "adapters",
        pa.list_(pa.struct([("adapter", pa.string()), ("weight", pa.float64())])),
        "weights are null where a gate weighs them token by token",
    ),
    _field("tasks", _TEXTS, "tasks of weight above 0 behind the route, nearest first"),
)

LEDGER = {
    "bases": BASES,
    "repos": REPOS,
    "pages": PAGES,
    "raw": RAW,
    "cards": CARDS,
    "weights": WEIGHTS,
    "verdicts": VERDICTS,
    "rungs": RUNGS,
    "outputs": OUTPUTS,
    "curation": CURATION,
    "runs": RUNS,
}
KEYS = {
    "bases": ("base", "base_sha"),
    "rungs": ("base", "base_sha", "task", "task_hash", "race", "rung", "adapter"),
    "repos": ("target", "repo"),
    "pages": ("target", "crawl", "page"),
    "raw": ("repo", "path", "sha"),
    "cards": ("adapter",),
    "weights": ("adapter",),
    "verdicts": ("base", "base_sha", "adapter"),
    "outputs": ("key",),
    "curation": ("act",),
    "runs": ("run",),
}
ADDED_KEYS = {"race"}  # key columns that older versions did not write: they read as null
SNAPSHOT = {
    "tasks": (TASKS, ("base", "base_sha", "task")),
    "inputs": (INPUTS, ("base", "base_sha", "task", "number")),
    "best": (BEST, ("base", "base_sha", "task")),
    "scores": (SCORES, ("base", "base_sha", "task", "adapter")),
    "rungs": (_timeless(RUNGS), ("base", "base_sha", "task", "rung", "adapter")),
    "adapters": (_timeless(VERDICTS), ("base", "base_sha", "adapter")),
    "curation": (CURATED, ("base", "base_sha", "decided", "kind", "adapter", "task")),
}
ASIDE = {
    "changes": (CHANGES, ("base", "base_sha", "task", "adapter")),
    "runs": (RUNS, ("started", "run")),
    "sources": (SOURCES, ("table", "fragment")),
}
"""Tables of a snapshot that its id leaves out: how it came about, in which time and history enter."""


def table_of(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of a declared schema.

    Raises:
        ValueError: a row has a column that the schema lacks; Arrow alone would drop it in silence.
            Only the ledger's own columns (LEDGER_ONLY) may be dropped: a snapshot has none.
    """
    found = [dict(row) for row in rows]
    for row in found:
        unknown = row.keys() - {*schema.names, *LEDGER_ONLY}
        if unknown:
            raise ValueError(f"no such columns: {sorted(unknown)}")
    return pa.Table.from_pylist(found, schema=schema)
