"""Cards: what a repo's README says in words, cut to what a sentence encoder reads.

Knows: front matter, code, markup and links are no words. Does not know: what a card is compared with.
A card is a stranger's text: it is read up to a bound, it is never believed, only compared with.
"""

from __future__ import annotations

import re

CARD_NAME = "README.md"
CARD_LIMIT = 64 << 10  # bytes read of a card
TEXT_LIMIT = 600  # characters kept: about what an encoder of 256 tokens reads beside the name

_FRONT_MATTER = re.compile(r"\A\ufeff?---[ \t]*\n.*?\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_NO_WORDS = re.compile(
    r"```.*?(?:```|\Z)"  # code
    r"|<!--.*?(?:-->|\Z)"
    r"|<[^<>]{0,500}>"  # tags
    r"|!\[[^\]]{0,500}\]\([^)]{0,500}\)"  # pictures
    r"|^ {0,3}\|[^\n]*"  # tables
    r"|https?://[^\s()]{1,500}",
    re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(r"\[([^\[\]]{0,300})\]\([^()]{0,500}\)")
_MARKS = re.compile(r"[#*`>|~=]+|^\s*[-+]\s+", re.MULTILINE)


def card_text(card: str) -> str:
    """The words of a card in one line of at most TEXT_LIMIT characters: no front matter, code, tables or addresses."""
    words = _LINK.sub(r"\1", _NO_WORDS.sub(" ", _FRONT_MATTER.sub("", card[:CARD_LIMIT])))
    return " ".join(_MARKS.sub("", words).split())[:TEXT_LIMIT]


def name_text(repo: str, path: str = "") -> str:
    """The words of a repo's name and of the folder in it, without the owner: ann/sst2-lora, v2 gives "sst2 lora v2"."""
    return " ".join(re.split(r"[-_./\s]+", f"{repo.partition('/')[2]} {path}")).strip()
