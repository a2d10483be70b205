"""Formats: which prompt format every scored adapter was trained in, by what its repo says, kept in the ledger.

Knows: when evidence still holds, that a chat template is rendered in a process of its own (lorauter/formats). Does not
know: how files are read (flows/score/prompt_files), what speaks for which format (catalog/formats/detect). Nothing here
changes a prompt, a score or a route: evidence says what to try, and scores decide.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from catalog.adapters.adapter import AdapterId
from catalog.adapters.parse import Problem, parse_config
from catalog.bases.base import Base
from catalog.chunks import chunks
from catalog.errors import HubError, LorauterError
from catalog.formats.detect import NO_ANSWER, REPO_CHAT, Evidence, RepoSays, detect, detector_version, is_copy
from catalog.formats.format import PromptFormat
from catalog.formats.repo_files import lacking_tokens
from catalog.formats.tried import Tried, formats_to_try
from catalog.hub.models import fetch_tokenizer
from catalog.tasks.task import content_hash
from catalog.wanted import Wanted
from flows.score.prompt_files import FLUSH, read_prompt_files
from flows.screen.progress import stage
from lorauter.formats.base_chat import base_chat_format
from lorauter.formats.chat_templates import ChatTemplate, Limits, TemplateTooSlow, chat_format
from lorauter.formats.folder import base_chat_template
from lorauter.racing.evaluation import BASE
from warehouse.ledger.ledger import Ledger
from warehouse.records.formats import MOST_TRIES, FormatsRow, StoredFormats, StoredPromptFiles, keep_formats
from warehouse.records.pool import OWN, Pool
from warehouse.records.raw import StoredReads

if TYPE_CHECKING:
    from catalog.hub.client import Hub

RENDERERS = 4  # processes at once, at most
# A stranger's template stands before every input of every trial, and may be the longest text that the engine reads. The
# longest that is known has a system text of some 3,000 characters.
OF_A_REPO = Limits(length=4 << 10)


@dataclass(frozen=True, slots=True)
class Formats:
    """What adapters say of the prompt format that they were trained in.

    Args:
        ledger: where it is kept.
        hub: where files are read.
        wanted: whose listings tell which files and tags there are.
        too_slow: chat templates that were not rendered in time in this run: only the next one tries again.
        waiting: the adapters that have them.
    """

    ledger: Ledger
    hub: Hub
    wanted: Wanted
    too_slow: dict[_Chat, _Rendered] = field(default_factory=dict)
    waiting: set[str] = field(default_factory=set)

    def read(self, adapters: Collection[str]) -> None:
        """Read the files that tell it and that the ledger lacks. Raises as `read_prompt_files`."""
        read_prompt_files(self.ledger, self.hub, self.wanted, adapters)

    def detect(self, base: Base, adapters: Collection[str]) -> None:
        """Bring the evidence on adapters whose files were read up to date.

        The base's own chat template tells a copy of it from a template of one's own: the base's tokenizer files are
        downloaded for it, once a commit.
        """
        if not adapters:
            return
        stored, reads = StoredPromptFiles(self.ledger), StoredReads(self.ledger)
        base_template = self._base_template(base)
        due = self._due(base.id, {key for key in adapters if key in stored}, base_template, stored, reads)
        if not due:
            return
        with stage("detect formats", len(due), "adapters") as advance:
            for part in chunks(due, FLUSH):
                configs = {read.id.key: read.raw.config or "" for read in reads.of(map(AdapterId.parse, part))}
                says = {
                    one.adapter: RepoSays(
                        card=one.card,
                        tags=due[one.adapter].tags,
                        tokenizer=one.tokenizer,
                        config=_config(configs.get(one.adapter, "")),
                        base=base.id,
                        base_chat_template=base_template,
                    )
                    for one in stored.of(part)
                }
                rendered = self._rendered(says)
                rows = []
                for key, one in says.items():
                    told, hashes = _evidence(one, rendered[key]), (due[key].inputs, _hashed(base_template))
                    runs = due[key].too_slow + (key not in self.waiting) if rendered[key].slow else 0
                    rows.append(FormatsRow(base.id, key, told, detector_version(), *hashes, runs))
                keep_formats(self.ledger, rows)
                self.waiting.update(key for key, made in rendered.items() if made.slow)
                advance(len(part))

    def to_try(self, base: Base, adapters: Collection[str]) -> dict[str, list[Tried]]:
        """The formats that the evidence names, by adapter, the surest first; of BASE its own chat template."""
        chat = self._base_chat(base)
        evidence_of = StoredFormats(self.ledger, base.id).of(adapters)
        to_try = {key: tried for key, evidence in evidence_of.items() if (tried := formats_to_try(evidence, chat))}
        return {**to_try, BASE: [chat]} if chat else to_try

    def _rendered(self, says: Mapping[str, RepoSays]) -> dict[str, _Rendered]:
        """What every adapter's chat template comes to; each is rendered once, however many repos have it."""
        chats = {key: chat for key, one in says.items() if (chat := _chat_of(one))}
        left = sorted(set(chats.values()) - self.too_slow.keys(), key=repr)
        with ThreadPoolExecutor(min(RENDERERS, os.cpu_count() or 1)) as pool:
            made = dict(zip(left, pool.map(_render_in_time, left), strict=True))
        self.too_slow.update({chat: one for chat, one in made.items() if one.slow})
        every = {**self.too_slow, **made}
        return {key: every[chats[key]] if key in chats else _Rendered() for key in says}

    def _base_chat(self, base: Base) -> PromptFormat | None:
        folder = self._tokenizer_folder(base)
        try:
            return base_chat_format(folder, base.id) if folder else None
        except (
            Exception
        ):  # transformers raises anything where tokenizer files are odd; the engine will tell, if it minds
            return None  # it has no tokenizer, no template, or one that cannot be used

    def _base_template(self, base: Base) -> str:
        """The base's own chat template; "" where it has none, or the hub does not give it."""
        folder = self._tokenizer_folder(base)
        return base_chat_template(folder) if folder else ""

    def _tokenizer_folder(self, base: Base) -> Path | None:
        """The base's tokenizer files, brought before anything is scored: its weights may be on other machines only.

        None where the hub does not give them: then a run that needs no new outputs still goes on.
        """
        try:
            return fetch_tokenizer(self.hub, base.id, base.sha)
        except HubError:
            return None

    def _due(
        self, base: str, adapters: Collection[str], base_template: str, stored: StoredPromptFiles, reads: StoredReads
    ) -> dict[str, _Due]:
        """The adapters on which the evidence of the ledger does not hold, or is not there."""
        known, due, hashed = StoredFormats(self.ledger, base), dict[str, _Due](), _hashed(base_template)
        for member in Pool(self.ledger, self.wanted).members():
            key, tags = member.id.key, member.listing.tags
            if key not in adapters or member.judged_for not in (base, OWN):
                continue
            looked_at = [detector_version(), stored.content(key), reads.content(member.id), sorted(tags)]
            inputs = content_hash(looked_at, 32)
            again = key not in self.waiting and 0 < known.too_slow(key, inputs) < MOST_TRIES
            if again or not known.holds(key, inputs, hashed):
                due[key] = _Due(tags, inputs, known.too_slow(key, inputs))
        return due


class _Due(NamedTuple):
    """What a listing says of an adapter, the hash of all that is looked at, in how many runs that took too long."""

    tags: tuple[str, ...]
    inputs: str
    too_slow: int


class _Chat(NamedTuple):
    """A chat template with its tokens: what it renders to depends on nothing else."""

    text: str
    tokens: tuple[tuple[str, str], ...]
    adds_begin: bool | None


class _Rendered(NamedTuple):
    """The prompt template that a chat template is, with what ends an answer; or why it is none."""

    template: str = ""
    stops: tuple[str, ...] = ()
    refused: str = ""
    slow: bool = False


def _chat_of(says: RepoSays) -> _Chat | None:
    """The chat template to render; None where a repo has none of its own, or its adapter writes no text."""
    text, tokens = says.tokenizer.chat_template, says.tokenizer.tokens
    if not text.strip() or is_copy(text, says.base_chat_template) or says.config.get("task_type") in NO_ANSWER:
        return None
    return _Chat(text, tuple(sorted(tokens.items())), says.tokenizer.adds_begin)


def _evidence(says: RepoSays, rendered: _Rendered) -> tuple[Evidence, ...]:
    every = detect(replace(says, rendered=rendered.template, stops=rendered.stops))
    if not rendered.refused:
        return every
    return tuple(
        replace(one, reason=f"{one.reason}; {rendered.refused}") if one.format == REPO_CHAT else one for one in every
    )


def _render_in_time(chat: _Chat) -> _Rendered:
    try:
        return _render(chat)
    except TemplateTooSlow as error:
        return _Rendered(refused=error.cause[:300], slow=True)


@lru_cache(maxsize=256)
def _render(chat: _Chat) -> _Rendered:
    """Raises TemplateTooSlow, so that no try in vain is remembered."""
    tokens = dict(chat.tokens)
    if lacking := lacking_tokens(chat.text, tokens):
        return _Rendered(refused=f"it writes {', '.join(sorted(lacking))}, which nobody tells")
    begin, end = tokens.get("bos_token", ""), tokens.get("eos_token", "")
    try:
        own = chat_format(ChatTemplate("the repo", chat.text, begin, end, chat.adds_begin, tokens), limits=OF_A_REPO)
        return _Rendered(own.template(), own.stops)
    except TemplateTooSlow:
        raise
    except LorauterError as error:
        return _Rendered(refused=error.cause[:300])


def _config(text: str) -> Mapping[str, object]:
    config = parse_config(text.encode())
    return {} if isinstance(config, Problem) else config


def _hashed(base_template: str) -> str:
    return content_hash(base_template) if base_template else ""
