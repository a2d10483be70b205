"""What detection says of folders of adapters, and whether it is right.

Knows: the files of a folder, a table of truths that was made by hand (tests/lorauter/formats/wild_formats.csv).
Does not know: what speaks for which format (catalog/formats/detect), scores (formats).
"""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from catalog.adapters.card import CARD_NAME
from catalog.adapters.facts import CONFIG_NAME
from catalog.errors import LorauterError
from catalog.formats.detect import BASE_CHAT, OWN, REPO_CHAT, Evidence, RepoSays, detect, trained_for
from catalog.formats.format import PromptFormat, of_template
from catalog.formats.table import format_named, format_of
from catalog.formats.tokenizer import CONFIG_LIMIT, read_tokenizer
from flows.mirror.card import facts_of, read_json
from lorauter.formats.chat_templates import ChatTemplate, chat_format
from lorauter.formats.folder import text_of

RIGHT, WRONG, SILENT = "right", "wrong", "silent"
ROOT = Path(__file__).parents[1]
TRUTHS = ROOT / "tests/lorauter/formats/wild_formats.csv"
SHARED = Path(os.environ.get("LORAUTER_TEST_DATA") or ROOT / "../shared/data")
WILD = ("wild_adapters", "wild_formats")
"""Config and front matter alone; the repos' further files."""


def says_in(*folders: Path, base_chat_template: str = "") -> RepoSays:
    """What the files of an adapter say; of those in several folders the first.

    Args:
        folders: where the files lie.
        base_chat_template: the base's own chat template, where it is known.
    """

    def text(name: str) -> str:
        return next((text_of(folder / name, CONFIG_LIMIT) for folder in folders if (folder / name).is_file()), "")

    card, config = text(CARD_NAME), text(CONFIG_NAME)
    fields, tags = read_json(config), facts_of(card, config, "", ()).tags
    tagged = next((tag.removeprefix("base_model:") for tag in tags if tag.startswith("base_model:")), "")
    tokenizer = read_tokenizer(text("tokenizer_config.json"), text("chat_template.jinja"), text("chat_template.json"))
    base = str(fields.get("base_model_name_or_path") or tagged)
    return RepoSays(card, tags, tokenizer, config=fields, base=base, base_chat_template=base_chat_template)


def believed(says: RepoSays) -> Evidence | None:
    """The evidence that the product would go by; None where it would keep the task's own template."""
    return trained_for(detect(says))


def format_of_evidence(evidence: Evidence, says: RepoSays, base_chat: PromptFormat) -> PromptFormat:
    """The format that evidence means. Raises TemplateRefused for a repo's chat template that cannot be used.

    Args:
        base_chat: the chat template of the base, as a format.
    """
    if evidence.format == BASE_CHAT:
        return base_chat
    if evidence.format == REPO_CHAT:
        return _repo_chat(says)
    return of_template(evidence.template) if evidence.format == OWN else format_named(evidence.format)


def verdict(said: PromptFormat | None, truth: PromptFormat) -> str:
    """Whether the format said asks exactly as the true one."""
    if said is None:
        return SILENT
    return RIGHT if said.template() == truth.template() else WRONG


def wild_verdicts(data: Path = SHARED) -> dict[str, dict[str, int]]:
    """How often detection is right, wrong and silent about real adapters, by the folder that holds their files.

    Folders that are not there have no entry. Truths are known of some of the adapters alone.
    """
    with TRUTHS.open(encoding="utf-8") as opened:
        truths = {row["folder"]: row for row in csv.DictReader(opened)}
    counts: dict[str, dict[str, int]] = {}
    for place, name in enumerate(WILD):
        if not (data / name).is_dir():
            continue
        searched = [data / other for other in WILD[place::-1]]
        found = Counter(_wild(says_in(*(folder / one for folder in searched)), row) for one, row in truths.items())
        counts[name] = {told: found[told] for told in (RIGHT, WRONG, SILENT)}
    return counts


def _wild(says: RepoSays, truth: Mapping[str, str]) -> str:
    """A format with a `{instruction}` has no template by itself, so formats are compared by their texts."""
    evidence = believed(says)
    if evidence is None:
        return SILENT
    if evidence.format == BASE_CHAT:
        return RIGHT if truth["base_chat"] == "yes" else WRONG
    name = _named_repo_chat(says) if evidence.format == REPO_CHAT else evidence.format
    if OWN in (name, truth["format"]):
        return RIGHT if name == truth["format"] else WRONG
    told, true = format_named(name), format_named(truth["format"])
    return RIGHT if (told.turn, told.default_system) == (true.turn, true.default_system) else WRONG


def _named_repo_chat(says: RepoSays) -> str:
    try:
        known = format_of(_repo_chat(says).turn)
    except LorauterError:
        return OWN
    return known.name if known else OWN


def _repo_chat(says: RepoSays) -> PromptFormat:
    told = says.tokenizer
    begin, end = told.tokens.get("bos_token", ""), told.tokens.get("eos_token", "")
    return chat_format(ChatTemplate(says.base, told.chat_template, begin, end, told.adds_begin, told.tokens))
