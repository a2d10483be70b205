"""What of a card counts as words."""

from __future__ import annotations

import time

import pytest

from catalog.adapters.card import TEXT_LIMIT, card_text, name_text

CARD = """---
license: mit
tags: [lora]
---
# A *small* adapter

<img src="x.png"> ![badge](https://x.y/z.svg) For [movie reviews](https://a.b/c), see https://d.e.

| metric | value |
|---|---|
| acc | 0.9 |

```python
model.load()
```
- Says `positive` or `negative`.
"""


def test_only_words_are_left() -> None:
    assert card_text(CARD) == "A small adapter For movie reviews, see Says positive or negative."


def test_a_long_card_is_cut() -> None:
    assert card_text("word " * 10_000) == ("word " * 200)[:TEXT_LIMIT]


@pytest.mark.parametrize("start", ["---\n", "```", "<!--", "<" * 9, "[" * 9, "](", "![", "|", "# " * 9, "https://"])
def test_a_hostile_card_takes_no_time(start: str) -> None:
    began = time.monotonic()

    card_text(start * (200_000 // len(start)))

    assert time.monotonic() - began < 2


def test_a_name_gives_its_words() -> None:
    assert name_text("ann/sst2-lora_r8", "checkpoint-200") == "sst2 lora r8 checkpoint 200"
