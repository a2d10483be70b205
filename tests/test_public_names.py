"""The public Python surface: these names and no others, and every import that a document shows."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from inspect import getmembers, signature
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PUBLIC = {
    "lorauter": {"load"},
    "lorauter.engine": {"Engine"},
    "lorauter.routing": {
        *("Masked", "Mixture", "Question", "ReadsQuestions", "Route", "Routed", "Router", "RouterOptions", "TaskMatch"),
    },
    "lorauter.compositions": {
        *("COMPOSITIONS", "MIXTURE", "OWN", "MakeComposition", "open_composition", "read_spelled", "spelled"),
    },
    "lorauter.routers": {"MAJORITY", "POLAR", "ROUTERS", "RouterParts", "is_gate", "no_engine", "refuse_gates"},
    "lorauter.racing.strategies": {
        *("Exhaustive", "Halving", "Problem", "Racing", "STRATEGIES", "Seen", "Step", "Strategy"),
        *("StrategyOptions", "evaluations", "nothing_seen", "open_strategy", "paper_halving", "product_halving"),
        *("with_scores", "without"),
    },
}
ENGINE = {
    *("answer", "bank", "budget", "check", "device", "dtype", "find_adapter", "fingerprint", "generate", "halved"),
    *("knowing", "model", "next_logits", "probe", "prompt_tokens", "score_options", "token_lengths", "tokenizer"),
    "weights_of",
}
LOAD = (*("folder", "base", "router", "options", "encoder", "truth", "gone", "engine", "prompt_of", "encoder_dtype"),)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_modules_public_names_are_the_promised_ones(name: str) -> None:
    module = import_module(name)

    assert set(module.__all__) == PUBLIC[name]
    assert [one for one in sorted(PUBLIC[name]) if not hasattr(module, one)] == []


def test_the_engines_public_members_are_the_promised_ones() -> None:
    import lorauter.engine
    from lorauter.engine.engine import Engine

    source = ast.parse((ROOT / "lorauter/engine/engine.py").read_text("utf-8"))
    stored = [one for one in ast.walk(source) if isinstance(one, ast.Attribute) and isinstance(one.ctx, ast.Store)]
    names = {one.attr for one in stored} | {name for name, _member in getmembers(Engine)}
    assert {name for name in names if not name.startswith("_")} == ENGINE
    assert lorauter.engine.Engine is Engine


def test_load_takes_what_it_promises() -> None:
    import lorauter

    assert tuple(signature(lorauter.load).parameters) == LOAD


NO_NAMES = {"lorauter.toml", "warehouse.svg", *(f"lorauter.{kind}" for kind in ("gates", "metrics", "strategies"))}
"""Files, and groups of entry points that are no modules' names."""


def imports_of(document: Path) -> list[tuple[str, str]]:
    """(module, name) of every import from our packages in a document; "" for a module alone."""
    text = document.read_text("utf-8")
    shown = re.findall(r"^\s*from ((?:lorauter|catalog|warehouse|flows)[\w.]*) import (.+)$", text, re.MULTILINE)
    alone = re.findall(r"^\s*import ((?:lorauter|catalog|warehouse|flows)[\w.]*)", text, re.MULTILINE)
    told = set(re.findall(r"`((?:lorauter|catalog|warehouse|flows)(?:\.\w+)+)`", text)) - NO_NAMES
    pairs = [(module, name.strip()) for module, names in shown for name in names.partition("#")[0].split(",")]
    apart = [name.rpartition(".") for name in sorted(told)]
    return [*pairs, *((module, "") for module in alone), *((module, name) for module, _dot, name in apart)]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_what_a_document_imports_is_there(document: Path) -> None:
    missing = [(module, name) for module, name in imports_of(document) if not there(module, name)]

    assert missing == []


def there(module: str, name: str) -> bool:
    try:
        opened: ModuleType = import_module(module)
    except ModuleNotFoundError:  # a class and its method
        outer, _, owner = module.rpartition(".")
        return bool(outer) and hasattr(getattr(import_module(outer), owner), name)
    if not name or hasattr(opened, name):
        return True
    try:
        import_module(f"{module}.{name}")
    except ModuleNotFoundError:
        return False
    return True


def test_documents_that_show_imports_are_read() -> None:
    shown = {document.name for document in DOCUMENTS if imports_of(document)}

    assert {"README.md", "add-a-router.md", "export.md"} <= shown
