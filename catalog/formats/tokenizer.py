"""What a repo's tokenizer files say: its chat template, and the tokens the template may write.

Knows: tokenizer_config.json, chat_template.jinja, chat_template.json. Does not know: Jinja (lorauter/formats), whether
anybody trained with it. The files are a stranger's: sizes are bounded, anything odd counts as not said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONFIG_LIMIT = 4 << 20  # characters of tokenizer_config.json; Gemma 3's has 1.2 million
TEMPLATE_LIMIT = 128 << 10  # characters of a chat template
_TOKEN_LIMIT = 128
_TOKENS = ("bos_token", "eos_token", "pad_token", "unk_token")


@dataclass(frozen=True, slots=True)
class TokenizerSays:
    """A repo's chat template and its tokens.

    Args:
        chat_template: Jinja text, "" where there is none.
        tokens: special tokens by their names in templates: bos_token, eos_token, pad_token, unk_token.
        adds_begin: whether the tokenizer writes the begin-of-text token by itself, None where it is not said.
    """

    chat_template: str = ""
    tokens: Mapping[str, str] = field(default_factory=dict)
    adds_begin: bool | None = None


def read_tokenizer(config: str = "", jinja: str = "", chat_json: str = "") -> TokenizerSays:
    """What the files say; a template in a file of its own comes before the one in the config.

    Args:
        config: text of tokenizer_config.json.
        jinja: text of chat_template.jinja.
        chat_json: text of chat_template.json.
    """
    said = _object(config)
    own = jinja or _template(_object(chat_json).get("chat_template")) or _template(said.get("chat_template"))
    adds = said.get("add_bos_token")
    return TokenizerSays(
        chat_template=own if len(own) <= TEMPLATE_LIMIT and _is_text(own) else "",
        tokens={name: token for name in _TOKENS if (token := _token(said.get(name)))},
        adds_begin=adds if isinstance(adds, bool) else None,
    )


def _object(text: str) -> dict[str, Any]:
    if not text or len(text) > CONFIG_LIMIT:
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _template(value: object) -> str:
    """The template itself; of several with names the one called "default"."""
    if isinstance(value, str):
        return value
    named = value if isinstance(value, list) else []
    texts = [item.get("template") for item in named[:64] if isinstance(item, dict) and item.get("name") == "default"]
    return texts[0] if texts and isinstance(texts[0], str) else ""


def _token(value: object) -> str:
    text = value.get("content") if isinstance(value, dict) else value
    return text if isinstance(text, str) and len(text) <= _TOKEN_LIMIT and _is_text(text) else ""


def _is_text(text: str) -> bool:
    """Whether UTF-8 can hold it: JSON may escape half a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
