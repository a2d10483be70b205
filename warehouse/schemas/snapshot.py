"""The tables of a snapshot, each declared once.

Knows: names, types and meanings of columns, sort keys. Does not know: who writes or reads rows (warehouse/snapshots).
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.schemas.columns import BASE, TEXTS, TIME, column, schema, timeless
from warehouse.schemas.ledger import ACT, FORMAT, RUNGS, RUNS, VERDICTS

TASKS = schema(
    *BASE,
    column("task", pa.string()),
    column("task_hash", pa.string()),
    column("metric", pa.string()),
    column("template", pa.string(), "prompt template"),
    column("max_new_tokens", pa.int32()),
    column("description", pa.string()),
    column("declared", pa.string(), "repo of the task's own adapter, where one is declared"),
    column("n_validation", pa.int32()),
    column("majority", pa.string(), "most frequent target of the validation set"),
    column("majority_score", pa.float64(), "its metric on the examples that score the published adapter"),
    column("encoder", pa.string()),
    column("encoder_sha", pa.string(), "its commit"),
    column("encoder_prompt", pa.string(), "text put before whatever is embedded; null in rows of an older version"),
    column("encoder_hash", pa.string(), "of its weights and settings: embeddings of two hashes do not compare"),
    column("embedding", pa.list_(pa.float32()), "mean of the L2-normalised embeddings of the validation inputs"),
)
INPUTS = schema(
    *BASE,
    column("task", pa.string()),
    column("number", pa.int32(), "place in the task's validation set"),
    column("input", pa.string(), "a validation input: what routers that look at more than the mean are fitted on"),
    column("target", pa.string(), "its target; null in rows of an older version"),
    column("embedding", pa.list_(pa.float32()), "of the input, L2-normalised, by the task's encoder"),
)
SCORES = schema(
    *BASE,
    column("task", pa.string()),
    column("adapter", pa.string(), '"" is the base alone'),
    column("n", pa.int32(), "selection examples that it met, the first n of the task's order"),
    column("mean", pa.float64(), "mean metric on them"),
    column("standard_error", pa.float64()),
    column("lift", pa.float64(), "mean difference to the base, on the examples that both met"),
    column("lift_standard_error", pa.float64()),
    column("lift_n", pa.int32(), "how many those are"),
    column("rung", pa.int32(), "the last one that it met examples in"),
    column("chosen", pa.bool_(), "whether it is the task's published one"),
    column("why", pa.string(), "why it went no further, or what it leads by"),
    column("empty", pa.int32(), "of its n texts those that say nothing; null where options are weighed"),
    column("cut", pa.int32(), "of them those that their bound ended, as far as the ledger knows"),
    column("format", pa.string(), FORMAT),
)
BEST = schema(
    *BASE,
    column("task", pa.string()),
    column("adapter", pa.string(), 'key of the published adapter, "" where no adapter improves on the base'),
    column("repo", pa.string()),
    column("path", pa.string()),
    column("sha", pa.string()),
    column("score", pa.float64(), "mean metric on examples that did not choose it"),
    column("standard_error", pa.float64()),
    column("n", pa.int32()),
    column("base_score", pa.float64(), "the base's mean on the same examples"),
    column("lift", pa.float64(), "score - base_score"),
    column("lift_standard_error", pa.float64(), "of the paired difference"),
    column("majority_score", pa.float64(), "what always giving the most frequent target scores on them"),
    column("lift_over_majority", pa.float64()),
    column("lift_over_majority_standard_error", pa.float64()),
    column("shuffled_score", pa.float64(), "the adapter's answers against other examples' targets"),
    column("lift_over_shuffled", pa.float64()),
    column("lift_over_shuffled_standard_error", pa.float64()),
    column("curation", pa.string(), "a person's decision that chose it in the race's place; null where the race did"),
    column("selection_score", pa.float64(), "mean on the examples that chose it: biased upwards"),
    column("selection_n", pa.int32()),
    column("empty", pa.int32(), "of its n texts those that say nothing; null where options are weighed"),
    column("cut", pa.int32(), "of them those that their bound ended, as far as the ledger knows"),
    column(
        "base_empty",
        pa.int32(),
        "of the base's n texts those that say nothing: no lift over a mute base counts",
    ),
    column("base_cut", pa.int32(), "of them those that their bound ended, as far as the ledger knows"),
    column("confirmed", pa.bool_(), "whether the choice gains on examples that did not choose it; null: the base"),
    column("set_aside", pa.string(), "the choice that was not confirmed, where the base is published for that"),
    column("format", pa.string(), FORMAT),
    column("template", pa.string(), "of that format, with {input}; null: the task's own"),
    column("stops", TEXTS, "texts that end an answer in that format, beside those of every answer; null: none"),
    column("base_format", pa.string(), "prompt format that the base scored in, its best; null: the task's own"),
)
FORMATS = schema(
    *BASE,
    column("adapter", pa.string()),
    column("place", pa.int32(), "1 is the surest evidence"),
    column("format", pa.string(), "prompt format; own: `template` is it; base_chat, repo_chat: a chat template"),
    column("source", pa.string(), "what says so: card code, card words, tokenizer, training config, data set, …"),
    column("confidence", pa.float64(), "share of such evidence that is to be expected right", unit="share, 0 to 1"),
    column("reason", pa.string(), "what was seen"),
    column("template", pa.string(), "of a format of its own, with {input}; else empty"),
    column("stops", TEXTS, "texts that end an answer under that template"),
)
TEMPLATES = schema(
    *BASE,
    column("format", pa.string(), "prompt format that something was scored in, other than a task's own template"),
    column("template", pa.string(), "its text, with {input}"),
    column("stops", TEXTS, "texts that end an answer in it, beside those of every answer"),
)
CURATED = schema(*BASE, *ACT, column("decided", TIME, "when it was decided"))
CHANGES = schema(
    *BASE,
    column("task", pa.string()),
    column("adapter", pa.string()),
    column("change", pa.string(), "came, went, rose, fell or switched its format, against the snapshot before"),
    column("mean_before", pa.float64(), "mean metric there; null for one that came"),
    column("mean", pa.float64(), "mean metric now; null for one that went"),
    column("lift_before", pa.float64()),
    column("lift", pa.float64()),
    column("chosen_before", pa.bool_(), "whether it was the task's published one"),
    column("chosen", pa.bool_(), "whether it is now"),
    column("format_before", pa.string(), "prompt format that it was asked in there; null: the task's own template"),
    column("format", pa.string(), FORMAT),
    column("since", pa.string(), "id of the snapshot before"),
)
SOURCES = schema(
    column("table", pa.string(), "of the ledger"),
    column("fragment", pa.string(), "name of a fragment that was there when this was published"),
)

SNAPSHOT = {
    "tasks": (TASKS, ("base", "base_sha", "task")),
    "inputs": (INPUTS, ("base", "base_sha", "task", "number")),
    "best": (BEST, ("base", "base_sha", "task")),
    "scores": (SCORES, ("base", "base_sha", "task", "adapter")),
    "rungs": (timeless(RUNGS), ("base", "base_sha", "task", "rung", "adapter")),
    "adapters": (timeless(VERDICTS), ("base", "base_sha", "adapter")),
    "formats": (FORMATS, ("base", "base_sha", "adapter", "place")),
    "templates": (TEMPLATES, ("base", "base_sha", "format")),
    "curation": (CURATED, ("base", "base_sha", "decided", "kind", "adapter", "task")),
}
ASIDE = {
    "changes": (CHANGES, ("base", "base_sha", "task", "adapter")),
    "runs": (RUNS, ("started", "run")),
    "sources": (SOURCES, ("table", "fragment")),
}
"""Tables of a snapshot that its id leaves out: how it came about, in which time and history enter."""
