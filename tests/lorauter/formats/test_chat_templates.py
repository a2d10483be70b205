"""Chat templates become prompt formats; what is no honest template is refused: never a hang, never code, no file."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from catalog.formats.format import PromptFormat
from lorauter.formats.chat_templates import ChatTemplate, Limits, TemplateRefused, chat_format

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SAID = "{{ messages[0]['content'] }}"
NEXT_STEP = "Answer under the task's template or a named format."
QUICK = Limits(seconds=1, wall=30, memory=128 << 20)

pytestmark = pytest.mark.timeout(120)


def rendered(text: str, system: str = "", **tokens: str) -> PromptFormat:
    return chat_format(ChatTemplate("ann/x", text, **tokens), system)  # type: ignore[arg-type]


def test_a_template_becomes_a_format() -> None:
    made = rendered(CHATML)

    assert made == PromptFormat(
        "chat template of ann/x",
        "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n",
        stops=("<|im_end|>",),
    )


def test_a_system_text_is_part_of_it() -> None:
    made = rendered(CHATML, "Be brief.")

    assert (
        made.turn
        == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n"
    )


@pytest.mark.parametrize(
    ("text", "adds", "turn"),
    [
        ("{{ bos_token + '[INST] ' + messages[0]['content'] + ' [/INST]' }}", None, "[INST] {input} [/INST]"),
        ("{{ bos_token + '[INST] ' + messages[0]['content'] + ' [/INST]' }}", True, "[INST] {input} [/INST]"),
        ("{{ bos_token + '[INST] ' + messages[0]['content'] + ' [/INST]' }}", False, "<s>[INST] {input} [/INST]"),
        ("{{ bos_token + messages[0]['content'] + bos_token + 'bot' }}", None, "<s>{input}<s>bot"),
        ("{{ messages[0]['content'] + eos_token }}", None, "{input}</s>"),
    ],
)
def test_the_begin_of_text_is_left_to_a_tokenizer_that_writes_it(text: str, adds: bool | None, turn: str) -> None:
    made = chat_format(ChatTemplate("ann/x", text, "<s>", "</s>", adds))

    assert made.turn == turn


def test_a_template_that_wants_parts_gets_parts() -> None:
    made = rendered(
        "USER: {% for part in messages[0]['content'] | selectattr('type', 'equalto', 'text') %}"
        "{{ part.text }}{% endfor %} A:"
    )

    assert made.turn == "USER: {input} A:"


def test_the_date_is_the_same_every_day() -> None:
    made = rendered("{{ strftime_now('%d %b %Y') }}: " + SAID)

    assert made.turn == "26 Jul 2024: {input}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
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
    ],
)
def test_a_template_that_is_wrong_or_hostile_is_refused_with_its_reason(text: str, why: str) -> None:
    with pytest.raises(TemplateRefused) as refused:
        chat_format(ChatTemplate("eve/bad", text), limits=QUICK)

    assert refused.value.cause.startswith(f"The chat template of eve/bad cannot be used: {why}")
    assert refused.value.next_step == NEXT_STEP


@pytest.mark.parametrize(
    "text",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
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
    with pytest.raises(TemplateRefused, match=r"it takes longer than 0\.01 seconds"):
        chat_format(ChatTemplate("eve/slow", SAID), limits=Limits(wall=0.01))


def test_no_secret_of_ours_is_in_the_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setattr("lorauter.formats.chat_templates._CHILD", tmp_path / "child.py")
    (tmp_path / "child.py").write_text(
        f"import os, pathlib; pathlib.Path({str(seen)!r}).write_text(' '.join(os.environ))"
    )

    with pytest.raises(TemplateRefused, match="its process ended without an answer"):
        rendered(SAID)

    assert "HF_TOKEN" not in seen.read_text().split()
