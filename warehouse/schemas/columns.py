"""Columns and schemas: what the declarations of all tables are made of.

Knows: columns and types that tables share, how rows become a table of a declared schema. Does not know: which tables
there are (warehouse/schemas/ledger, warehouse/schemas/snapshot, warehouse/schemas/answers).
A base model is always the pair (base, base_sha). An adapter is its key `repo[:path]@sha`; "" is the base alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pyarrow as pa

from warehouse.schemas.field_notes import notes

SCHEMA_VERSION = "3"  # 2: snapshots hold `scores`, and lifts over majority and shuffled targets; 3: ASIDE
LEDGER_ONLY = ("at", "inputs", "content", "refused_by")  # columns of the ledger that a snapshot leaves out


def column(name: str, kind: pa.DataType, about: str = "", source: str = "", unit: str = "") -> pa.Field:
    """A column, with what its metadata says of it: `about`, `unit` and `source`."""
    own = {key: text for key, text in (("source", source), ("unit", unit)) if text}
    return pa.field(name, kind, metadata=notes(name, about) | own)


def schema(*columns: pa.Field) -> pa.Schema:
    """A table's schema, which names its version."""
    return pa.schema(columns, metadata={"lorauter_schema": SCHEMA_VERSION})


def timeless(schema: pa.Schema) -> pa.Schema:
    """The schema without the ledger's own columns: a snapshot's content does not depend on when it was made."""
    return pa.schema([f for f in schema if f.name not in LEDGER_ONLY], metadata=schema.metadata)


def table_of(rows: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table of a declared schema.

    Raises:
        ValueError: a row has a column that the schema lacks; Arrow alone would drop it in silence.
            Only the ledger's own columns (LEDGER_ONLY) may be dropped: a snapshot has none.
    """
    plain = [dict(row) for row in rows]
    for row in plain:
        unknown = row.keys() - {*schema.names, *LEDGER_ONLY}
        if unknown:
            raise ValueError(f"no such columns: {sorted(unknown)}")
    return pa.Table.from_pylist(plain, schema=schema)


TEXTS = pa.list_(pa.string())
FINDINGS = pa.list_(pa.struct([("reason", pa.string()), ("evidence", pa.string())]))
TIME = pa.timestamp("us", tz="UTC")
CONTENT = column("content", pa.string(), "hash of the row but its time")
BASE = (column("base", pa.string(), "base model id"), column("base_sha", pa.string(), "commit of the base"))
POLICY = (
    column("policy", pa.string(), "lineage of the policy that chose the adapter; null where none did"),
    column("policy_version", pa.int64(), "version of its state"),
    column("context", pa.list_(pa.float64()), "the query as the policy saw it"),
    column("propensity", pa.float64(), "probability with which the policy chose this adapter"),
    column("resident", pa.bool_(), "whether the adapter was to be resident then; true of the base"),
)
