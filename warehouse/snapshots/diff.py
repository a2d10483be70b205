"""What changed between two snapshots: adapters that came, went, rose, fell and switched formats, task by task.

Knows: the tables `scores` of two snapshot folders. Does not know: which two, or why anything changed.

An adapter is the same over its revisions: a new commit rises or falls. It rises where its lift over the base is higher
than before, or where it became the task's published one at the same lift. It switched where that is as it was, and it
is asked in another prompt format. The base alone is told of where it is asked in another format than the task's own.
"""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa

from catalog.errors import SnapshotError
from warehouse.schemas.snapshot import CHANGES
from warehouse.storage.files import column_names

_NAME = "regexp_replace(adapter, '@[^@]*$', '')"
_SCORES = f"""
SELECT base, base_sha, task, adapter, {_NAME} AS name, mean, lift, coalesce(chosen, false) AS chosen, %s AS format
FROM read_parquet(?, hive_partitioning = false)
"""
_CHANGES = f"""
WITH old AS ({_SCORES}), new AS ({_SCORES}), paired AS (
    SELECT base, task, coalesce(new.base_sha, old.base_sha) AS base_sha, coalesce(new.adapter, old.adapter) AS adapter,
           CASE WHEN old.adapter IS NULL THEN 'came' WHEN new.adapter IS NULL THEN 'went'
                WHEN new.lift - old.lift > $3 THEN 'rose' WHEN old.lift - new.lift > $3 THEN 'fell'
                WHEN new.chosen > old.chosen THEN 'rose' WHEN new.chosen < old.chosen THEN 'fell'
                WHEN new.format IS DISTINCT FROM old.format THEN 'switched' END AS change,
           old.mean AS mean_before, new.mean AS mean, old.lift AS lift_before, new.lift AS lift,
           old.chosen AS chosen_before, new.chosen AS chosen, old.format AS format_before, new.format AS format
    FROM old FULL JOIN new USING (base, task, name)
)
SELECT *, $4 AS since FROM paired
WHERE change IS NOT NULL AND (adapter <> '' OR format_before IS NOT NULL OR format IS NOT NULL)
ORDER BY base, task, adapter
"""


def changes(before: Path, now: Path, least: float = 1e-9) -> pa.Table:
    """Rows of schema CHANGES, from the snapshot folder `before` to the folder `now`.

    Args:
        least: lifts that differ by no more are equal.

    Raises SnapshotError where a table cannot be read.
    """
    files = [folder / "scores.parquet" for folder in (before, now)]
    query = _CHANGES.replace("?", "$1", 1).replace("?", "$2", 1)
    try:
        told = tuple("format" if "format" in column_names(file) else "CAST(NULL AS VARCHAR)" for file in files)
        with duckdb.connect() as connection:
            table = connection.sql(query % told, params=[*map(str, files), least, before.name]).to_arrow_table()
    except (duckdb.Error, ValueError) as error:
        raise SnapshotError(
            f"{before} and {now} cannot be compared: {str(error)[:300]}.",
            "Look for the damaged one: lorauter snapshots verify --all.",
        ) from error
    return table.select(CHANGES.names).cast(CHANGES)
