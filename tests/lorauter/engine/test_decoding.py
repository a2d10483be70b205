"""Decoding: its bounds, and its one spelling in the ledger."""

from __future__ import annotations

from typing import Any

import pytest

from catalog.errors import SettingError
from lorauter.engine.decoding import GREEDY, Decoding, read_spelled, row_key, spelled, stops_of


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": 1e-9}, "temperature is 1e-09"),
        ({"temperature": float("nan")}, "temperature is nan"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"top_p": 0}, "top_p is 0"),
        ({"top_p": 1.1}, r"top_p is 1\.1"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_k": 2.5}, r"top_k is 2\.5"),
        ({"seed": None}, "seed is None"),
        ({"seed": True}, "seed is True"),
    ],
)
def test_a_constant_out_of_range_is_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        Decoding(**given)


def test_a_stop_that_is_no_text_is_refused() -> None:
    with pytest.raises(SettingError, match=r"stop is \[1\]"):
        stops_of([1])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("decoding", "stop", "text"),
    [
        (GREEDY, "\n", "greedy"),
        (Decoding(seed=7, top_p=0.5), ["\n", "\n", ""], "greedy"),
        (GREEDY, (), '{"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0, "stop": []}'),
        (
            Decoding(temperature=1, top_p=0.9, top_k=40, seed=7),
            ["##", "\n"],
            '{"temperature": 1.0, "top_p": 0.9, "top_k": 40, "seed": 7, "stop": ["\\n", "##"]}',
        ),
        (
            GREEDY,
            ["\n", "<|im_end|>"],
            '{"temperature": 0.0, "top_p": 1.0, "top_k": 0, "seed": 0, "stop": ["\\n", "<|im_end|>"], '
            '"special_stops": true}',
        ),
    ],
)
def test_the_spelling_is_one_for_all_that_decode_alike(decoding: Decoding, stop: str | list[str], text: str) -> None:
    chosen, stops = read_spelled(spelled(decoding, stop))

    assert spelled(decoding, stop) == text
    assert (chosen, stops) == (GREEDY if decoding.greedy else decoding, stops_of(stop))


def test_a_row_is_known_by_seed_prompt_adapters_and_sample() -> None:
    drawn = Decoding(temperature=1.0)
    row = ("Why?", (("a", 0.6), ("b", 0.4)), "1")
    others = [
        row_key(Decoding(temperature=1.0, seed=1), *row),
        row_key(drawn, "Why not?", *row[1:]),
        row_key(drawn, "Why?", (("a", 1.0),), "1"),
        row_key(drawn, *row[:2], "2"),
    ]

    same = row_key(Decoding(temperature=0.5, top_p=0.3), "Why?", (("b", 0.4000001), ("a", 0.5999999)), "1")

    assert same == row_key(drawn, *row)
    assert len({same, *others}) == 5
