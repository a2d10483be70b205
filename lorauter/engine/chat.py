"""Chat templates: a user's message as the base was trained to read one.

Knows: the tokenizer's own template. Does not know: queries, engines.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transformers import AutoTokenizer

from catalog.errors import SettingError

_MESSAGE = "the message\u2063goes here"  # no template says this by itself


def chat_as_template(base_dir: Path) -> str:
    """The base's chat template as a task's: the prompt for one user message, with `{input}` where the message stands.

    Raises:
        SettingError: the tokenizer has no template, or its template does not repeat the message once and as it is.
    """
    text = chat_template(base_dir)(_MESSAGE)
    if text.count(_MESSAGE) != 1 or "{input}" in text:
        raise SettingError("The base's chat template changes the message.", "Give the task a template with {input}.")
    return text.replace(_MESSAGE, "{input}")


def chat_template(base_dir: Path) -> Callable[[str], str]:
    """Message → prompt, up to where the answer begins.

    A begin-of-text token that the template writes is left out where the tokenizer adds it by itself.

    Raises:
        SettingError: the tokenizer has no template.
    """
    tokenizer = AutoTokenizer.from_pretrained(base_dir)
    if not tokenizer.chat_template:
        raise SettingError("The base has no chat template.", "Use --template task, alpaca or plain.")
    begin = tokenizer.bos_token or ""
    added = bool(begin) and tokenizer("")["input_ids"][:1] == [tokenizer.bos_token_id]

    def make(message: str) -> str:
        turns = [{"role": "user", "content": message}]
        text: str = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return text.removeprefix(begin) if added else text

    return make
