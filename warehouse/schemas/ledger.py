"""The ledger's tables, each declared once; a plan is the part of its outputs that is still to be made.

Knows: names, types and meanings of columns, keys. Does not know: who writes or reads rows (warehouse/records).
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.schemas.columns import BASE, CONTENT, FINDINGS, POLICY, TEXTS, TIME, column, schema

_SHAPES = pa.list_(pa.struct([("module", pa.string()), ("d_in", pa.int32()), ("d_out", pa.int32())]))
_RANKS = pa.list_(pa.struct([("rank", pa.int32()), ("scaling", pa.float64()), ("modules", pa.int32())]))
_TOKENS = pa.list_(pa.struct([("name", pa.string()), ("token", pa.string())]))
EVIDENCE = pa.list_(
    pa.struct(
        [
            ("format", pa.string()),
            ("source", pa.string()),
            ("confidence", pa.float64()),
            ("reason", pa.string()),
            ("template", pa.string()),
            ("stops", TEXTS),
        ]
    )
)
_NORMS = pa.list_(pa.struct([("module", pa.string()), ("norm", pa.float64())]))

BASES = schema(
    *BASE,
    column("modules", _SHAPES, "Linear-like modules: d_in to d_out"),
    column("embeddings", _SHAPES, "embeddings: d_in rows of width d_out"),
    column("source", pa.string(), "config, or header of its checkpoint"),
    column("problem", pa.string(), "why its modules cannot be known; null where they are"),
    column("at", TIME, "when it was read"),
)
REPOS = schema(
    column("target", pa.string(), "what the listing was asked for, kind:name"),
    column("repo", pa.string()),
    column("sha", pa.string(), "commit"),
    column("files", TEXTS),
    column("tags", TEXTS),
    column("last_modified", pa.string(), "as the hub says, ISO 8601"),
    column("downloads", pa.int64()),
    column("likes", pa.int64()),
    column("gated", pa.bool_()),
    column("private", pa.bool_()),
    column("created", pa.string(), "when it was made, as the hub says, ISO 8601; null in rows of an older version"),
    column("gone", pa.string(), "why the target holds it no longer (a tombstone, `at` its date); null while it does"),
    column("gone_to", pa.string(), "its new name, where it was renamed"),
    CONTENT,
    column("at", TIME, "when it was first seen so"),
)
PAGES = schema(
    column("target", pa.string(), "what was asked for, kind:name"),
    column("crawl", pa.string(), "name of the pass, its start in ISO 8601"),
    column("kind", pa.string(), "sweep: every page; increment: down to the watermark"),
    column("page", pa.int32(), "number within the pass"),
    column("repos", TEXTS, "repos on it"),
    column("next_url", pa.string(), "address of the following page, null at the end"),
    column("mark", pa.string(), "lastModified at which an increment stops"),
    column("newest", pa.string(), "largest lastModified of the pass: the next increment's mark"),
    column("ended", pa.bool_(), "whether the pass is complete, tombstones included"),
    column("error", pa.string(), "why the next page could not be had; the next crawl goes on there"),
    column("at", TIME, "when it was written"),
)
RAW = schema(
    column("repo", pa.string()),
    column("path", pa.string(), 'folder in the repo, "" is the root'),
    column("sha", pa.string(), "commit"),
    column("config", pa.string(), "text of adapter_config.json"),
    column("header", pa.string(), "JSON of the safetensors header"),
    column("size", pa.int64(), "bytes of the weights file"),
    column("sha256", pa.string(), "of the weights file, announced by the hub"),
    column("problems", FINDINGS, "problems met while reading"),
    CONTENT,
    column("at", TIME, "when it was read"),
)
CARDS = schema(
    column("adapter", pa.string()),
    column("text", pa.string(), "words of its card, cut", "model card"),
    column("at", TIME, "when it was read"),
)
PROMPT_FILES = schema(
    column("adapter", pa.string()),
    column("card", pa.string(), "start of its README.md, front matter and all; empty where it has none", "model card"),
    column("chat_template", pa.string(), "in Jinja; empty where it has none", "tokenizer files"),
    column("tokens", _TOKENS, "special tokens that the template may write", "tokenizer files"),
    column("adds_begin", pa.bool_(), "whether the tokenizer writes its begin-of-text token; null where it is not said"),
    CONTENT,
    column("at", TIME, "when they were read"),
)
FORMATS = schema(
    BASE[0],
    column("adapter", pa.string()),
    column("evidence", EVIDENCE, "what speaks for which prompt format, the surest first; empty where nothing does"),
    column("detector", pa.string(), "version of the detector"),
    column("inputs", pa.string(), "hash of detector and of all that it looked at, but the base's chat template"),
    column("base_template", pa.string(), "hash of the base's chat template; empty where it was not at hand"),
    column(
        "too_slow",
        pa.int32(),
        "runs in which its chat template took too long to render: the next tries again, up to 3; null in older rows",
    ),
    column("at", TIME, "when it was detected"),
)
WEIGHTS = schema(
    column("adapter", pa.string()),
    column("size", pa.int64(), "bytes downloaded"),
    column("sha256", pa.string()),
    column("non_finite", TEXTS, "names of tensors with NaN or infinity"),
    column("zero_b", pa.bool_(), "whether every B is zero"),
    column("unsupported", pa.string(), "why the engine cannot serve it exactly, null where it can"),
    column("mean_norm", pa.float64(), "mean over modules of the Frobenius norm of BA, scaling left out"),
    column("norms", _NORMS, "of BA by module, scaling left out"),
    column("at", TIME, "when it was checked"),
)
VERDICTS = schema(
    *BASE,
    column("adapter", pa.string()),
    column("repo", pa.string()),
    column("path", pa.string()),
    column("sha", pa.string()),
    column("admitted", pa.bool_()),
    column("downloaded", pa.bool_(), "whether it came as far as the checks of its weights"),
    column("reason", pa.string(), "first failing rule, null where admitted"),
    column("findings", FINDINGS, "every failing rule with its evidence"),
    column("licence", pa.string()),
    column("size", pa.int64(), "bytes of weights"),
    column("sha256", pa.string(), "of the weights"),
    column("duplicate_of", pa.string(), "adapter whose weights these are too: they are stored once"),
    column("base_named", pa.string(), "what it calls its base"),
    column("base_source", pa.string(), "where its base is known from: config, card or path"),
    column("base_twin", pa.bool_(), "whether that names a quantised or renamed twin of the base"),
    column("peft_type", pa.string()),
    column("task_type", pa.string()),
    column("peft_version", pa.string()),
    column("rank", pa.int32(), "largest LoRA rank in the weights' header"),
    column("ranks", _RANKS, "modules by rank and scaling"),
    column("modules", pa.int32(), "adapted modules"),
    column("matched", pa.int32(), "of them in the base; null where its modules are not known"),
    column("targeted", pa.int32(), "base modules that target_modules means; null where that cannot be told"),
    column("dtypes", TEXTS),
    column("dora", pa.bool_()),
    column("rslora", pa.bool_()),
    column("bias", pa.string()),
    column("saved_modules", TEXTS, "modules_to_save"),
    column("added_rows", pa.int32(), "embedding rows beyond the base's vocabulary"),
    column("other_tensors", pa.int32(), "tensors that are no LoRA pair"),
    column("rank_mismatches", pa.int32(), "modules whose rank is not the config's"),
    column("downloads", pa.int64()),
    column("last_modified", pa.string(), "of its repo, as the hub says, ISO 8601; null in rows of an older version"),
    column("rules_version", pa.string()),
    column("inputs", pa.string(), "hash of all that the rules before the download looked at"),
    column("sound", pa.bool_(), "whether every rule before the download passed"),
    CONTENT,
    column("at", TIME, "when it was judged"),
)
FORMAT = "prompt format that the adapter was asked in; null: the task's own template"
_REFUSED_BY = column(
    "refused_by",
    pa.string(),
    "version of the engine that cannot run the adapter, another one tries again; null otherwise, and in older rows",
)
OUTPUTS = schema(
    column("key", pa.string(), "hash of all that decides the output"),
    *BASE,
    column("adapters", TEXTS, "adapter keys of the mixture, empty for the base alone"),
    column("weights", pa.list_(pa.float64()), "their weights"),
    column("composition", pa.string(), "how they are served, with its settings; null for the output mixture"),
    column("task", pa.string(), "task the prompt came from, null for a free query"),
    column("example", pa.string(), "id of the example or query"),
    column("prompt", pa.string()),
    column("max_new_tokens", pa.int32()),
    column("decoding", pa.string(), "how tokens were chosen and what ended a text; greedy: up to a line's end"),
    column("sample", pa.string(), "what tells drawn outputs of one prompt apart; null where nothing was drawn"),
    column("dtype", pa.string()),
    column("engine", pa.string(), "version of the engine"),
    column("text", pa.string(), "generated text, raw"),
    column("cut", pa.bool_(), "whether its bound ended it, and no stop did; null where no text is, and in older rows"),
    column("options", TEXTS, "options to weigh in place of a text; null or empty where a text is wanted"),
    column("option_logprobs", pa.list_(pa.float64()), "log-probability of each option, summed over its tokens"),
    column("option_tokens", pa.list_(pa.int32()), "tokens of each option"),
    column("error", pa.string(), "why there is no answer: the adapter cannot be run; null where there is one"),
    _REFUSED_BY,
)
RUNGS = schema(
    *BASE,
    column("task", pa.string()),
    column("task_hash", pa.string()),
    column("race", pa.string(), "hash of task, conditions and strategy: rungs of one race go on from run to run"),
    column("rung", pa.int32(), "from 1"),
    column("adapter", pa.string()),
    column("n", pa.int32(), "examples seen so far"),
    column("mean", pa.float64(), "cumulative mean of the metric"),
    column("standard_error", pa.float64()),
    column("kept", pa.bool_(), "whether it went on to the next rung, or won"),
    column("why", pa.string(), "why it went no further, or what it leads by"),
    _REFUSED_BY,
    column("format", pa.string(), FORMAT),
    column("at", TIME, "when it was decided"),
)
ACT = (
    column("kind", pa.string(), "pin, ban or note; unpin and unban lift; force: published against the gate"),
    column("adapter", pa.string(), "repo, repo:path or a whole key"),
    column("task", pa.string(), '"" for every task'),
    column("author", pa.string(), "who decided"),
    column("reason", pa.string()),
)
CURATION = schema(
    column("act", pa.string(), "hash of the rest"),
    *ACT,
    column("base", pa.string(), 'base model id, "" for all'),
    column("at", TIME, "when it was decided"),
)
RUNS = schema(
    column("run", pa.string(), "hash of its start and its base"),
    *BASE,
    column("command", pa.string(), "refresh, or the stage that was run alone"),
    column("started", TIME),
    column("seconds", pa.float64(), "s, from start to publish"),
    column("listed", pa.int64(), "repos that the crawl met; 0 where none was made"),
    column("file_requests", pa.int64(), "requests for files, made in this run"),
    column("bytes", pa.int64(), "B of listings, configs, headers and cards; weights are not counted"),
    column("spent", pa.int64(), "evaluations that the strategy asked for"),
    column("new", pa.int64(), "of them those that had to be made"),
    column("exhaustive", pa.int64(), "evaluations of every adapter on every example"),
    column("at", TIME, "when it ended"),
)

FEEDBACK = schema(
    column("answer", pa.string(), "hash of what tells the answer from others"),
    column("query", pa.string(), "id of the query"),
    column("router", pa.string()),
    column("snapshot", pa.string(), "catalog that routed it"),
    column("adapters", TEXTS, "that took part, empty for the base alone"),
    column("score", pa.float64(), "what the answer was worth, from 0 to 1"),
    *POLICY,
    column("at", TIME, "when it was told"),
)

# Columns of an output that running it fills.
MADE = ("text", "cut", "option_logprobs", "option_tokens", "error", "refused_by")
PLAN = schema(column("shard", pa.int32()), *[f for f in OUTPUTS if f.name not in MADE])

LEDGER = {
    "bases": BASES,
    "repos": REPOS,
    "pages": PAGES,
    "raw": RAW,
    "cards": CARDS,
    "prompt_files": PROMPT_FILES,
    "formats": FORMATS,
    "weights": WEIGHTS,
    "verdicts": VERDICTS,
    "rungs": RUNGS,
    "outputs": OUTPUTS,
    "curation": CURATION,
    "runs": RUNS,
    "feedback": FEEDBACK,
}
KEYS = {
    "bases": ("base", "base_sha"),
    "rungs": ("base", "base_sha", "task", "task_hash", "race", "rung", "adapter"),
    "repos": ("target", "repo"),
    "pages": ("target", "crawl", "page"),
    "raw": ("repo", "path", "sha"),
    "cards": ("adapter",),
    "prompt_files": ("adapter",),
    "formats": ("base", "adapter"),
    "weights": ("adapter",),
    "verdicts": ("base", "base_sha", "adapter"),
    "outputs": ("key",),
    "curation": ("act",),
    "runs": ("run",),
    "feedback": ("answer",),
}
ADDED_KEYS = {"race"}  # key columns that older versions did not write: they read as null
