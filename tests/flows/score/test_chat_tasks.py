"""A task whose template is `chat`: every base is asked as its own chat template wants it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from catalog.errors import LorauterError
from flows.cli.main import cli
from flows.home.home import open_home
from flows.home.parts import ledger_of
from flows.mirror.server import serve_in_thread
from flows.publish.run_record import Run
from flows.stages import crawl, publish, score, validate
from lorauter.formats.base_chat import base_chat_format
from warehouse.tasks.folder import stored_tasks

BASE = "tiny/llama"
CHAT = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}{{ '<me>' if add_generation_prompt }}"
PROMPT = "<user>{input}</><me>"


def _with_template(folder: Path, template: str) -> Path:
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), "chat_template": template}))
    return folder


def test_such_a_task_is_scored_and_published_under_the_bases_own_template(
    tmp_path: Path, tiny_hub_folder: Path, tiny_tasks: Path
) -> None:
    hub_folder = shutil.copytree(tiny_hub_folder, tmp_path / "hub")
    _with_template(hub_folder / BASE, CHAT)
    with serve_in_thread(hub_folder) as hub:
        home = open_home(home=tmp_path / "home", endpoint=hub.endpoint, base=BASE)
        add = [
            "tasks",
            "add",
            str(tiny_tasks / "colours" / "validation.jsonl"),
            "--name",
            "colours",
            "--template",
            "chat",
        ]
        added = CliRunner().invoke(cli, ["--home", str(home.root), *add])
        crawl(home)
        base = validate(home).bases[0]
        snapshot = publish(home, base, score(home, base), Run.begin("publish"))

    assert (added.exit_code, [task.template for task in stored_tasks(home.task_folder)]) == (0, ["chat"])
    assert [row["template"] for row in snapshot.read("tasks")] == [PROMPT]
    inputs = [example.input for example in stored_tasks(home.task_folder)[0].validation]
    asked = {row["prompt"] for row in ledger_of(home).read("outputs").to_pylist()}
    assert asked == {PROMPT.replace("{input}", text) for text in inputs}


@pytest.mark.parametrize(
    ("template", "told"),
    [
        (
            "{% for m in messages %}{{ m['content'] | upper }}{% endfor %}",
            "The chat template of tiny/llama cannot be used: it writes the message changed or not at all.",
        ),
        (
            "{input}{% for m in messages %}{{ m['content'] }}{% endfor %}",
            "The chat template of tiny/llama cannot be used: it writes a slot of ours.",
        ),
        ("", "tiny/llama has no chat template."),
    ],
)
def test_a_template_that_does_not_repeat_the_message_once_is_refused(
    template: str, told: str, tmp_path: Path, tiny_hub_folder: Path
) -> None:
    base = _with_template(shutil.copytree(tiny_hub_folder / BASE, tmp_path / "base"), template)

    with pytest.raises(LorauterError) as refused:
        base_chat_format(base, BASE)

    assert refused.value.cause == told


@pytest.mark.parametrize(
    "template",
    [
        "{{ bos_token }}[{{ messages[0]['content'] | trim }}]{{ eos_token }}:{{ pad_token }}",
        "[{{ messages[0]['content'] }}]{{ bos_token }}{{ '>' if add_generation_prompt }}",
    ],
)
@pytest.mark.parametrize("adds", [True, False])
def test_a_prompt_is_what_transformers_makes_of_the_message(
    template: str, adds: bool, tmp_path: Path, tiny_hub_folder: Path
) -> None:
    """But for a begin-of-text token that the tokenizer writes by itself."""
    base = _with_template(shutil.copytree(tiny_hub_folder / BASE, tmp_path / "base"), template)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_special_tokens({"bos_token": "<s>", "pad_token": "<pad>"})
    if adds:
        pair = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)])
        tokenizer.backend_tokenizer.post_processor = pair
    tokenizer.save_pretrained(base)
    messages = [" Why?\n", "a\n\nb", "{input}"]
    asked = [[{"role": "user", "content": message}] for message in messages]
    whole = [tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True) for chat in asked]

    made = base_chat_format(base, BASE)

    assert [made.prompt(message) for message in messages] == [
        text.removeprefix("<s>") if adds else text for text in whole
    ]
