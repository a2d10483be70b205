"""The tokenizer files of a folder on this disk: a base's, or an adapter's.

Knows: their names and bounds. Does not know: hubs, what a chat template renders to (chat_templates).
"""

from __future__ import annotations

from pathlib import Path

from catalog.formats.tokenizer import CONFIG_LIMIT, TokenizerSays, read_tokenizer


def tokenizer_in(folder: Path) -> TokenizerSays:
    """What the tokenizer files of a folder say."""
    names = ("tokenizer_config.json", "chat_template.jinja", "chat_template.json")
    return read_tokenizer(*(text_of(folder / name, CONFIG_LIMIT) for name in names))


def base_chat_template(folder: Path) -> str:
    """The chat template of a base in a folder, in Jinja; "" where it has none."""
    return tokenizer_in(folder).chat_template


def text_of(file: Path, limit: int) -> str:
    """The text of a file up to one byte beyond a bound, which tells that it is too long; "" where there is none."""
    if not file.is_file():
        return ""
    with file.open("rb") as opened:
        return opened.read(limit + 1).decode("utf-8", "replace")
