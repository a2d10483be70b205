"""How often detection is right about real adapters. Truth: read by hand from what their authors train and ask with.

The folders lie in `wild_adapters` (config and front matter only); where somebody brought the repos' further files, they
lie by the same names in `wild_formats`. Neither is part of this project.
"""

from __future__ import annotations

import csv
import json
import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pytest

from catalog.formats.detect import BASE_CHAT, LEAST, OWN, REPO_CHAT, Evidence, RepoSays, detect
from catalog.formats.table import format_named, format_of
from catalog.formats.tokenizer import TokenizerSays, read_tokenizer
from flows.mirror.card import facts_of, read_json
from lorauter.formats.chat_templates import ChatTemplate, TemplateRefused, chat_format

ROOT = Path(__file__).parents[3]
DATA = Path(os.environ.get("LORAUTER_TEST_DATA") or ROOT / "../shared/data")
SMALL, WHOLE = DATA / "wild_adapters", DATA / "wild_formats"
TRUTH = {row["folder"]: row for row in csv.DictReader((Path(__file__).parent / "wild_formats.csv").open())}


@dataclass
class Count:
    """Adapters about which detection says something, and those about which that is right."""

    said: int = 0
    right: int = 0


def says_of(*folders: Path) -> RepoSays:
    def read(name: str) -> str:
        return next((f.read_text("utf-8", "replace") for folder in folders if (f := folder / name).is_file()), "")

    card, config = read("README.md"), read("adapter_config.json")
    fields, tags = read_json(config), facts_of(card, config, "", ()).tags
    base = fields.get("base_model_name_or_path") or next(
        (t.removeprefix("base_model:") for t in tags if t.startswith("base_model:")), ""
    )
    tokenizer = read_tokenizer(read("tokenizer_config.json"), read("chat_template.jinja"), read("chat_template.json"))
    return RepoSays(card, tags, tokenizer, config=fields, base=str(base))


def is_right(evidence: Evidence, says: RepoSays, truth: dict[str, str]) -> bool:
    if evidence.format == BASE_CHAT:
        return truth["base_chat"] == "yes"
    name = rendered(says.tokenizer) if evidence.format == REPO_CHAT else evidence.format
    if OWN in (name, truth["format"]):
        return name == truth["format"]
    told, true = format_named(name), format_named(truth["format"])
    return (told.turn, told.default_system) == (true.turn, true.default_system)


def rendered(tokenizer: TokenizerSays) -> str:
    return _rendered(tokenizer.chat_template, json.dumps(dict(tokenizer.tokens)))


@lru_cache
def _rendered(text: str, tokens: str) -> str:
    named = json.loads(tokens)
    template = ChatTemplate("a wild repo", text, named.get("bos_token", ""), named.get("eos_token", ""))
    try:
        known = format_of(chat_format(template).turn)
    except TemplateRefused:
        return OWN
    return known.name if known else OWN


def counted(folder: Path) -> tuple[dict[str, Count], list[str]]:
    """What is right, by whether the surest evidence is sure enough and by its source; and the mistakes."""
    counts, wrong = {"sure": Count(), "all": Count()}, []
    for name, truth in TRUTH.items():
        says = says_of(folder / name, SMALL / name)
        best = next(iter(detect(says)), None)
        if best is None:
            continue
        right = is_right(best, says, truth)
        for group in ["all", best.source, *(["sure"] if best.confidence >= LEAST else [])]:
            count = counts.setdefault(group, Count())
            count.said, count.right = count.said + 1, count.right + right
        if not right:
            wrong.append(f"{name}: {best.format} ({best.source}, {best.confidence}), is {truth['format']}")
    return counts, wrong


def shown(counts: dict[str, Count]) -> dict[str, tuple[int, int]]:
    return {group: (count.said, count.right) for group, count in counts.items()}


def test_the_truth_names_known_formats() -> None:
    assert [name for name, row in TRUTH.items() if row["format"] != OWN and not format_named(row["format"])] == []


@pytest.mark.skipif(not SMALL.is_dir(), reason="no wild_adapters: set LORAUTER_TEST_DATA to the folder that holds it")
def test_config_and_front_matter_say_little() -> None:
    counts, wrong = counted(SMALL)

    assert shown(counts) == {
        "all": (25, 14),
        "sure": (11, 9),
        "base": (11, 5),
        "training tool": (12, 8),
        "data set": (1, 1),
        "tags": (1, 0),
    }, wrong


@pytest.mark.timeout(900)
@pytest.mark.skipif(not WHOLE.is_dir(), reason="no wild_formats beside wild_adapters: the repos' further files")
def test_cards_and_tokenizers_say_more() -> None:
    counts, wrong = counted(WHOLE)

    assert shown(counts) == {
        "all": (33, 21),
        "sure": (26, 19),
        "card code": (5, 5),
        "training config": (1, 1),
        "tokenizer": (24, 14),
        "data set": (1, 1),
        "base": (2, 0),
    }, wrong
