"""docs/add-a-router.md, run: its code blocks, in their order."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from lorauter import routers
from lorauter.engine.engine import Engine
from lorauter.gates.protocol import GatedRoute, TokenGate
from lorauter.routing.routes import Route

DOCUMENT = (Path(__file__).parents[2] / "docs/add-a-router.md").read_text(encoding="utf-8")


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the document's blocks define; what they register is taken back."""
    monkeypatch.setattr(routers, "ROUTERS", dict(routers.ROUTERS))
    names: dict[str, Any] = {"__name__": "add_a_router"}
    for block in re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL):
        exec(compile(block, "docs/add-a-router.md", "exec"), names)
    return names


def test_the_documents_router_passes_the_documents_test(written: dict[str, Any]) -> None:
    written["test_a_query_goes_where_its_words_are_known"]()

    assert routers.ROUTERS["shared_words"]


def test_the_documents_gate_is_the_mixture_it_says(written: dict[str, Any], tiny_engine: Engine) -> None:
    keys = ("linear", "narrow", "pattern", "wide")
    gate = written["EvenGate"](keys)

    found = tiny_engine.score_options(["north"], [["red", "cat"]], [GatedRoute(gate)])[0]

    even = tiny_engine.score_options(["north"], [["red", "cat"]], [Route(tuple((key, 0.25) for key in keys))])[0]
    assert isinstance(gate, TokenGate)
    assert found.totals == pytest.approx(even.totals, abs=1e-4)
