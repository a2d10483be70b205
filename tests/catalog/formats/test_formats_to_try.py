"""Which formats are tried on an adapter, by what is known of it; and by which name each is known."""

from __future__ import annotations

from catalog.formats.detect import BASE_CHAT, OWN, REPO_CHAT, Evidence
from catalog.formats.filled import FilledFormat, filled
from catalog.formats.format import PromptFormat, of_template
from catalog.formats.table import format_named
from catalog.formats.tried import formats_to_try

BASE = PromptFormat("chat template of org/base", "<u>{input}<a>", stops=("<e>",))


def test_sure_evidence_is_tried_in_its_order_each_format_once() -> None:
    evidence = [
        Evidence(OWN, "card code", 0.95, "", "Q: {input} A:", ("Q:",)),
        Evidence("alpaca", "card words", 0.8, ""),
        Evidence("alpaca", "data set", 0.5, ""),
        Evidence(BASE_CHAT, "tokenizer", 0.5, ""),
        Evidence("chatml", "training tool", 0.4, ""),
    ]

    tried = formats_to_try(evidence, BASE)

    assert tried == [of_template("Q: {input} A:", stops=("Q:",)), None, format_named("alpaca"), BASE]


def test_unsure_evidence_comes_after_the_tasks_own_template() -> None:
    evidence = [Evidence("chatml", "training tool", 0.4, ""), Evidence(BASE_CHAT, "base", 0.3, "")]

    assert formats_to_try(evidence, BASE) == [None, format_named("chatml")]
    assert formats_to_try([Evidence("chatml", "tags", 0.2, "")], BASE) == []


def test_what_cannot_be_had_is_not_tried() -> None:
    evidence = [
        Evidence(REPO_CHAT, "tokenizer", 0.75, "refused"),
        Evidence(BASE_CHAT, "tokenizer", 0.6, "not at hand"),
        Evidence(OWN, "card code", 0.9, "no slot", "Q: A:"),
        Evidence("nobody's", "card words", 0.9, "of a newer table"),
    ]

    assert formats_to_try(evidence) == []


def test_a_format_of_the_table_keeps_its_name_and_others_alike_are_told_apart() -> None:
    alpaca = filled(format_named("alpaca"))
    first, second = (filled(of_template(text)) for text in ("a {input}", "b {input}"))

    assert alpaca == FilledFormat("alpaca", format_named("alpaca").template(), format_named("alpaca").stops)
    assert first and second and first.name != second.name
    assert (first.name[:4], first.prompt("x {input}")) == ("own ", "a x {input}")
