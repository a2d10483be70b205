"""Which format the adapter in a folder was trained for: `python -m lorauter.formats FOLDER`. To look, not to build on.

Knows: the files of one adapter's folder. Does not know: hubs, ledgers; the hub's tags are not here and say nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from catalog.adapters.parse import CONFIG_LIMIT, Problem, parse_config
from catalog.errors import LorauterError
from catalog.formats.detect import BASE_CHAT, Evidence, RepoSays, detect
from catalog.formats.format import of_template
from catalog.formats.table import format_named, formats
from lorauter.formats.chat_templates import ChatTemplate, chat_format
from lorauter.formats.folder import text_of, tokenizer_in


def lines(folder: Path) -> Iterator[str]:
    """What the folder says, the surest first, and the prompt that each means."""
    tokenizer = tokenizer_in(folder)
    rendered = ""
    if tokenizer.chat_template:
        begin, end = tokenizer.tokens.get("bos_token", ""), tokenizer.tokens.get("eos_token", "")
        template = ChatTemplate(
            folder.name, tokenizer.chat_template, begin, end, tokenizer.adds_begin, tokenizer.tokens
        )
        try:
            rendered = chat_format(template).template()
        except LorauterError as error:
            yield str(error)
    config = parse_config(text_of(folder / "adapter_config.json", CONFIG_LIMIT).encode())
    fields = {} if isinstance(config, Problem) else config
    base = str(fields.get("base_model_name_or_path") or "")
    card = text_of(folder / "README.md", CONFIG_LIMIT)
    every = detect(RepoSays(card=card, tokenizer=tokenizer, rendered=rendered, config=fields, base=base))
    for evidence in every:
        why = f"({evidence.source}: {evidence.reason})"
        yield f"{evidence.confidence:.2f}  {evidence.format}  {why}  {_shown(evidence)}"
    if not every:
        yield "Nothing is said: the task's own template stays."


def _shown(evidence: Evidence) -> str:
    if evidence.template:
        return repr(of_template(evidence.template).template())
    if evidence.format not in formats():
        return "the base's own chat template" if evidence.format == BASE_CHAT else "its own chat template"
    known = format_named(evidence.format)
    return repr(known.template(instruction="…" if known.needs_instruction else ""))


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("Usage: python -m lorauter.formats FOLDER, a folder with adapter_config.json, README.md, …")
    for line in lines(Path(sys.argv[1])):
        print("".join(c if c.isprintable() else "?" for c in line))  # a stranger's text on a terminal
