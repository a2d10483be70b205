"""What stays: every command is documented and quick to ask for help, every deployment imports."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest
import yaml

from flows.cli.main import cli

ROOT = Path(__file__).parents[3]
COMMANDS = {
    *(
        "demo",
        "crawl",
        "validate",
        "tasks add",
        "tasks list",
        "tasks formats",
        "tasks remove",
        "score",
        "publish",
        "fit",
        "refresh",
        "why",
        "sql",
    ),
    *("diff", "snapshots list", "snapshots verify", "snapshots rollback", "snapshots prune", "snapshots upload"),
    "report",
    "compact",
    "upgrade",
    *("curate pin", "curate unpin", "curate ban", "curate unban", "curate note", "curate list"),
    *("route", "answer", "feedback", "export", "evaluate", "hub serve", "doctor"),
}


def _commands(group: click.Group, prefix: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", command


def test_the_commands_are_the_promised_ones() -> None:
    assert {name for name, _ in _commands(cli)} == COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_in_the_readme_and_has_help(name: str) -> None:
    command = dict(_commands(cli))[name]

    assert f"lorauter {name}" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert command.help and len(command.help) > 30


def test_help_takes_less_than_half_a_second_of_a_core() -> None:
    """Processor time: the clock on the wall counts what else runs here."""
    times = []
    for _ in range(3):
        command = subprocess.Popen([sys.executable, "-m", "flows.cli", "--help"], stdout=subprocess.DEVNULL)
        _, status, used = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
        assert command.returncode == 0
        times.append(used.ru_utime + used.ru_stime)

    assert min(times) < 0.5


def test_help_imports_nothing_heavy() -> None:
    heavy = ("torch", "prefect", "duckdb", "pyarrow", "pydantic", "rich")
    script = f"import sys, flows.cli.main; print([m for m in {heavy} if m in sys.modules])"

    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)

    assert run.stdout.strip() == "[]"


def test_every_deployment_imports_by_a_dotted_entrypoint() -> None:
    from prefect import Flow

    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]

    entrypoints = [deployment["entrypoint"] for deployment in deployments]
    assert entrypoints == ["flows.refresh.refresh", "flows.score_shards.score_shard", "flows.answer_batch.answer_batch"]
    for entrypoint in entrypoints:
        module, _, name = entrypoint.rpartition(".")
        assert isinstance(getattr(import_module(module), name), Flow)


def test_every_setting_is_in_the_readme() -> None:
    from flows.home.settings import Settings

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    missing = [n for n in Settings.model_fields if f"LORAUTER_{n.upper()}" not in readme]
    assert missing == []


def test_every_list_of_routers_is_whole() -> None:
    from lorauter import routers

    table = re.findall(r"^\| ([\w, ]+?) \|", str(routers.__doc__), re.MULTILINE)[1:]
    document = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/add-a-router.md").read_text("utf-8"), re.MULTILINE)
    readme = (ROOT / "README.md").read_text("utf-8").partition("Routers, for `--router`")[2].partition("\n\n")[0]
    answer = str(cli.commands["answer"].help).partition("Routers: ")[2].partition("\n\n")[0]

    assert sorted(name for row in table for name in row.split(", ")) == sorted(routers.ROUTERS)
    assert sorted(document) == sorted(routers.ROUTERS)
    assert routers.ROUTERS.keys() - set(re.findall(r"`(\w+)`", readme)) == set()
    assert routers.ROUTERS.keys() - set(re.findall(r"\w+", answer)) == set()
