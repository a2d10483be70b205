"""Cards: the words of every scored adapter's card, read once a commit, kept in the ledger.

Knows: which README speaks for an adapter, that it costs one small read. Does not know: what the words are good for.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from catalog.adapters.adapter import AdapterId
from catalog.adapters.card import CARD_LIMIT, CARD_NAME, card_text, name_text
from catalog.errors import HubDown, HubError
from catalog.wanted import Wanted
from flows.screen.progress import stage
from warehouse.ledger.ledger import Ledger
from warehouse.records.cards import card_texts, keep_card_texts
from warehouse.records.pool import Pool

if TYPE_CHECKING:
    from catalog.hub.client import Hub


@dataclass(frozen=True, slots=True)
class Cards:
    """What adapters say of themselves.

    Args:
        ledger: where it is kept.
        hub: where it is read.
        wanted: whose listings tell which README there is.
        readers: most reads at once.
    """

    ledger: Ledger
    hub: Hub
    wanted: Wanted
    readers: int

    def texts(self, keys: Sequence[str]) -> list[str]:
        """What the name and the card of each adapter say, in the order of the keys."""
        kept = card_texts(self.ledger)
        texts = kept | self._read([key for key in keys if key not in kept])
        return [f"{_name(key)} {texts.get(key, '')}".strip() for key in keys]

    def _read(self, keys: Sequence[str]) -> dict[str, str]:
        """Read cards and keep them; one that cannot be had now is tried again by the next run."""
        if not keys:
            return {}
        files = self._files(keys)
        texts = {key: "" for key in keys if key not in files}
        with (
            stage("read cards", len(files), "cards") as advance,
            ThreadPoolExecutor(self.readers, thread_name_prefix="cards") as pool,
        ):
            jobs = {key: pool.submit(self._card, key, name) for key, name in files.items()}
            try:
                for key, job in jobs.items():
                    text = job.result()
                    advance(1)
                    if text is not None:
                        texts[key] = text
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            finally:
                keep_card_texts(self.ledger, texts)
        return texts

    def _card(self, key: str, name: str) -> str | None:
        id_ = AdapterId.parse(key)
        try:
            return card_text(self.hub.read_start(id_.repo, name, id_.sha, CARD_LIMIT))
        except HubDown:
            raise
        except HubError:
            return None

    def _files(self, keys: Sequence[str]) -> dict[str, str]:
        """The README of each adapter that has one: its folder's own, else the repo's."""
        missing, files = set(keys), dict[str, str]()
        for member in Pool(self.ledger, self.wanted).members():
            names = [f"{member.id.path}/{CARD_NAME}".lstrip("/"), CARD_NAME]
            listed = [name for name in names if name in member.listing.files]
            if listed and member.id.key in missing:
                files[member.id.key] = listed[0]
        return files


def _name(key: str) -> str:
    id_ = AdapterId.parse(key)
    return name_text(id_.repo, id_.path)
