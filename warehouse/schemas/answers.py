"""The tables that commands write as files: answers, and the items of an evaluation.

Knows: names, types and meanings of columns. Does not know: what an answer is made from.
"""

from __future__ import annotations

import pyarrow as pa

from warehouse.schemas.columns import POLICY, TEXTS, column, schema

_MIXTURE = pa.list_(pa.struct([("adapter", pa.string()), ("weight", pa.float64())]))

ANSWERS = schema(
    column("id", pa.string(), "of the query"),
    column("router", pa.string()),
    column("input", pa.string()),
    column("text", pa.string(), "raw answer"),
    column(
        "tasks",
        pa.list_(pa.struct([("task", pa.string()), ("similarity", pa.float64()), ("weight", pa.float64())])),
    ),
    column(
        "adapters",
        _MIXTURE,
        "empty: the base alone; weights are null where a gate weighs them token by token",
    ),
    column("composition", pa.string(), "how they are served, with its settings, or the gate; null: output mixture"),
    column("decoding", pa.string(), "how tokens were chosen and what ended a text; greedy: up to a line's end"),
    column("confidence", pa.float64(), "how near the query is to a task: of most routers, the cosine to the nearest"),
    column("task", pa.string(), "the query's true task, where known"),
    column("target", pa.string(), "reference, where known"),
    column("metric", pa.string()),
    column("score", pa.float64(), "metric of text against target"),
    column("error", pa.string(), "why there is no text: the row or the route's adapters; null where there is one"),
    column(
        "fallbacks",
        pa.list_(pa.struct([("task", pa.string()), ("gone", pa.string()), ("used", pa.string())])),
        "tasks of the route whose adapter has vanished or was filtered out, and the one used in its place",
    ),
    column("route_seconds", pa.float64(), "mean of its chunk"),
    column("answer_seconds", pa.float64(), "mean of its chunk; null where all its answers were known"),
    column("snapshot", pa.string()),
)
POLICY_ANSWERS = schema(*ANSWERS, *POLICY)
"""Answers of a batch that a policy took part in."""
EVALUATION_ITEMS = schema(
    column("setting", pa.string(), "non-ood, semi-ood or ood"),
    column("router", pa.string()),
    column("composition", pa.string()),
    column("task", pa.string(), "the query's true task"),
    column("id", pa.string(), "of the test example"),
    column("text", pa.string(), "raw answer; null where options were weighed"),
    column("score", pa.float64(), "the task's metric; 0 where there is no answer"),
    column("error", pa.string(), "why there is no answer; null where there is one"),
    column(
        "adapters",
        _MIXTURE,
        "weights are null where a gate weighs them token by token",
    ),
    column("tasks", TEXTS, "tasks of weight above 0 behind the route, nearest first"),
    column("format", pa.string(), "prompt format that it was asked in; null: the task's own template"),
)
