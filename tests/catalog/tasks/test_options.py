"""Options: how prompts list them, and which one a text names."""

from __future__ import annotations

import pytest

from catalog.tasks.options import index_of, named_option, options_in, says

NLI = ("entailed", "not entailed", "neutral")
CITIES = ("Oslo", "Rome", "New York")


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("Good?\nOPTIONS:\n- yes\n- no", ("yes", "no")),
        ("Good?\nOptions:\n(A) 12/11/1937\n(B) (x)\nAnswer:", ("12/11/1937", "(x)")),
        ("Options:\n- old\n\nOptions: \n- new\n- newer\n", ("new", "newer")),
        ("Which options:\nnone", ()),
        ("- yes\n- no", ()),
    ],
)
def test_options_are_read_off_a_prompt(prompt: str, options: tuple[str, ...]) -> None:
    assert options_in(prompt) == options


@pytest.mark.parametrize(
    ("answer", "index"),
    [("rome.", 1), ("B", 1), ("(C)", 2), ("a.", None), ("D", None), ("It is Rome", None), ("", None)],
)
def test_an_answer_is_an_option_by_text_or_letter(answer: str, index: int | None) -> None:
    assert index_of(answer, CITIES) == index


def test_a_text_that_is_a_letter_is_the_text() -> None:
    assert index_of("A", ("B", "A")) == 1


@pytest.mark.parametrize(
    ("text", "options", "index"),
    [
        (" (B)\n", CITIES, 1),
        ("B) Rome", CITIES, 1),
        ("The answer is (B).", CITIES, 1),
        ("A rome of my own", CITIES, 1),  # an article is no letter
        ("It must be New York!", CITIES, 2),
        ("Rome\n\nOslo is colder.", CITIES, 1),  # the answer ends at a blank line
        ("not entailed", NLI, 1),
        ("It is not entailed, no.", NLI, 1),
        ("entailed, not neutral", NLI, None),
        ("(A) or (B)", CITIES, None),
        ("(Z)", CITIES, None),
        ("Romeo", CITIES, None),
        ("", CITIES, None),
        ("anything", (), None),
        ("anything", ("", "."), None),
    ],
)
def test_a_text_names_one_option_or_none(text: str, options: tuple[str, ...], index: int | None) -> None:
    assert named_option(text, options) == index


@pytest.mark.parametrize(("text", "said"), [("So, 3.5 it is", True), ("135", False), ("no\n\n3.5", False)])
def test_a_target_stands_in_a_text_as_words(text: str, said: bool) -> None:
    assert says(text, "3.5") is said
