"""The card of a snapshot folder, which makes it a data set of the Hub: front matter, figures, schema.

Knows: the Hub's card format, how a hostile name is written in Markdown. Does not know: how a folder gets to a hub.

No time and no history stands in it: equal snapshots have equal cards.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml

from warehouse.storage.files import read_table

_LONGEST = 96  # signs of a name shown
_ABOUT = """
Which public LoRA adapters can be run, and which did best on which task: measured, not believed. Adapters were judged
by config and header before any download, raced on each task's validation set, and the winner was scored on examples
that had not chosen it. Where no adapter improves on the base, the base is published (`adapter` is empty).

"Admitted" says that an adapter can be run and fits the policy of whoever made this; it never says that it is safe.
Every adapter has its own licence, in `adapters.licence`; the licence of this data set does not change it.

    duckdb -init views.sql        # the named views, in this folder
    pandas.read_parquet("best.parquet"), polars.read_parquet("scores.parquet"), …

`manifest.json` has the SHA-256 of every file. Made with [lorauter](https://arxiv.org/abs/2601.21795).
"""


def dataset_card(folder: Path) -> str:
    """README.md of a folder of Parquet tables, as text."""
    tables = {path.stem: pq.read_schema(path) for path in sorted(folder.glob("*.parquet"))}
    parts = [_front_matter(list(tables)), "# LoRA adapters by task", _ABOUT.strip(), *_figures(folder), "## Tables"]
    parts += [_table(name, schema) for name, schema in tables.items()]
    return "\n\n".join(parts) + "\n"


def written(name: object) -> str:
    """A text from a hub as Markdown shows it: itself, on one line, whatever it holds."""
    shown = "".join("�" if unicodedata.category(c)[0] == "C" else c for c in str(name))[:_LONGEST]
    return re.sub(r"([\\`*_{}\[\]()#+!|~$:@/])", lambda sign: f"&#{ord(sign[1])};", html.escape(shown))


def _front_matter(tables: Sequence[str]) -> str:
    configs = [
        {"config_name": name, "data_files": f"{name}.parquet", **({"default": True} if name == "best" else {})}
        for name in tables
    ]
    fields = {
        "pretty_name": "LoRA adapters by task",
        "license": "other",
        "license_name": "each-adapter-has-its-own",
        "tags": ["lora", "peft", "lorauter", "adapter-routing"],
        "configs": configs,
    }
    return f"---\n{yaml.safe_dump(fields, sort_keys=False)}---"


def _figures(folder: Path) -> Iterator[str]:
    best = read_table(folder / "best.parquet", ["base", "task", "adapter", "lift"]).to_pylist()
    adapters = read_table(folder / "adapters.parquet", ["base", "adapter", "admitted", "licence"])
    seen = adapters.group_by(["base", "admitted"]).aggregate([([], "count_all")]).to_pylist()
    yield "## Figures"
    head = ["base", "adapters seen", "admitted", "tasks", "with an adapter", "mean lift"]
    yield _rows(head, (_figures_of(base, best, seen) for base in sorted({row["base"] for row in best})))
    chosen = {(row["base"], row["adapter"]) for row in best if row["adapter"]}
    licences = _licences(adapters, chosen)
    if licences:
        yield "Licences of the chosen:"
        yield _rows(["licence", "adapters"], ((written(name), str(n)) for name, n in licences))


def _figures_of(base: str, best: Sequence[Mapping[str, Any]], seen: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = [row for row in best if row["base"] == base]
    counts = {row["admitted"]: row["count_all"] for row in seen if row["base"] == base}
    lifts = [row["lift"] for row in rows if row["lift"] is not None]
    figures = (sum(counts.values()), counts.get(True, 0), len(rows), sum(bool(row["adapter"]) for row in rows))
    return [written(base), *(f"{n:,}" for n in figures), f"{sum(lifts) / len(lifts):.3f}" if lifts else "–"]


def _licences(adapters: pa.Table, chosen: set[tuple[str, str]]) -> list[tuple[str, int]]:
    """Licence → how many published adapters have it, most first."""
    of_chosen = adapters.filter(pc.is_in(adapters["adapter"], pa.array([key for _, key in chosen], pa.string())))
    counts: dict[str, int] = {}
    for row in of_chosen.to_pylist():
        if (row["base"], row["adapter"]) in chosen:
            counts[row["licence"] or "none"] = counts.get(row["licence"] or "none", 0) + 1
    return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))


def _table(name: str, schema: pa.Schema) -> str:
    fields = ((f.name, str(f.type), (f.metadata or {}).get(b"about", b"").decode("utf-8")) for f in schema)
    rows = ((f"`{column}`", f"`{kind}`", html.escape(about).replace("|", "&#124;")) for column, kind, about in fields)
    return f"### {name}\n\n{_rows(['column', 'type', 'meaning'], rows)}"


def _rows(head: Sequence[str], rows: Any) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
