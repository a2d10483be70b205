"""Bases: what modules a base model has, from the ledger, or from the hub and then the ledger.

Knows: config first, its checkpoint's header where transformers does not know the model; what cannot be known is
remembered too. Does not know: how a model is built from its config (lorauter/adapters/base_modules).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from catalog.adapters.parse import CONFIG_LIMIT, parse_config
from catalog.bases.base import Base
from catalog.errors import HubDown, HubError, HubRefusal, HubTrouble
from flows.home.home import Home

CONFIG = "config.json"
# Problems that an older version took for settled, whatever the hub had meant.
_OLD_WORDS = re.compile(r"private or gated|: \w+Error\.|the hub answered \d+\.")


def read_base(home: Home, id_: str | None = None) -> Base:
    """Sha and modules of a base of the run, the settings' own by default: one API call, and what the ledger lacks.

    Raises HubError where the hub has it not, or nothing tells its modules.
    """
    id_ = id_ or home.settings.base
    revision = home.settings.base_revision if id_ == home.settings.base else "main"
    sha, files = home.hub.repo_files(id_, revision)
    rows = home.ledger.current("bases")
    known = next((r for r in rows if (r["base"], r["base_sha"], r["problem"]) == (id_, sha, None)), None)
    if known and known["source"]:  # rows of the first version came from a header and do not say so
        return replace(_base_of(known), revision=revision)
    base = _read(home, id_, sha, files)
    home.ledger.changes("bases").append([_row(base)])
    return replace(base, revision=revision)


class NamedBases:
    """Bases that adapters name, asked for once each; those that cannot be had are remembered with the reason."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._changes = home.ledger.changes("bases")
        rows = sorted(home.ledger.current("bases"), key=lambda row: row["at"])
        self._rows = {row["base"]: row for row in rows if row["source"] or row["problem"]}
        self._bases: dict[str, Base] = {}
        self._asked: set[str] = set()
        self._stale = datetime.now(UTC) - timedelta(days=home.settings.sweep_days)

    def get(self, id_: str) -> tuple[Base | None, str | None]:
        """The base, or why it cannot be had. Raises HubDown only."""
        if id_ not in self._bases and self._is_due(id_):
            self._ask(id_)
        row = self._rows[id_]
        if row["problem"]:
            return None, row["problem"]
        if id_ not in self._bases:
            self._bases[id_] = _base_of(row)
        return self._bases[id_], None

    def _is_due(self, id_: str) -> bool:
        row = self._rows.get(id_)
        if row is None or not row["problem"]:
            return row is None
        return id_ not in self._asked and (row["at"] < self._stale or bool(_OLD_WORDS.search(row["problem"])))

    def _ask(self, id_: str) -> None:
        self._asked.add(id_)
        settled = True
        try:
            row = _row(_read(self._home, id_, *self._home.hub.repo_files(id_)))
        except HubDown:
            raise
        except HubError as error:
            told = error.cause
            if isinstance(error, HubRefusal) and error.kind == "missing":  # in words that no older version wrote
                told = f"The hub has no base {id_} for our token."
            row = {"base": id_, "base_sha": "", "modules": [], "embeddings": [], "source": None, "problem": told}
            settled = not _may_pass(error)
        if settled:
            self._changes.append([row])
        self._rows[id_] = {**row, "at": datetime.now(UTC)}


def _may_pass(error: HubError) -> bool:
    """Whether the next run should ask again: the hub was in trouble, or does not say whether there is such a base."""
    return isinstance(error, HubTrouble) or (isinstance(error, HubRefusal) and error.kind == "unseen")


def _read(home: Home, id_: str, sha: str, files: tuple[str, ...]) -> Base:
    from lorauter.adapters.base_modules import UnknownArchitecture, base_from_config

    config = _config(home, id_, sha) if CONFIG in files else None
    if config is None:
        return home.hub.base_from_header(id_, sha, files)
    try:
        return base_from_config(id_, sha, config)
    except UnknownArchitecture:
        return home.hub.base_from_header(id_, sha, files)


def _config(home: Home, id_: str, sha: str) -> Mapping[str, Any] | None:
    text = home.hub.read_text(id_, CONFIG, sha, CONFIG_LIMIT)
    config = parse_config(text.encode()) if text is not None else None
    return config if isinstance(config, dict) else None


def _row(base: Base) -> dict[str, Any]:
    return {
        "base": base.id,
        "base_sha": base.sha,
        "modules": _shapes(base.modules),
        "embeddings": _shapes(base.embeddings),
        "source": base.source,
        "problem": None,
    }


def _shapes(modules: Mapping[str, tuple[int, int]]) -> list[dict[str, Any]]:
    return [{"module": m, "d_in": i, "d_out": o} for m, (i, o) in sorted(modules.items())]


def _base_of(row: Mapping[str, Any]) -> Base:
    modules, embeddings = (
        {m["module"]: (m["d_in"], m["d_out"]) for m in row[column] or ()} for column in ("modules", "embeddings")
    )
    return Base(row["base"], row["base_sha"], modules, embeddings, row["source"])
