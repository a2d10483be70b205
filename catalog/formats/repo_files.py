"""Which files of a repo tell the prompt format of an adapter in it, and which of them are worth a request.

Knows: names, which folder's file speaks for an adapter, what a chat template cannot be rendered without. Does not know:
how files are read (flows/score/prompt_files), what they say (detect).

The card, and one tokenizer file: chat_template.jinja where the repo has one, for it is small and comes before the
template in tokenizer_config.json. That one, which may have a megabyte of tokens, is asked for where there is no other
file, or where the template writes a token that only it tells.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from catalog.adapters.card import CARD_NAME

TEMPLATE_NAME, TOKENIZER_NAME = "chat_template.jinja", "tokenizer_config.json"
_WRITTEN = re.compile(r"\b(?:eos|pad|unk)_token\b")  # a begin-of-text token is never part of a format


@dataclass(frozen=True, slots=True)
class PromptFileNames:
    """The files of a repo that speak for one adapter, "" where it has none.

    Args:
        card: README.md.
        template: chat_template.jinja.
        tokenizer: tokenizer_config.json.
    """

    card: str = ""
    template: str = ""
    tokenizer: str = ""

    @property
    def requests(self) -> int:
        """File requests that reading them takes at least."""
        return bool(self.card) + bool(self.template or self.tokenizer)

    @property
    def further_requests(self) -> int:
        """How many more where the template writes a token that only the tokenizer's config tells."""
        return int(bool(self.template and self.tokenizer))


def prompt_file_names(files: Collection[str], path: str) -> PromptFileNames:
    """Those of a repo with these files that speak for the adapter in a folder: the folder's own, else the repo's."""

    def speaking(name: str) -> str:
        own = f"{path}/{name}".lstrip("/")
        return own if own in files else name if name in files else ""

    return PromptFileNames(speaking(CARD_NAME), speaking(TEMPLATE_NAME), speaking(TOKENIZER_NAME))


def lacking_tokens(template: str, tokens: Mapping[str, str]) -> set[str]:
    """The tokens that a chat template names, a begin-of-text token aside, and nobody tells."""
    return set(_WRITTEN.findall(template)) - tokens.keys()
