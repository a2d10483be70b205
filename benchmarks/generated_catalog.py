"""A catalog of any size as Arrow tables, drawn from a seed: what benchmarks/warehouse publishes and asks.

Knows: the shape of a public hub's adapters (few organisations with many, popularity by Zipf's law, most without a
licence, a third rejected) and of races (popular adapters meet more tasks, most fall in the first rung). Does not
know: snapshots, SQL. Names and figures are drawn; none is of a real adapter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from warehouse.schemas.snapshot import ASIDE, SNAPSHOT

BASE, BASE_SHA = "org/base-7b", "0123456789abcdef0123456789abcdef01234567"
WIDTH = 384  # of an embedding
INPUTS = 20  # validation inputs a task
_LICENCES = {None: 0.55, "apache-2.0": 0.2, "mit": 0.1, "llama2": 0.08, "cc-by-nc-4.0": 0.05, "other": 0.02}
_REASONS = {
    "unsupported_type": 0.1,
    "base_mismatch": 0.25,
    "rank_too_large": 0.2,
    "extra_tokens": 0.1,
    "unreadable_header": 0.15,
    "gated": 0.05,
    "duplicate": 0.15,
}
_WHYS = ("cannot win: too far behind the leader", "halved", "met every example")
_TOPICS = ("chat", "summary", "sql", "medical", "law", "finance", "code", "translate", "qa", "story", "math", "json")
_EXAMPLES = np.array([3, 6, 12, 24, 48], dtype=np.int32)  # met by the end of a rung
_REJECTED = 0.35
_CHANGED = 50  # one score in so many differs from the snapshot before
Array = npt.NDArray[np.generic]
Indices = npt.NDArray[np.int64]


def generated_catalog(adapters: int, tasks: int, scores: int, seed: int = 0) -> dict[str, pa.Table]:
    """Every table of a snapshot: so many adapters and tasks, about so many scores (the base's besides)."""
    random = np.random.default_rng(seed)
    names = _names(random, adapters)
    popularity = random.permutation(1.0 / np.arange(1, adapters + 1))
    rejected = random.random(adapters) < _REJECTED
    task_names = [f"task_{number:03}" for number in range(tasks)]
    pool = np.flatnonzero(~rejected)
    met = _met(random, popularity[pool], tasks, min(scores // tasks, len(pool)))
    table = _scores(random, names, task_names, [pool[one] for one in met])
    return {
        "adapters": _adapters(random, names, popularity, rejected),
        "tasks": _tasks(random, task_names),
        "inputs": _inputs(random, task_names),
        "scores": table,
        "rungs": _rungs(table),
        "best": _best(table),
        "changes": _changes(random, table),
        "runs": _runs(),
    }


def _names(random: np.random.Generator, adapters: int) -> pa.Array:
    """Keys org/name@sha, each once."""
    orgs = random.zipf(1.5, adapters) % max(adapters // 8, 1)
    topics = random.integers(len(_TOPICS), size=adapters)
    shas = random.bytes(20 * adapters).hex()
    return pa.array(
        f"org{org}/base-7b-{_TOPICS[topic]}-lora-{number}@{shas[40 * number : 40 * number + 40]}"
        for number, (org, topic) in enumerate(zip(orgs.tolist(), topics.tolist(), strict=True))
    )


def _met(random: np.random.Generator, popularity: npt.NDArray[np.float64], tasks: int, each: int) -> list[Indices]:
    """For each task the adapters that met it: a draw without replacement, the popular ones likelier."""
    weight = 0.25 * np.log(popularity)  # flatter than downloads: a race begins with all
    return [np.argpartition(-(weight + random.gumbel(size=len(weight))), each - 1)[:each] for _ in range(tasks)]


def _adapters(
    random: np.random.Generator, names: pa.Array, popularity: npt.NDArray[np.float64], rejected: npt.NDArray[np.bool_]
) -> pa.Table:
    rows = len(names)
    reason = _draw(random, _REASONS, rows)
    copies = rejected & (reason == "duplicate")
    originals = np.flatnonzero(~rejected)[(random.zipf(1.3, rows) % (~rejected).sum())]
    parts = pc.split_pattern(names, "@")
    rank = random.choice([4, 8, 16, 32, 64], rows, p=[0.05, 0.3, 0.35, 0.15, 0.15])
    days = (random.random(rows) * 900).astype("timedelta64[D]")
    modified = np.datetime_as_string(np.datetime64("2023-07-20T12:00:00.000") + days, unit="ms", timezone="UTC")
    columns = {
        "adapter": names,
        "repo": pc.list_element(parts, 0),
        "path": _same("", rows),
        "sha": pc.list_element(parts, 1),
        "admitted": ~rejected,
        "downloaded": ~rejected,
        "reason": pa.array(reason, pa.string(), mask=~rejected).dictionary_encode(),
        "licence": pa.array(_draw(random, _LICENCES, rows), pa.string()).dictionary_encode(),
        "size": rank * 1_048_576,
        "sha256": [random.bytes(32).hex() for _ in range(rows)],
        "duplicate_of": names.take(pa.array(originals, mask=~copies)),
        "last_modified": modified,
        "base_named": _same(BASE, rows),
        "base_source": _same("config", rows),
        "base_twin": np.zeros(rows, np.bool_),
        "peft_type": _same("LORA", rows),
        "task_type": _same("CAUSAL_LM", rows),
        "rank": rank,
        "modules": _same(64, rows),
        "matched": _same(64, rows),
        "bias": _same("none", rows),
        "downloads": (popularity * 1e6).astype(np.int64),
        "rules_version": _same("1", rows),
    }
    return _table("adapters", columns, rows)


def _scores(random: np.random.Generator, names: pa.Array, tasks: Sequence[str], met: Sequence[Indices]) -> pa.Table:
    """Every adapter that met a task, and the base alone on each, shuffled as no ledger would be worse."""
    number = np.repeat(np.arange(len(tasks)), [len(one) + 1 for one in met])
    adapter = np.concatenate([np.append(one, -1) for one in met])
    order = random.permutation(len(number))
    number, adapter = number[order], adapter[order]
    rows, is_base = len(number), adapter < 0
    rung = np.minimum(random.geometric(0.55, rows), len(_EXAMPLES)).astype(np.int32)
    rung[is_base] = len(_EXAMPLES)
    n = _EXAMPLES[rung - 1]
    skill = random.normal(0, 0.08, len(names))
    error = 0.45 / np.sqrt(n)
    lift = np.where(is_base, 0.0, skill[adapter] + 0.05 * (rung - 2) + random.normal(0, 0.3, rows) * error)
    base = 0.3 + 0.4 * random.random(len(tasks))
    keys = pa.DictionaryArray.from_arrays(pa.array(adapter + 1, pa.int32()), pa.concat_arrays([pa.array([""]), names]))
    columns = {
        "task": _coded(tasks, number),
        "adapter": keys,
        "n": n,
        "mean": np.clip(base[number] + lift, 0, 1),
        "standard_error": error,
        "lift": lift,
        "lift_standard_error": np.where(is_base, 0.0, error),
        "lift_n": n,
        "rung": rung,
        "chosen": _first_of_task(number, np.where(is_base, -9.0, lift + rung)),
        "why": _coded(_WHYS, random.integers(len(_WHYS), size=rows)),
    }
    return _table("scores", columns, rows)


def _rungs(scores: pa.Table) -> pa.Table:
    """A row for every rung that a score went through; earlier means are the last one's, which no view asks for."""
    last = scores["rung"].to_numpy()
    of = np.repeat(np.arange(len(last)), last)
    rung = (np.arange(len(of)) - np.repeat(np.cumsum(last) - last, last) + 1).astype(np.int32)
    taken = scores.select(["task", "adapter", "mean", "standard_error", "why"]).take(pa.array(of))
    columns = {name: taken[name] for name in taken.column_names}
    more = {"rung": rung, "n": _EXAMPLES[rung - 1], "kept": rung < last[of], "task_hash": _same("0" * 16, len(of))}
    return _table("rungs", {**columns, **more, "race": _same("0" * 16, len(of))}, len(of))


def _first_of_task(task: Indices, value: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """True for the largest value of every task."""
    chosen = np.zeros(len(task), np.bool_)
    order = np.lexsort((-value, task))
    chosen[order[np.flatnonzero(np.diff(task[order], prepend=-1))]] = True
    return chosen


def _best(scores: pa.Table) -> pa.Table:
    chosen = scores.filter(scores["chosen"])
    score, lift = chosen["mean"], chosen["lift"]
    columns = {
        "task": chosen["task"],
        "adapter": chosen["adapter"],
        "score": score,
        "standard_error": chosen["standard_error"],
        "n": chosen["n"],
        "base_score": pc.subtract(score, lift),
        "lift": lift,
        "lift_standard_error": chosen["lift_standard_error"],
        "lift_over_majority": lift,
        "selection_score": score,
        "selection_n": chosen["n"],
    }
    return _table("best", columns, len(chosen))


def _changes(random: np.random.Generator, scores: pa.Table) -> pa.Table:
    """One score in so many rose, fell or came."""
    some = scores.take(pa.array(np.sort(random.choice(len(scores), len(scores) // _CHANGED, replace=False))))
    kind = random.integers(3, size=len(some))
    before = pa.array(random.normal(0.4, 0.1, len(some)), mask=kind == 2)
    columns = {
        "task": some["task"],
        "adapter": some["adapter"],
        "change": _coded(("rose", "fell", "came"), kind),
        "mean_before": before,
        "mean": some["mean"],
        "lift_before": before,
        "lift": some["lift"],
        "chosen_before": np.zeros(len(some), np.bool_),
        "chosen": some["chosen"],
        "since": _same("0" * 16, len(some)),
    }
    return _table("changes", columns, len(some))


def _tasks(random: np.random.Generator, names: Sequence[str]) -> pa.Table:
    columns = {
        "task": pa.array(names),
        "metric": _same("exact_match", len(names)),
        "n_validation": _same(INPUTS, len(names)),
        "embedding": _vectors(random, len(names)),
    }
    return _table("tasks", columns, len(names))


def _inputs(random: np.random.Generator, names: Sequence[str]) -> pa.Table:
    rows = len(names) * INPUTS
    columns = {
        "task": np.repeat(names, INPUTS),
        "number": np.tile(np.arange(INPUTS), len(names)),
        "input": [f"Which of these is input {number}?" for number in range(rows)],
        "target": _same("this", rows),
        "embedding": _vectors(random, rows),
    }
    return _table("inputs", columns, rows)


def _runs() -> pa.Table:
    columns = {"run": [f"{n:016x}" for n in range(100)], "command": _same("refresh", 100), "spent": np.arange(100)}
    return _table("runs", {**columns, "exhaustive": _same(1_000, 100), "seconds": _same(60.0, 100)}, 100)


def _vectors(random: np.random.Generator, rows: int) -> pa.Array:
    values = pa.array(random.standard_normal(rows * WIDTH, dtype=np.float32))
    return pa.FixedSizeListArray.from_arrays(values, WIDTH).cast(pa.list_(pa.float32()))


def _draw(random: np.random.Generator, shares: Mapping[str | None, float] | Mapping[str, float], rows: int) -> Array:
    drawn: Array = random.choice(np.array(list(shares), dtype=object), rows, p=list(shares.values()))
    return drawn


def _coded(values: Sequence[str], codes: Indices) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), pa.array(values))


def _same(value: object, rows: int) -> pa.Array:
    return pa.repeat(value, rows)


def _table(name: str, columns: Mapping[str, object], rows: int) -> pa.Table:
    """Under the declared schema; what is not named is null."""
    schema, _ = {**SNAPSHOT, **ASIDE}[name]
    given = {"base": _coded([BASE], np.zeros(rows, np.int64)), "base_sha": _coded([BASE_SHA], np.zeros(rows, np.int64))}
    given = {**given, **columns} if "base" in schema.names else dict(columns)
    unknown = given.keys() - set(schema.names)
    if unknown:
        raise ValueError(f"{name} has no columns {sorted(unknown)}")
    arrays = [given[f.name] if f.name in given else pa.nulls(rows, f.type) for f in schema]
    return pa.table(dict(zip(schema.names, arrays, strict=True)))
