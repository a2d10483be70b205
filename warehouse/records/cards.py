"""Rows of the table `cards`: the words of an adapter's card, kept once a commit.

Knows: the columns. Does not know: how cards are read (flows/score/cards).
"""

from __future__ import annotations

from collections.abc import Mapping

from warehouse.ledger.ledger import Ledger


def card_texts(ledger: Ledger) -> dict[str, str]:
    """The words of every card that was read, by adapter key; "" of one that has none."""
    return {key: text for (key,), (text,) in ledger.index("cards", ["text"]).columns.items()}


def keep_card_texts(ledger: Ledger, texts: Mapping[str, str]) -> None:
    """Add the words of cards, by adapter key."""
    ledger.stamp("cards", [{"adapter": key, "text": text} for key, text in sorted(texts.items())])
