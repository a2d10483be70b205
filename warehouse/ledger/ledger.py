"""The ledger: append-only Parquet fragments, a folder a table, some by partition. Everything ever seen, as it came.

Knows: fragments with content-derived names, the current row of a key. Does not know: what rows mean, where the
storage is (warehouse/storage), how partitions are called (warehouse/ledger/partitions).

A fragment is whole or absent and never changes, so any number of processes may append and read at once, and
a killed one leaves nothing half-written. Where rows have a time (`at`), the latest row of a key is current.
An older version's fragment may lack columns: they read as null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import repeat
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from catalog.errors import SnapshotError
from catalog.tasks.task import content_hash
from warehouse.ledger.compacted import current_paths, is_compacted, originals_of
from warehouse.ledger.partitions import PARTITIONED, partition_folder, partition_of, split, stored_schema, table_of_path
from warehouse.schemas.columns import table_of
from warehouse.schemas.ledger import ADDED_KEYS, KEYS, LEDGER
from warehouse.storage.files import column_names, read_table, table_writer
from warehouse.storage.storage import Storage, storage_at

Row = Mapping[str, Any]
SUFFIX = ".parquet"


class Ledger:
    """Append-only tables under one folder of this machine, or of a storage that machines share."""

    def __init__(self, root: Path | Storage) -> None:
        self._files = storage_at(root)

    @property
    def root(self) -> Path:
        """The folder of the fragments on this machine."""
        return self._files.folder

    @property
    def storage(self) -> Storage:
        """Where the tables lie, one folder each."""
        return self._files

    def append(self, table: str, rows: Sequence[Row], name: str | None = None) -> None:
        """Add rows as a fragment a partition. The name is a hash of its rows unless given; one that exists is kept."""
        if not rows:
            return
        for folder, part in split(table, table_of(rows, LEDGER[table])).items():
            own = name or _fragment_name(part)
            file = _file(folder, own)
            if not self._files.present({file, _file(table, own)}):
                stored = part.select(stored_schema(part.schema, Path(file)).names)
                self._files.put(file, table_writer(stored))

    def stamp(self, table: str, rows: Iterable[Row]) -> None:
        """Add rows, stamped with the time and their hash, whatever is current: for keys that are known to be new."""
        kept = "content" in LEDGER[table].names
        now = datetime.now(UTC)
        as_stored = table_of(rows, LEDGER[table]).to_pylist()
        self.append(table, [{**r, **({"content": fingerprint(r)} if kept else {}), "at": now} for r in as_stored])

    def changes(self, table: str) -> Changes:
        """A writer that adds only rows that differ from the current row of their key."""
        return Changes(self, table)

    def has(self, table: str, name: str) -> bool:
        """Whether a fragment of that name exists."""
        return bool(self.present(table, [name]))

    def present(self, table: str, names: Iterable[str]) -> set[str]:
        """Those of `names` that are fragments: quicker than `names` for a few of many."""
        folders = self.folders(table)
        files = {_file(folder, name): name for name in names for folder in folders}
        return {files[file] for file in self._files.present(files)}

    def names(self, table: str, prefix: str = "") -> set[str]:
        """Names of all fragments ever added that start so; those that were compacted since too."""
        names: set[str] = set()
        for folder in self.folders(table):
            listed = {Path(file).stem for file in self._files.names(folder) if Path(file).suffix == SUFFIX}
            made = {name for name in listed if is_compacted(name)}
            names |= (listed - made).union(*(originals_of(self._files.local(_file(folder, name))) for name in made))
        return {name for name in names if name.startswith(prefix)}

    def folders(self, table: str, among: Collection[str] | None = None) -> list[str]:
        """The table's own folder, which is first, and those of its partitions, or of the values `among` them."""
        if table not in PARTITIONED:
            return [table]
        if among is not None:
            return [table, *filter(None, (partition_folder(table, value) for value in sorted(set(among))))]
        named = f"{PARTITIONED[table]}="
        return [table, *(f"{table}/{name}" for name in sorted(self._files.folders(table)) if name.startswith(named))]

    def has_any(self, table: str, prefix: str) -> bool:
        """Whether a fragment exists whose name starts so."""
        return bool(self.names(table, prefix))

    def read(self, table: str, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows of a table, fragments in name order; no fragment gives an empty table."""
        schema = LEDGER[table]
        wanted = pa.schema([schema.field(c) for c in columns]) if columns else schema
        parts = [self.read_fragment(path, wanted) for path in self.fragments(table)]
        return pa.concat_tables(parts) if parts else wanted.empty_table()

    def where(
        self, table: str, equal: Mapping[str, str | Sequence[str]], columns: Sequence[str], prefix: str = ""
    ) -> Iterator[dict[str, Any]]:
        """All rows, current or not, whose columns hold the given value, or one of them; one fragment in memory.

        Only fragments whose name starts with `prefix` are read, and those that hold such a one compacted; and only
        partitions of the values that are asked for.
        """
        wanted = pa.schema([LEDGER[table].field(c) for c in dict.fromkeys((*equal, *columns))])
        listed = {c: [v] if isinstance(v, str) else list(v) for c, v in equal.items()}
        among = {c: pa.array(values, wanted.field(c).type) for c, values in listed.items()}
        for path in self.fragments(table, listed.get(PARTITIONED.get(table, ""))):
            if prefix and not any(name.startswith(prefix) for name in _names_in(path)):
                continue
            rows = self.read_fragment(path, wanted)
            for column, values in among.items():
                rows = rows.filter(pc.is_in(rows[column], values))
            yield from rows.select(columns).to_pylist()

    def index(self, table: str, columns: Sequence[str] = (), within: str | None = None) -> Index:
        """Where the current row of every key lies, with the named columns at hand.

        Args:
            within: a value of the table's partition: others' rows may be left out, and are not read.
        """
        return Index(self, table, columns, within)

    def current(self, table: str) -> list[dict[str, Any]]:
        """The latest row of every key, by key. For tables that fit in memory; `index` is for the others."""
        return sorted(self.index(table).rows(), key=lambda row: [str(row[column]) for column in KEYS[table]])

    def fragments(self, table: str, among: Collection[str] | None = None) -> list[Path]:
        """The fragment files of a table on this machine that count (warehouse/ledger/compacted), by folder and name.

        Args:
            among: values of the table's partition: the fragments of others are left out.
        """
        own, *parts = (current_paths(self.paths_in(folder)) for folder in self.folders(table, among))
        # One that lies in the table's own folder counts before its copies: it is being moved
        # (warehouse/ledger/migrations).
        moving = frozenset().union(*map(_names_in, own))
        return [*own, *(path for part in parts for path in part if path.stem not in moving)]

    def paths(self, table: str) -> list[Path]:
        """All fragment files of a table on this machine; some may be replaced by a compacted one."""
        return [path for folder in self.folders(table) for path in self.paths_in(folder)]

    def paths_in(self, folder: str) -> list[Path]:
        """Those of one of its folders, by name."""
        return [path for path in self._files.locals(folder) if path.suffix == SUFFIX]

    def read_fragment(self, path: Path, schema: pa.Schema) -> pa.Table:
        """One fragment under a schema; columns that an older version did not write are null.

        Raises SnapshotError where the file is damaged, or lacks a key of its table.
        """
        try:
            written = column_names(path)
            told = dict([partition] if (partition := partition_of(path)) else [])
            if not {*KEYS[table_of_path(path)]} - ADDED_KEYS <= written | told.keys():
                raise ValueError(f"it is not of the table {table_of_path(path)}")
            table = read_table(path, [name for name in schema.names if name in written - told.keys()])
            for name in schema.names:
                if name not in table.column_names:
                    value = pa.scalar(told.get(name), schema.field(name).type)
                    table = table.append_column(schema.field(name), pa.repeat(value, table.num_rows))
            return table.select(schema.names).cast(schema)
        except (pa.ArrowException, ValueError) as error:
            address = self._files.address(path.relative_to(self.root).as_posix())
            raise SnapshotError(
                f"The ledger fragment {address} is damaged: {str(error)[:300]}.",
                "Delete that file; the next refresh makes its rows anew.",
            ) from error


class Index:
    """The current row of every key of a table: keys and a few columns in memory, the rest read when asked for.

    Of rows with a time (`at`) the latest is current; without one, the last in the order of the fragments' names.
    """

    def __init__(self, ledger: Ledger, table: str, columns: Sequence[str] = (), within: str | None = None) -> None:
        self._ledger, self._table = ledger, table
        self._schema = LEDGER[table]
        self._fragments = ledger.fragments(table, None if within is None else [within])
        self._places: dict[tuple[Any, ...], tuple[int, int]] = {}
        self.columns: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        latest: dict[tuple[Any, ...], datetime] = {}
        timed = "at" in self._schema.names
        wanted = pa.schema([self._schema.field(c) for c in dict.fromkeys((*KEYS[table], *columns, *["at"] * timed))])
        for number, path in enumerate(self._fragments):
            part = ledger.read_fragment(path, wanted)
            keys = zip(*(part[c].to_pylist() for c in KEYS[table]), strict=True)
            values = zip(*(part[c].to_pylist() for c in columns), strict=True) if columns else repeat(())
            times = part["at"].to_pylist() if timed else repeat(None)
            for row, (key, value, at) in enumerate(zip(keys, values, times, strict=False)):
                if at is not None and key in latest and at < latest[key]:
                    continue
                if at is not None:
                    latest[key] = at
                self._places[key], self.columns[key] = (number, row), value

    def __len__(self) -> int:
        return len(self._places)

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._places)

    def rows(self, keys: Iterable[tuple[Any, ...]] | None = None) -> Iterator[dict[str, Any]]:
        """The rows of `keys` (those that exist), or all, in the order of the fragments; one fragment in memory."""
        for table in self.tables(keys):
            yield from table.to_pylist()

    def tables(self, keys: Iterable[tuple[Any, ...]] | None = None) -> Iterator[pa.Table]:
        """The same as a table a fragment."""
        places = self._places.values() if keys is None else (self._places[k] for k in keys if k in self._places)
        by_fragment: dict[int, list[int]] = {}
        for fragment, row in places:
            by_fragment.setdefault(fragment, []).append(row)
        for fragment in sorted(by_fragment):
            table = self._ledger.read_fragment(self._fragments[fragment], self._schema)
            yield table.take(sorted(by_fragment[fragment]))


class Changes:
    """Adds to a table what is new or different, stamped with the time."""

    def __init__(self, ledger: Ledger, table: str) -> None:
        self._ledger, self._table = ledger, table
        self._kept = "content" in LEDGER[table].names
        if self._kept:
            index = ledger.index(table, ["content"])
            self._current = {key: columns[0] for key, columns in index.columns.items()}
        else:
            self._current = {_key(table, row): fingerprint(row) for row in ledger.index(table).rows()}

    def append(self, rows: Iterable[Row]) -> int:
        """Write the rows that differ from what is current as one fragment. Returns how many there were."""
        as_stored = table_of(rows, LEDGER[self._table]).to_pylist()
        changed = {}
        for row in as_stored:
            key, content = _key(self._table, row), fingerprint(row)
            if self._current.get(key) != content:
                self._current[key] = content
                changed[key] = {**row, **({"content": content} if self._kept else {}), "at": datetime.now(UTC)}
        self._ledger.append(self._table, list(changed.values()))
        return len(changed)


def _key(table: str, row: Row) -> tuple[Any, ...]:
    return tuple(row[column] for column in KEYS[table])


def fingerprint(row: Row) -> str:
    """Hash of a stored row but its time: small to keep, and NaN equals NaN."""
    return content_hash([repr(value) for name, value in row.items() if name not in ("at", "content")], 32)


def _names_in(path: Path) -> Collection[str]:
    """The fragment's name; of a compacted one those that it holds."""
    return originals_of(path) if is_compacted(path.stem) else (path.stem,)


def _file(folder: str, name: str) -> str:
    return f"{folder}/{name}{SUFFIX}"


def _fragment_name(table: pa.Table) -> str:
    digest = hashlib.sha256()
    for batch in table.combine_chunks().to_batches():
        digest.update(content_hash([str(row) for row in batch.to_pylist()], 64).encode())
    return digest.hexdigest()[:24]
