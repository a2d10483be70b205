"""Which format an adapter was trained for, from what its repo says: sure where it is told, silent where it is not."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.formats.detect import BASE_CHAT, OWN, REPO_CHAT, Evidence, RepoSays, detect, trained_for
from catalog.formats.format import INPUT
from catalog.formats.tokenizer import CONFIG_LIMIT, TEMPLATE_LIMIT, TokenizerSays, read_tokenizer

FENCE = "```"
FRONT = "---\nlibrary_name: peft\n---\n# An adapter\n"
INTRO = "Below is an instruction that describes a task. Write a response that appropriately completes the request."
AXOLOTL = """<details><summary>See axolotl config</summary>

axolotl version: `0.4.1`
```yaml
base_model: org/base
adapter: lora
{chat}
datasets:
  - path: someone/rows
    type: {type}
```

</details>"""


def of(card: str = "", **others: object) -> tuple[str, str] | None:
    """Format and source of what detection is sure of."""
    found = trained_for(detect(RepoSays(card=FRONT + card, **others)))  # type: ignore[arg-type]
    return (found.format, found.source) if found else None


def code(text: str, language: str = "") -> str:
    return f"{FENCE}{language}\n{text}\n{FENCE}\n"


@pytest.mark.parametrize(
    ("card", "format_"),
    [
        (code(f"{INTRO}\n\n### Instruction:\n{{instruction}}\n\n### Response:"), "alpaca"),
        (code(f'prompt = f"""{INTRO}\n\n### Instruction:\n{{q}}\n\n### Response:"""', "python"), "alpaca_legacy"),
        (code(f'p = """\n{INTRO}\n \n### Instruction:\n[INSTRUCTION]\n \n### Response:\n"""', "python"), "alpaca"),
        (code("### Instruction:\nSay it.\n\n### Input:\n{input}\n\n### Response:\n"), "alpaca_short_input"),
        (code("### Instruction:\n{instruction}\n\n### Response:\n"), "alpaca_short"),
        (code('"### Instruction:\\n"\n    f"{x}\\n\\n### Response:\\n"', "python"), "alpaca_short"),
        (code('text = "<|im_start|>user\\n" + q + "<|im_end|>\\n<|im_start|>assistant\\n"', "python"), "chatml_marks"),
        (code("<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"), "chatml"),
        (
            code("<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
            "chatml",
        ),
        (code("USER: {prompt} ASSISTANT:"), "vicuna"),
        (code("[INST] {prompt} [/INST]"), "llama2"),
        (code("<start_of_turn>user\nHi<end_of_turn>\n<start_of_turn>model\n"), "gemma"),
        (code("### Human: {prompt}\n### Assistant:"), "human_assistant"),
        (code("### Human: {prompt}### Assistant:"), "guanaco"),
        (code("GPT4 Correct User: Hi<|end_of_turn|>GPT4 Correct Assistant:"), "openchat"),
        (code("<human>: {q}\n<bot>:"), "human_bot"),
    ],
)
def test_a_card_that_shows_a_format_is_believed(card: str, format_: str) -> None:
    assert of(card) == (format_.removesuffix("_marks"), "card code")


@pytest.mark.parametrize(
    ("card", "template"),
    [
        (
            code("### Instruction:\nSolve it.\n\n### Problem:\n{question}\n\n### Solution:\n{answer}"),
            "### Instruction:\nSolve it.\n\n### Problem:\n{input}\n\n### Solution:\n",
        ),
        (
            code('f"""Abaixo está uma tarefa.\n\n### Instrução:\n{instruction}\n\n### Resposta:"""', "python"),
            "Abaixo está uma tarefa.\n\n### Instrução:\n{input}\n\n### Resposta:",
        ),
        (code("### Q: {row['question']}\n### A:"), "### Q: {input}\n### A:"),
        (
            code('prompt = f"### Q: {question}\\n### A:"\nprint(model(prompt))', "python"),
            "### Q: {input}\n### A:",
        ),
        (code("const p = `### Q: ${question}\\n### A:`", "js"), "### Q: {input}\n### A:"),
        (code('f"""<s>### Q: {question}\n### A: in {{"a": …}}"""'), '### Q: {input}\n### A: in {"a": …}'),
        (code("<|begin_of_text|>### Q: {question}\n### A:"), "### Q: {input}\n### A:"),
    ],
)
def test_a_template_of_ones_own_is_taken_as_it_stands(card: str, template: str) -> None:
    first = detect(RepoSays(card=card))[0]

    assert (first.format, first.source, first.template) == (OWN, "card code", template)


@pytest.mark.parametrize(
    "card",
    [
        "",
        "A fine adapter. It follows instructions, and gives a response.",
        "We thank the Alpaca and Vicuna teams.",
        "User: What is it?\n\nAssistant: A cat.",
        code("### Instruction: a\n### Context: {context}\n### Question: {question}\n### Response:"),
        code("from peft import PeftModel\nmodel = PeftModel.from_pretrained(base, 'x')", "python"),
        code('x = {"instruction": "…", "input": "…", "output": "…"}', "json"),
        code('### load it\nprint(f"loading {text}")\nmodel.load()', "python"),
        code("#### install {text}\npip install peft", "bash"),
        "The data is in alpaca format.",
    ],
)
def test_a_card_that_says_nothing_gives_nothing(card: str) -> None:
    assert detect(RepoSays(card=FRONT + card)) == ()


@pytest.mark.parametrize(
    ("card", "format_", "source"),
    [
        (AXOLOTL.format(type="alpaca", chat=""), "alpaca", "training config"),
        (AXOLOTL.format(type="alpaca:chat", chat=""), "alpaca_chat", "training config"),
        (AXOLOTL.format(type="chat_template", chat="chat_template: llama3"), "llama3", "training config"),
        (AXOLOTL.format(type="sharegpt", chat="chat_template: chatml"), "chatml", "training config"),
        (AXOLOTL.format(type="chat_template", chat=""), BASE_CHAT, "training config"),
        (AXOLOTL.format(type="chat_template", chat="chat_template: tokenizer_default"), BASE_CHAT, "training config"),
        (code("### method\nstage: sft\nfinetuning_type: lora\ntemplate: llama3", "yaml"), "llama3", "training config"),
        (code("llamafactory-cli train --stage sft --template qwen", "bash"), "qwen2_5", "training config"),
        (
            code('tok = get_chat_template(\n    tok,\n    chat_template = "llama-3.1",\n)'),
            "llama3_1_unsloth",
            "training config",
        ),
        ("## Prompt template: ChatML\n", "chatml", "card words"),
        ("It uses the Alpaca prompt format.", "alpaca", "card words"),
        (code("ids = tokenizer.apply_chat_template(messages)", "python"), BASE_CHAT, "card code"),
    ],
)
def test_what_a_training_tool_or_a_word_says(card: str, format_: str, source: str) -> None:
    assert of(card) == (format_, source)


@pytest.mark.parametrize(
    ("tags", "base", "said"),
    [
        (("llama-factory",), "Qwen/Qwen2.5-7B-Instruct", (BASE_CHAT, "training tool")),
        (("trl", "sft"), "google/gemma-2-9b-it", (BASE_CHAT, "training tool")),
        (("autotrain",), "mistralai/Mistral-7B-Instruct-v0.3", (BASE_CHAT, "training tool")),
        (("unsloth",), "unsloth/llama-3.2-1b-instruct", None),
        (("llama-factory",), "Qwen/Qwen2.5-7B", None),
        ((), "Qwen/Qwen2.5-7B-Instruct", None),
        (("dataset:tatsu-lab/alpaca",), "meta-llama/Llama-2-7b-hf", ("alpaca", "data set")),
        (("dataset:mlabonne/guanaco-llama2-1k",), "meta-llama/Llama-2-7b-hf", ("llama2", "data set")),
        (("dataset:glue",), "gpt2", None),
        (("alpaca",), "gpt2", None),
    ],
)
def test_what_tags_say(tags: tuple[str, ...], base: str, said: tuple[str, str] | None) -> None:
    assert of(tags=tags, base=base) == said


def test_a_chat_template_is_weak_evidence_unless_it_is_not_the_bases() -> None:
    chat, tokenizer = "ann/x-chat", TokenizerSays("{{ its own }}")

    alone = detect(RepoSays(tokenizer=tokenizer, base=chat))[0]
    on_a_plain_base = trained_for(detect(RepoSays(tokenizer=tokenizer, base="ann/x")))
    copied = detect(RepoSays(tokenizer=tokenizer, base=chat, base_chat_template="{{ its own }}\n"))[0]
    other = detect(RepoSays(tokenizer=tokenizer, base=chat, base_chat_template="{{ another }}"))[0]

    assert alone == Evidence(REPO_CHAT, "tokenizer", 0.55, "it has a chat template")
    assert on_a_plain_base is None
    assert copied == Evidence(BASE_CHAT, "tokenizer", 0.5, "its chat template is a copy of the base's")
    assert other == Evidence(REPO_CHAT, "tokenizer", 0.75, "its chat template is not the base's")


def test_a_rendered_chat_template_is_named_where_it_is_known() -> None:
    tokenizer = TokenizerSays("{{ jinja }}")
    chatml = "<|im_start|>user\n{input}<|im_end|>\n<|im_start|>assistant\n"

    known = detect(RepoSays(tokenizer=tokenizer, rendered=chatml))[0]
    own = detect(RepoSays(tokenizer=tokenizer, rendered="Q: {input} A:"))[0]

    assert (known.format, known.template) == ("chatml", "")
    assert (own.format, own.template) == (OWN, "Q: {input} A:")


def test_a_training_config_that_names_the_repos_own_template_names_what_it_renders_to() -> None:
    card = FRONT + AXOLOTL.format(type="chat_template", chat="chat_template: tokenizer_default")
    says = RepoSays(card=card, tokenizer=TokenizerSays("{{ jinja }}"))

    unknown = trained_for(detect(says))
    rendered = detect(replace(says, rendered="Q: {input} A:", stops=("</s>",)))
    copied = trained_for(detect(replace(says, base_chat_template="{{ jinja }}")))

    seen = "axolotl type chat_template, chat_template tokenizer_default"
    assert unknown == Evidence(REPO_CHAT, "training config", 0.95, seen)
    assert rendered == (Evidence(OWN, "training config", 0.95, seen, "Q: {input} A:", ("</s>",)),)
    assert copied == Evidence(BASE_CHAT, "training config", 0.95, seen)


def test_the_surest_comes_first_and_each_format_once() -> None:
    card = AXOLOTL.format(type="alpaca", chat="") + "\nThe ChatML prompt format. Prompt format: Alpaca."

    every = detect(RepoSays(card=card, tags=("dataset:tatsu-lab/alpaca",)))

    assert [(e.format, e.confidence) for e in every] == [("alpaca", 0.95), ("chatml", 0.6)]


def test_an_adapter_that_writes_no_text_has_no_format() -> None:
    assert detect(RepoSays(card=code("[INST] {prompt} [/INST]"), config={"task_type": "SEQ_CLS"})) == ()


def test_what_tokenizer_files_say() -> None:
    config = json.dumps(
        {
            "chat_template": [{"name": "tool", "template": "no"}, {"name": "default", "template": "yes"}],
            "bos_token": {"content": "<s>", "lstrip": False},
            "eos_token": "</s>",
            "pad_token": None,
            "add_bos_token": True,
        }
    )

    assert read_tokenizer(config) == TokenizerSays("yes", {"bos_token": "<s>", "eos_token": "</s>"}, adds_begin=True)
    assert read_tokenizer(config, "jinja").chat_template == "jinja"
    assert read_tokenizer(config, "", '{"chat_template": "json"}').chat_template == "json"


@pytest.mark.parametrize(
    "config",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"chat_template": 1, "bos_token": [], "add_bos_token": "yes"}',
        '{"chat_template": [1, {"name": "default"}]}',
        '{"chat_template": "' + "x" * (TEMPLATE_LIMIT + 1) + '"}',
        '{"bos_token": "' + "x" * 200 + '"}',
        '{"x": "' + "x" * CONFIG_LIMIT + '", "chat_template": "late"}',
        '{"x": ' + "9" * 10_000 + "}",
    ],
)
def test_tokenizer_files_that_are_odd_say_nothing(config: str) -> None:
    assert read_tokenizer(config) == TokenizerSays()


PIECES = (
    *(
        "### Instruction:\n",
        "### Response:",
        "<|im_start|>user\n",
        "<|im_end|>\n",
        "[INST] ",
        " [/INST]",
        "USER: ",
        "{input}",
    ),
    *(
        "```\n",
        '"""',
        "get_chat_template(",
        "chat_template",
        "prompt template: ",
        "\\n",
        '"\n"',
        '"a',
        " 'a\"`b",
        "a.a(",
        "datasets:",
        "type: ",
        "---\n",
    ),
    *("{", "}", "\n", " ", "a"),
)


@pytest.mark.parametrize("piece", PIECES)
def test_a_hostile_card_takes_no_time(piece: str) -> None:
    card = piece * (200_000 // len(piece))
    began = time.thread_time()

    detect(RepoSays(card=card))
    detect(RepoSays(card=f"```python\n{card}"))

    assert time.thread_time() - began < 5


@given(card=st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
def test_whatever_a_card_says_evidence_can_be_used(card: str) -> None:
    for evidence in detect(RepoSays(card=card)):
        assert 0 < evidence.confidence < 1
        assert (evidence.format == OWN) == bool(evidence.template)
        assert evidence.template.count(INPUT) == (evidence.format == OWN)
