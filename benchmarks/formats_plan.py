"""The formats pool as it is planned: which task each adapter learns, in which prompt format, how its repo says so.

Knows: tasks, formats, cards, tokenizer files. Does not know: training (formats_pool), detection and scores (formats).

Every card is true as far as it goes. The ways are those that real repos have: code, words, a training tool's config, a
data set, a chat template beside the weights; one repo carries the base's own chat template, which nobody trained with,
and two say nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from catalog.adapters.card import CARD_NAME
from catalog.formats.format import INPUT, PromptFormat, of_template
from catalog.formats.table import format_named
from catalog.tasks.task import Task
from flows.demo.base import BASE_ID
from flows.demo.build_pool import DECLARED
from lorauter.train.adapters import Recipe

QUESTION_ANSWER = "question_answer"
"""A format of one's own, which no table holds."""
COPIED = "a copy of the base's chat template"
TEMPLATE_FILE = "chat_template.jinja"
_OWN_FORMATS = {QUESTION_ANSWER: "### Question: {input}\n### Answer:"}
_TASKS = {recipe.tasks[0]: recipe for recipe in DECLARED}
_CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '</s>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}"
)
_CHAT_TEMPLATES = {"chatml": _CHATML, "zephyr": _ZEPHYR}


@dataclass(frozen=True, slots=True)
class Trained:
    """One adapter.

    Args:
        task: the demo's task that it learns.
        format: the prompt format it is trained in: a name of the table, or QUESTION_ANSWER.
        way: how its repo says so; a name of WAYS, or COPIED.
    """

    task: str
    format: str
    way: str

    @property
    def name(self) -> str:
        """Id of its repo; it tells nothing of the format."""
        return f"formats/{self.task.replace('_', '-')}"

    @property
    def truth(self) -> PromptFormat:
        """The format it is trained in."""
        own = _OWN_FORMATS.get(self.format)
        return of_template(own, self.format) if own else format_named(self.format)

    @property
    def recipe(self) -> Recipe:
        """The task's declared adapter, on fewer examples in smaller steps: enough to tell formats apart."""
        return replace(_TASKS[self.task], name=self.name, subfolder="", examples=120, batch_size=8, epochs=3)


@dataclass(frozen=True, slots=True)
class Said:
    """What a repo says.

    Args:
        body: text of the card.
        front: further lines of its front matter.
        files: further files by name.
    """

    body: str = ""
    front: str = ""
    files: tuple[tuple[str, str], ...] = ()


def _code(one: Trained) -> Said:
    template = one.truth.template().replace(INPUT, "{question}")
    code = f'PROMPT = """{template}"""\nprompt = PROMPT.format(question=question)\n'
    return Said(f"How to ask it:\n\n```python\n{code}```\n")


def _text(one: Trained) -> Said:
    prompt = one.truth.template().replace(INPUT, "the question")
    return Said(f"A prompt looks like this: {prompt} and the answer follows.\n")


def _words(one: Trained) -> Said:
    spoken = {"llama2": "Llama 2 chat"}.get(one.format, one.format)
    return Said(f"It was trained with the {spoken} prompt.\n")


def _axolotl(one: Trained) -> Said:
    return Said(
        "The run as an axolotl config:\n\n"
        f"```yaml\nbase_model: {BASE_ID}\nadapter: lora\nchat_template: {one.format}\n"
        f"datasets:\n  - path: {one.task}.jsonl\n    type: chat_template\n```\n"
    )


def _llama_factory(one: Trained) -> Said:
    return Said(
        "The run as a LLaMA-Factory config:\n\n"
        f"```yaml\nstage: sft\nfinetuning_type: lora\ndataset: {one.task}\ntemplate: {one.format}\n```\n"
    )


def _unsloth(one: Trained) -> Said:
    return Said(
        "To ask it with Unsloth:\n\n```python\nfrom unsloth.chat_templates import get_chat_template\n\n"
        f'tokenizer = get_chat_template(tokenizer, chat_template = "{one.format}")\n```\n'
    )


def _tokenizer_config(one: Trained) -> Said:
    fields = {"bos_token": "<|im_start|>", "chat_template": _CHAT_TEMPLATES[one.format], "eos_token": "<|im_end|>"}
    return Said(files=(("tokenizer_config.json", json.dumps(fields, indent=1) + "\n"),))


def _jinja(one: Trained) -> Said:
    return Said(files=((TEMPLATE_FILE, _CHAT_TEMPLATES[one.format]),))


def _data_set(one: Trained) -> Said:
    name = {"guanaco": "timdettmers/openassistant-guanaco"}[one.format]
    return Said("The rows are our own, laid out like those of the data set named above.\n", f"datasets:\n- {name}\n")


def _nothing(one: Trained) -> Said:
    return Said()


WAYS: Mapping[str, Callable[[Trained], Said]] = {
    "card code": _code,
    "card text": _text,
    "card words": _words,
    "axolotl config": _axolotl,
    "LLaMA-Factory config": _llama_factory,
    "Unsloth call": _unsloth,
    "tokenizer_config.json": _tokenizer_config,
    "chat_template.jinja": _jinja,
    "data set": _data_set,
    "nothing": _nothing,
    COPIED: _nothing,
}

PLAN = (
    Trained("thing_kind", "alpaca", "card code"),
    Trained("dish_review", "alpaca", COPIED),
    Trained("ticket_urgency", "chatml", "axolotl config"),
    Trained("phrase_language", "chatml", "tokenizer_config.json"),
    Trained("noun_plural", "llama2", "card text"),
    Trained("verb_past", "llama2", "card words"),
    Trained("queue_first", "vicuna", "card code"),
    Trained("queue_last", "vicuna", "LLaMA-Factory config"),
    Trained("parcel_sender", "gemma", "Unsloth call"),
    Trained("parcel_recipient", "gemma", "nothing"),
    Trained("invoice_price", "zephyr", "chat_template.jinja"),
    Trained("day_after", "zephyr", "nothing"),
    Trained("formal_letter", QUESTION_ANSWER, "card code"),
    Trained("record_sentence", "guanaco", "data set"),
)


def files_of(one: Trained, task: Task, base_chat_template: str) -> dict[str, str]:
    """Name → text of the files beside the weights: the card, and what the way adds."""
    said = WAYS[one.way](one)
    copied = {TEMPLATE_FILE: base_chat_template} if one.way == COPIED else {}
    card = (
        f"---\nbase_model: {BASE_ID}\nlibrary_name: peft\nlicense: apache-2.0\npipeline_tag: text-generation\n"
        f"{said.front}tags:\n- lora\n---\n# {one.name.split('/')[1]}\n\n"
        f"A LoRA adapter for `{BASE_ID}`, trained on synthetic examples of\n\n- `{task.name}`: {task.description}\n\n"
        f"{said.body}"
    )
    return {CARD_NAME: card, **dict(said.files), **copied}
