"""docs/add-a-router.md, run: its package installed and asked by name, its other code blocks in their order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorauter.engine.engine import Engine
from lorauter.gates.protocol import GatedRoute, GateParts, TokenGate
from lorauter.routing.routes import Route

ROOT = Path(__file__).parents[3]
DOCUMENT = (ROOT / "docs/add-a-router.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def written() -> dict[str, Any]:
    """What the document's blocks define."""
    names: dict[str, Any] = {"__name__": "add_a_router"}
    for block in blocks("python"):
        exec(compile(block, "docs/add-a-router.md", "exec"), names)
    return names


def test_the_documents_package_installs_and_its_router_is_found_by_name(
    tmp_path: Path, install_package: Callable[[Path], Path]
) -> None:
    (tmp_path / "pyproject.toml").write_text(blocks("toml")[0])
    (tmp_path / "shared_words.py").write_text(blocks("python")[0])
    site = install_package(tmp_path)

    script = "from lorauter.routers import ROUTERS; print(ROUTERS.package('shared_words'), ROUTERS['shared_words'])"
    paths = os.pathsep.join([str(site), str(ROOT)])
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == "shared-words 1.0 <class 'shared_words.SharedWordsRouter'>\n"


def test_the_documents_router_passes_the_documents_test(written: dict[str, Any]) -> None:
    written["test_a_query_goes_where_its_words_are"]()


def test_the_documents_gate_is_the_mixture_it_says(written: dict[str, Any], tiny_engine: Engine) -> None:
    keys = ("linear", "narrow", "pattern", "wide")
    gate = written["EvenGate"](GateParts(keys, tiny_engine.weights_of, lambda key: {}))

    found = tiny_engine.score_options(["north"], [["red", "cat"]], [GatedRoute(gate)])[0]

    even = tiny_engine.score_options(["north"], [["red", "cat"]], [Route(tuple((key, 0.25) for key in keys))])[0]
    assert isinstance(gate, TokenGate)
    assert found.totals == pytest.approx(even.totals, abs=1e-4)
