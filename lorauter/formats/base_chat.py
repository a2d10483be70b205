"""The chat template of a base, as the prompt format that it is.

Knows: the base's tokenizer, which says what its template may write and whether it writes a begin-of-text token by
itself. Does not know: how a template is rendered (chat_templates), tasks, queries.
"""

from __future__ import annotations

from pathlib import Path

from transformers import AutoTokenizer

from catalog.errors import SettingError
from catalog.formats.format import PromptFormat
from lorauter.formats.chat_templates import ChatTemplate, chat_format


def base_chat_format(base_dir: Path, base: str) -> PromptFormat:
    """What the base's chat template makes of one user message.

    Args:
        base_dir: the folder of its files.
        base: its name, for messages.

    Raises:
        SettingError: the base has no chat template. TemplateRefused: its template cannot be used.
    """
    tokenizer = AutoTokenizer.from_pretrained(base_dir, trust_remote_code=False)  # unsaid, a terminal is asked
    try:
        text = tokenizer.get_chat_template() if tokenizer.chat_template else ""
    except ValueError:  # several, and none of them is called "default"
        text = ""
    if not text:
        raise SettingError(f"{base} has no chat template.", "Name a format of `lorauter tasks formats`.")
    begin = tokenizer.bos_token or ""
    adds_begin = bool(begin) and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]
    tokens = {name: token for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    return chat_format(ChatTemplate(base, text, begin, tokenizer.eos_token or "", adds_begin, tokens))
