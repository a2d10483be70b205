"""Prompt formats: each says what its family's own source says, and survives being a task's template."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.errors import SettingError
from catalog.formats.detect import field_words
from catalog.formats.format import INPUT, INSTRUCTION, SYSTEM, PromptFormat, of_template
from catalog.formats.table import format_named, format_of, formats, read_formats, stops_asked, template_asked
from catalog.tasks.task import CHAT, DEFAULT_TEMPLATE, Task

FACTS = tomllib.loads((Path(__file__).parent / "format_facts.toml").read_text("utf-8"))["fact"]
ASKED = "Name a colour."
BEGINS = ("<s>", "<bos>", "<|begin_of_text|>", "<|startoftext|>")
SLOTS = (INPUT, SYSTEM, INSTRUCTION)
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=60)
slotted = st.lists(st.sampled_from([*SLOTS, "{", "}", "{x}", "a", "\n", "{{input}}", "{inp", "ut}"]), max_size=8).map(
    "".join
)
slotless = slotted.filter(lambda text: not any(slot in text for slot in SLOTS))


@pytest.mark.parametrize("fact", FACTS, ids=[f"{f['format']}: {f['where']}"[:80] for f in FACTS])
def test_a_format_says_what_its_source_says(fact: dict[str, Any]) -> None:
    known = format_named(fact["format"])

    assert known.prompt(ASKED, fact.get("system"), fact.get("instruction", "")) == fact["prompt"]


def test_every_format_has_a_recorded_fact() -> None:
    ours = {"answer"}  # this catalog's own

    assert set(formats()) - ours == {fact["format"] for fact in FACTS}
    assert [one.name for one in formats().values() if not one.source] == []


def test_no_format_writes_the_token_that_a_tokenizer_writes_by_itself() -> None:
    assert [
        one.name for one in formats().values() if one.turn.startswith(BEGINS) or one.system.startswith(BEGINS)
    ] == []


def test_the_templates_that_tasks_were_added_with_are_the_same_bytes_for_ever() -> None:
    """Scores are kept by them."""
    alpaca = (
        "Below is an instruction that describes a task. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\n{input}\n\n### Response:\n"
    )

    named = {name: template_asked(name) for name in ("answer", "alpaca", "plain")}

    assert named == {"answer": "{input}\nAnswer:", "alpaca": alpaca, "plain": "{input}"}
    assert named["answer"] == DEFAULT_TEMPLATE


def test_no_format_has_a_name_that_means_something_else() -> None:
    assert {CHAT, "task"} & formats().keys() == set()
    assert [name for name in formats() if INPUT in name] == []


def test_a_template_is_asked_for_by_name_or_by_its_text() -> None:
    asked = {name: (template_asked(name), stops_asked(name)) for name in ("gemma", "Q: {input} {system}\n{input}")}

    assert asked == {
        "gemma": ("<start_of_turn>user\n{input}<end_of_turn>\n<start_of_turn>model\n", ("<end_of_turn>",)),
        "Q: {input} {system}\n{input}": ("Q: {input} {system}\n{input}", ()),
    }


def test_a_format_may_leave_out_outer_blanks() -> None:
    assert PromptFormat("neat", "[{input}]", strips=True).prompt(" a b\n") == "[a b]"


def test_evidence_names_only_formats_of_the_table() -> None:
    named = {format_ for words in field_words().values() for format_ in words.values()}

    assert named - set(formats()) == set()


def test_a_template_tells_which_format_it_is() -> None:
    known = [one for one in formats().values() if not one.needs_instruction]

    again = {one.name: format_of(one.template()) for one in known}

    assert {name: found.template() for name, found in again.items() if found} == {
        one.name: one.template() for one in known
    }
    assert [name for name, found in again.items() if found and found.name != name] == ["dolly", "mistral"]


def test_a_template_of_nobody_is_no_format() -> None:
    assert format_of("Say {input} backwards:") is None


@given(known=st.sampled_from(list(formats().values())), told=texts, system=texts)
def test_afield_words_format_and_its_template_make_one_prompt(known: PromptFormat, told: str, system: str) -> None:
    instruction = "Do it." if known.needs_instruction else ""
    template = known.template(system if known.system else None, instruction)

    task = Task("any", "exact_match", (), template=template)

    assert template.count(INPUT) == 1
    assert task.prompt(told) == known.prompt(told, system if known.system else None, instruction)
    assert of_template(template).template() == template


@given(before=slotless, after=slotless, told=slotted)
def test_any_template_is_a_format_and_comes_back(before: str, after: str, told: str) -> None:
    template = before + INPUT + after
    if any(template.count(slot) != (slot == INPUT) for slot in SLOTS):
        with pytest.raises(SettingError):
            of_template(template)
        return

    own = of_template(template)

    assert own.template() == template
    assert own.prompt(told) == Task("any", "exact_match", (), template=template).prompt(told)


@given(system=slotted, instruction=slotted, told=slotted)
def test_what_goes_into_a_slot_is_never_taken_for_one(system: str, instruction: str, told: str) -> None:
    both = PromptFormat("both", f"{SYSTEM}>{INSTRUCTION}>{INPUT}>", system=f"[{SYSTEM}]")
    if INPUT in system + instruction or not instruction:
        return

    prompt = both.prompt(told, system, instruction)

    assert prompt == (f"[{system}]" if system else "") + f">{instruction}>{told}>"


@pytest.mark.parametrize(
    ("turn", "others", "why"),
    [
        ("no slot", {}, "has {input} 0 times"),
        ("{input}{input}", {}, "has {input} 2 times"),
        ("{system}{input}", {}, "only with a system text"),
        ("{input}", {"system": "{system}"}, "without a place for it"),
        ("{system}{input}", {"system": "none"}, "without a place for it"),
        ("{system}{input}", {"system": "{system}{input}"}, "without a place for it"),
        ("{input}", {"default_system": "Be brief."}, "has a default_system but no `system`"),
        ("{instruction}{instruction}{input}", {}, "has {instruction} 2 times"),
    ],
)
def test_a_format_that_is_not_whole_is_refused(turn: str, others: dict[str, str], why: str) -> None:
    with pytest.raises(SettingError) as refused:
        PromptFormat("odd", turn, **others)  # type: ignore[arg-type]

    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("name", "system", "instruction", "why"),
    [
        ("openchat", "Be brief.", "", "The prompt format openchat has no system text. Leave the system text out."),
        (
            "alpaca_input",
            None,
            "",
            "The prompt format alpaca_input needs an instruction. Take its text from `lorauter tasks formats`, write",
        ),
        (
            "alpaca",
            None,
            "Do it.",
            "The prompt format alpaca has no place for an instruction. Leave the instruction out.",
        ),
        ("chatml", "{input}", "", "{input} stands in a system text or an instruction. Take it out there."),
    ],
)
def test_a_prompt_that_a_format_cannot_make_is_refused(
    name: str, system: str | None, instruction: str, why: str
) -> None:
    with pytest.raises(SettingError) as refused:
        format_named(name).template(system, instruction)

    assert str(refused.value).startswith(why)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("alpacca", " Near names: alpaca, alpaca_chat, alpaca_short, alpaca_qlora, alpaca_input."),
        ("llama-3", " Near names: llama3, llama3_1, llama2."),
        ("Why?", ""),
    ],
)
def test_an_unknown_name_lists_near_ones(name: str, near: str) -> None:
    with pytest.raises(SettingError) as refused:
        format_named(name)

    every = "`lorauter tasks formats` lists all; a text with {input} is a template too."
    assert str(refused.value) == f"No prompt format is called {name!r}.{near} {every}"


@pytest.mark.parametrize(
    "text",
    ["a = [", "a = 1", "[a]\nturn = '{input}'\ncolour = 'red'", "[a]\nturn = 1", "[a]\nturn = '{input}'\nstops = [1]"],
)
def test_a_table_that_is_none_says_so(text: str) -> None:
    with pytest.raises(SettingError, match="The table of prompt formats cannot be read: "):
        read_formats(text)


def test_a_table_may_be_a_users_own() -> None:
    table = read_formats('[qa]\nturn = "Q: {input}\\nA:"\nstops = ["\\nQ:"]\n')

    assert table == {"qa": PromptFormat("qa", "Q: {input}\nA:", stops=("\nQ:",))}
