"""Cards: the words of every scored adapter's card, read once a commit, kept in the ledger.

Knows: which README speaks for an adapter, that it costs one small read. Does not know: what the words are good for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from catalog.adapters.adapter import AdapterId
from catalog.adapters.card import CARD_LIMIT, CARD_NAME, card_text, name_text
from catalog.errors import HubDown, HubError
from flows.home.home import Home
from flows.screen.progress import stage
from warehouse.records.pool import Pool


def adapter_texts(home: Home, keys: Sequence[str]) -> list[str]:
    """What the name and the card of each adapter say, in the order of the keys."""
    known = home.ledger.index("cards", ["text"])
    new = [key for key in keys if (key,) not in known]
    texts = {key: columns[0] for (key,), columns in known.columns.items()} | _read(home, new)
    return [f"{_name(key)} {texts.get(key, '')}".strip() for key in keys]


def _read(home: Home, keys: Sequence[str]) -> dict[str, str]:
    """Read cards and keep them; one that cannot be had now is tried again by the next run."""
    if not keys:
        return {}
    cards = _card_files(home, keys)
    texts = {key: "" for key in keys if key not in cards}
    with (
        stage("read cards", len(cards), "cards") as advance,
        ThreadPoolExecutor(home.settings.readers, thread_name_prefix="cards") as pool,
    ):
        jobs = {key: pool.submit(_card, home, key, name) for key, name in cards.items()}
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
            home.ledger.stamp("cards", [{"adapter": key, "text": text} for key, text in sorted(texts.items())])
    return texts


def _card(home: Home, key: str, name: str) -> str | None:
    id_ = AdapterId.parse(key)
    try:
        return card_text(home.hub.read_start(id_.repo, name, id_.sha, CARD_LIMIT))
    except HubDown:
        raise
    except HubError:
        return None


def _card_files(home: Home, keys: Sequence[str]) -> Mapping[str, str]:
    """The README of each adapter that has one: its folder's own, else the repo's."""
    wanted = set(keys)
    found = {}
    for member in Pool(home.ledger, home.wanted).members():
        if member.id.key not in wanted:
            continue
        names = [f"{member.id.path}/{CARD_NAME}".lstrip("/"), CARD_NAME]
        listed = [name for name in names if name in member.listing.files]
        if listed:
            found[member.id.key] = listed[0]
    return found


def _name(key: str) -> str:
    id_ = AdapterId.parse(key)
    return name_text(id_.repo, id_.path)
