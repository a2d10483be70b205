"""Chat templates become prompt formats; what is no honest template is refused: never a hang, never code, no file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from catalog.formats.format import PromptFormat
from lorauter.formats.chat_templates import (
    ChatTemplate,
    Limits,
    TemplateRefused,
    TemplateTooSlow,
    chat_format,
    chat_formats,
)

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SAID = "{{ messages[0]['content'] }}"
NEXT_STEP = "Name a format of `lorauter tasks formats`, or write a template with {input}."
QUICK = Limits(seconds=1, wall=30, memory=128 << 20)

pytestmark = pytest.mark.timeout(120)


LLAMA2 = "{{ bos_token + '[INST] ' + messages[0]['content'] + ' [/INST]' }}"
BEGINS = [
    (LLAMA2, None, "[INST] {input} [/INST]"),
    (LLAMA2, True, "[INST] {input} [/INST]"),
    (LLAMA2, False, "<s>[INST] {input} [/INST]"),
    ("{{ bos_token + messages[0]['content'] + bos_token + 'bot' }}", None, "<s>{input}<s>bot"),
    ("{{ messages[0]['content'] + eos_token }}", None, "{input}</s>"),
]
PARTS = (
    "USER: {% for part in messages[0]['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ part.text }}{% endfor %} A:"
)
DATE = "{{ strftime_now('%d %b %Y') }}: " + SAID
TRIMMED = "[{{ messages[0]['content'] | trim }}]"
GOOD = [CHATML, PARTS, DATE, TRIMMED]
BAD = [
    ("{% for i in range(10**9) %}{% endfor %}" + SAID, "OverflowError: Range too big."),
    ("{{ 'x' * 10**9 }}" + SAID, "it needs more than 128 MiB"),
    ("{{ 'x' * 100000 }}" + SAID, "ValueError: it writes 1000"),
    ("{{ ''.__class__.__mro__ }}" + SAID, "SecurityError: access to attribute '__class__'"),
    ("{{ '{0.__class__.__mro__}'.format(messages) }}" + SAID, "SecurityError"),
    ("{{ (messages | map(attribute='__class__') | list)[0].mro() }}" + SAID, "SecurityError"),
    ("{{ cycler.__init__.__globals__.os.system('true') }}" + SAID, "SecurityError"),
    ("{{ strftime_now.__globals__.os }}" + SAID, "SecurityError"),
    ("{% import 'os' as os %}" + SAID, "TypeError: no loader for this environment specified"),
    ("{{ raise_exception('Not for you') }}" + SAID, "TemplateError: Not for you"),
    ("{{ " + SAID, "TemplateSyntaxError"),
    ("Hello", "it writes the message changed or not at all"),
    (SAID + SAID, "it writes the message more than once"),
    ("{{ messages[0]['content'] | tojson }}", "it writes the message changed or not at all"),
    ("{{ messages[0]['content'] | length }}: " + SAID, "the texts around a message depend on the message"),
    ("{% if '\n' in messages[0]['content'] %}Long: {% endif %}" + SAID, "the texts around a message depend on the"),
    ("{{ '\\ud800' }}" + SAID, "it writes half a surrogate pair"),
    ("{{ '{system}' }}" + SAID, "it writes a slot of ours"),
    ("\ud800" + SAID, "it holds half a surrogate pair"),
    ("x" * (200 << 10), "it has 204800 characters, the limit is 131072"),
    ("{% if 1 %}" * 3_000 + "{% endif %}" * 3_000, "it is nested too deeply"),
    ("{{" + "(" * 50_000 + "1" + ")" * 50_000 + "}}", "it is nested too deeply"),
    ("{% macro f(n) %}{{ f(n + 1) }}{% endmacro %}{{ f(0) }}", "it is nested too deeply"),
    ("{{ namespace(__class__=1) }}", "SecurityError"),
]
Made = PromptFormat | TemplateRefused


@pytest.fixture(scope="module")
def good() -> dict[str, Made]:
    """What becomes of the good templates, rendered in one process."""
    return dict(zip(GOOD, chat_formats([ChatTemplate("ann/x", text) for text in GOOD]), strict=True))


@pytest.fixture(scope="module")
def bad() -> dict[str, Made]:
    """What becomes of the bad templates, rendered in one process with a good one behind them."""
    texts = [*(text for text, _ in BAD), CHATML]
    return dict(zip(texts, chat_formats([ChatTemplate("eve/bad", text) for text in texts], limits=QUICK), strict=True))


def test_a_template_becomes_a_format(good: dict[str, Made]) -> None:
    assert good[CHATML] == PromptFormat(
        "chat template of ann/x",
        "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
        stops=("<|im_end|>",),
    )


def test_a_template_that_wants_parts_gets_parts(good: dict[str, Made]) -> None:
    assert good[PARTS] == PromptFormat("chat template of ann/x", "USER: {input} A:")


def test_the_date_is_the_same_every_day(good: dict[str, Made]) -> None:
    assert good[DATE] == PromptFormat("chat template of ann/x", "26 Jul 2024: {input}")


def test_a_template_that_draws_lots_is_the_same_format_in_every_run() -> None:
    template = ChatTemplate("eve/dice", "{{ range(99999) | random }}: " + SAID)

    made = [chat_format(template) for _ in range(2)]

    assert made[0] == made[1]


def test_a_template_that_leaves_out_outer_blanks_says_so(good: dict[str, Made]) -> None:
    assert good[TRIMMED] == PromptFormat("chat template of ann/x", "[{input}]", strips=True)


def test_a_system_text_is_part_of_it() -> None:
    made = chat_format(ChatTemplate("ann/x", CHATML), "Be brief.")

    assert (
        made.turn
        == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_begin_of_text_is_left_to_a_tokenizer_that_writes_it() -> None:
    made = chat_formats([ChatTemplate("ann/x", text, "<s>", "</s>", adds) for text, adds, _ in BEGINS])

    assert [one.turn for one in made if isinstance(one, PromptFormat)] == [turn for _, _, turn in BEGINS]


@pytest.mark.parametrize(("text", "why"), BAD)
def test_a_template_that_is_wrong_or_hostile_is_refused_with_its_reason(
    text: str, why: str, bad: dict[str, Made]
) -> None:
    refused = bad[text]

    assert type(refused) is TemplateRefused
    assert refused.cause.startswith(f"The chat template of eve/bad cannot be used: {why}")
    assert refused.next_step == NEXT_STEP


def test_bad_neighbours_leave_a_good_template_alone(bad: dict[str, Made]) -> None:
    assert isinstance(bad[CHATML], PromptFormat)


def test_a_neighbour_that_breaks_the_process_is_refused_alone() -> None:
    endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}" + SAID

    made = chat_formats([ChatTemplate("eve/slow", endless), ChatTemplate("ann/x", CHATML)], limits=QUICK)

    assert [type(one) for one in made] == [TemplateTooSlow, PromptFormat]


def test_one_that_is_refused_is_raised_where_it_is_asked_for_alone() -> None:
    with pytest.raises(TemplateRefused, match="it holds half a surrogate pair"):
        chat_format(ChatTemplate("eve/bad", "\ud800" + SAID))


@pytest.mark.parametrize(
    "text",
    [
        "{{ 9 ** (9 ** 9) }}",
        "{{ ([1] * 100000) | map('string') | join | replace('1', '1' * 5000) | length }}",
    ],
)
def test_a_template_without_end_is_ended(text: str) -> None:
    began = time.monotonic()

    with pytest.raises(TemplateRefused, match=r"The chat template of eve/slow cannot be used: it (takes|needs)"):
        chat_format(ChatTemplate("eve/slow", text + SAID), limits=QUICK)

    assert time.monotonic() - began < QUICK.wall


def test_a_process_that_sleeps_is_ended_by_the_clock() -> None:
    with pytest.raises(TemplateTooSlow, match=r"it takes longer than 0\.01 seconds"):
        chat_format(ChatTemplate("eve/slow", SAID), limits=Limits(wall=0.01))


def test_no_secret_of_ours_is_in_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("lorauter.formats.chat_templates._CHILD", tmp_path / "child.py")
    (tmp_path / "child.py").write_text(
        f"import os, pathlib; pathlib.Path({str(seen)!r}).write_text(' '.join(os.environ))"
    )

    with pytest.raises(TemplateRefused, match="its process ended without an answer"):
        chat_format(ChatTemplate("ann/x", SAID))

    assert "HF_TOKEN" not in seen.read_text().split()
