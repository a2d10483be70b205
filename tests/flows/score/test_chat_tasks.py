"""A task whose template is `chat`: every base is asked as its own chat template wants it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from catalog.errors import SettingError
from flows.cli.main import cli
from flows.home.home import open_home
from flows.home.parts import ledger_of
from flows.mirror.server import serve_in_thread
from flows.publish.run_record import Run
from flows.stages import crawl, publish, score, validate
from lorauter.engine.chat import chat_as_template
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
        ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "changes the message"),
        ("{% for m in messages %}{{ m['content'] }}{{ m['content'] }}{% endfor %}", "changes the message"),
        ("{input}{% for m in messages %}{{ m['content'] }}{% endfor %}", "changes the message"),
        ("", "no chat template"),
    ],
)
def test_a_template_that_does_not_repeat_the_message_once_is_refused(
    template: str, told: str, tmp_path: Path, tiny_hub_folder: Path
) -> None:
    base = _with_template(shutil.copytree(tiny_hub_folder / BASE, tmp_path / "base"), template)

    with pytest.raises(SettingError, match=told):
        chat_as_template(base)
