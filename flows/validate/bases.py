"""Bases: what modules a base model has, from the ledger, or from the hub and then the ledger.

Knows: config first, its checkpoint's header where transformers does not know the model; what cannot be known is
remembered too. Does not know: how a model is built from its config (lorauter/adapters/base_modules).
"""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from catalog.adapters.parse import CONFIG_LIMIT, parse_config
from catalog.bases.base import Base
from catalog.errors import HubDown, HubError, HubRefusal, HubTrouble
from catalog.hub.client import Hub
from warehouse.ledger.ledger import Ledger
from warehouse.records.bases import BaseChanges, BaseRow, known_bases

CONFIG = "config.json"
# Problems that an older version took for settled, whatever the hub had meant.
_OLD_WORDS = re.compile(r"private or gated|: \w+Error\.|the hub answered \d+\.")


def read_base(ledger: Ledger, hub: Hub, id_: str, revision: str = "main") -> Base:
    """Sha and modules of a base at a revision: one API call, and what the ledger lacks.

    Raises HubError where the hub has it not, or nothing tells its modules.
    """
    sha, files = hub.repo_files(id_, revision)
    stored = next((row.base for row in known_bases(ledger) if row.base and (row.id, row.sha) == (id_, sha)), None)
    if stored and stored.source:  # rows of the first version came from a header and do not say so
        return replace(stored, revision=revision)
    base = _read(hub, id_, sha, files)
    BaseChanges(ledger).append(BaseRow(id_, base))
    return replace(base, revision=revision)


class NamedBases:
    """Bases that adapters name, asked for once each; those that cannot be had are remembered with the reason.

    Args:
        retry_days: days after which one that could not be had is asked for again.
    """

    def __init__(self, ledger: Ledger, hub: Hub, retry_days: float) -> None:
        self._hub = hub
        self._changes = BaseChanges(ledger)
        stored = [row for row in known_bases(ledger) if row.problem or (row.base and row.base.source)]
        oldest_first = sorted(stored, key=lambda row: row.at)
        self._rows = {row.id: row for row in oldest_first}
        self._asked: set[str] = set()
        self._stale = datetime.now(UTC) - timedelta(days=retry_days)

    def get(self, id_: str) -> tuple[Base | None, str | None]:
        """The base, or why it cannot be had. Raises HubDown only."""
        if id_ not in self._asked and self._is_due(self._rows.get(id_)):
            self._ask(id_)
        row = self._rows[id_]
        return row.base, row.problem

    def _is_due(self, row: BaseRow | None) -> bool:
        if row is None or not row.problem:
            return row is None
        return row.at < self._stale or bool(_OLD_WORDS.search(row.problem))

    def _ask(self, id_: str) -> None:
        self._asked.add(id_)
        settled = True
        try:
            row = BaseRow(id_, _read(self._hub, id_, *self._hub.repo_files(id_)))
        except HubDown:
            raise
        except HubError as error:
            told = error.cause
            if isinstance(error, HubRefusal) and error.kind == "missing":  # in words that no older version wrote
                told = f"The hub has no base {id_} for our token."
            row = BaseRow(id_, None, told)
            settled = not _may_pass(error)
        if settled:
            self._changes.append(row)
        self._rows[id_] = row


def _may_pass(error: HubError) -> bool:
    """Whether the next run should ask again: the hub was in trouble, or does not say whether there is such a base."""
    return isinstance(error, HubTrouble) or (isinstance(error, HubRefusal) and error.kind == "unseen")


def _read(hub: Hub, id_: str, sha: str, files: tuple[str, ...]) -> Base:
    from lorauter.adapters.base_modules import UnknownArchitecture, base_from_config

    text = hub.read_text(id_, CONFIG, sha, CONFIG_LIMIT) if CONFIG in files else None
    config = parse_config(text.encode()) if text is not None else None
    if not isinstance(config, dict):
        return hub.base_from_header(id_, sha, files)
    try:
        return base_from_config(id_, sha, config)
    except UnknownArchitecture:
        return hub.base_from_header(id_, sha, files)
