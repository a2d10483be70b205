"""Prompt files: the card and the tokenizer files of every adapter that is scored, read once a commit and kept.

Knows: which bounds the reads have, that the card's words are kept with them (flows/score/cards then asks for no card).
Does not know: which files speak for an adapter (catalog/formats/repo_files), what they tell (catalog/formats/detect).

What the hub will not give, and what is too long, is kept as missing. Where the hub is in trouble, nothing is kept of
the adapter: the next run asks again.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from catalog.adapters.adapter import AdapterId
from catalog.adapters.card import CARD_LIMIT, card_text
from catalog.chunks import chunks
from catalog.errors import HubDown, HubError
from catalog.formats.repo_files import PromptFileNames, lacking_tokens, prompt_file_names
from catalog.formats.tokenizer import TEMPLATE_LIMIT, read_tokenizer
from catalog.wanted import Wanted
from flows.screen.progress import say, stage, waits_told
from warehouse.ledger.ledger import Ledger
from warehouse.records.cards import card_texts, keep_card_texts
from warehouse.records.formats import PromptFiles, StoredPromptFiles, keep_prompt_files
from warehouse.records.pool import Pool

if TYPE_CHECKING:
    from catalog.hub.client import Hub

TOKENIZER_BYTES = 2 << 20  # of a tokenizer_config.json; Gemma 3's has 1.2 million
FLUSH = 128  # adapters between two writes to the ledger: what a kill can lose
GIVE_UP = 100  # adapters in a row that trouble spoilt: then it is the hub's, not a file's


def read_prompt_files(ledger: Ledger, hub: Hub, wanted: Wanted, adapters: Collection[str]) -> None:
    """Read what the ledger lacks of these adapters. A kill loses a few reads, an interrupt none that came back.

    Raises:
        HubDown: nobody answers at the hub, or it refuses our token; what was read is kept.
    """
    stored = StoredPromptFiles(ledger)
    asked = _names(ledger, wanted, {key for key in adapters if key not in stored})
    if not asked:
        return
    failed = in_a_row = 0
    told = card_texts(ledger).keys()
    with stage("read formats", len(asked), "adapters") as advance, waits_told(hub.transport.budget):
        for part in chunks(sorted(asked.items()), FLUSH):
            jobs: list[Future[PromptFiles | None]] = []
            with ThreadPoolExecutor(hub.options.readers, thread_name_prefix="formats") as pool:
                try:
                    jobs += [pool.submit(_read, hub, key, names) for key, names in part]
                    for job in jobs:
                        in_a_row = 0 if job.result() else in_a_row + 1
                        failed += job.result() is None
                        advance(1)
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                finally:
                    read = [one for job in jobs if _went_well(job) and (one := job.result())]
                    words = {one.adapter: card_text(one.card) for one in read if one.adapter not in told}
                    keep_card_texts(ledger, words)
                    keep_prompt_files(ledger, read)
            if in_a_row >= GIVE_UP:
                break
    if failed:
        say(f"The hub could not give the card or tokenizer files of {failed} adapters; the next run asks again.")


def _went_well(job: Future[PromptFiles | None]) -> bool:
    return job.done() and not job.cancelled() and job.exception() is None


def _names(ledger: Ledger, wanted: Wanted, adapters: Collection[str]) -> dict[str, PromptFileNames]:
    """The files of each of these adapters, as its repo's listing says."""
    if not adapters:
        return {}
    members = (member for member in Pool(ledger, wanted).members() if member.id.key in adapters)
    return {member.id.key: prompt_file_names(member.listing.files, member.id.path) for member in members}


def _read(hub: Hub, key: str, names: PromptFileNames) -> PromptFiles | None:
    """What an adapter's files say; None where the hub cannot say so now."""
    id_ = AdapterId.parse(key)
    try:
        card = hub.read_start(id_.repo, names.card, id_.sha, CARD_LIMIT) if names.card else ""
        jinja = hub.read_text(id_.repo, names.template, id_.sha, TEMPLATE_LIMIT) if names.template else None
        config = None
        if names.tokenizer and (not jinja or lacking_tokens(jinja, {})):
            config = hub.read_text(id_.repo, names.tokenizer, id_.sha, TOKENIZER_BYTES)
    except HubDown:
        raise
    except HubError:
        return None
    return PromptFiles(key, card, read_tokenizer(config or "", jinja or ""))
