"""tests/plugin, installed as its user would: its router, gate, composition, metric and strategy by name, in a process
that has it; and what a process says that has it not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from catalog.errors import SettingError
from flows.home.home import Home, open_home
from flows.home.parts import ledger_of
from flows.mirror.server import serve_in_thread
from lorauter.compositions import read_spelled
from lorauter.gates.named import read_spelled as read_gate
from warehouse.queries.queries import read_queries
from warehouse.snapshots.snapshot import current_snapshot
from warehouse.tasks.folder import store_task, stored_tasks

ROOT = Path(__file__).parents[2]
BASE = "tiny/llama"
PACKAGE = "tiny-plugin 1.0"
COMMANDS = {
    "built in": "route 'Which pet barks?'",
    "taken": "route 'Which pet barks?' --router first_word",
    "broken": "route x --router missing",
    "unknown": "route x --router second_word",
    "help": "answer --help",
    "router": "route 'Which pet barks?' --router first_word --format json",
    "composition": "answer --in OUT/q.jsonl --out OUT/composed.parquet --compose heaviest_two",
    "gate": "answer --in OUT/q.jsonl --out OUT/gated.parquet --router even",
    "evaluate": "evaluate --routers first_word,even --settings non-ood --items 1 --json - --out OUT/evaluation",
    "strategy": "score --strategy first_three",
    "doctor": "doctor",
}
RUN = """
import io, json, shlex, sys
from contextlib import redirect_stderr, redirect_stdout
from flows.cli.main import main

told = {}
for name, words in json.loads(sys.stdin.read()).items():
    sys.argv, code = ["lorauter", *shlex.split(words)], 0
    with redirect_stdout(io.StringIO()) as out, redirect_stderr(io.StringIO()) as err:
        try:
            main()
        except SystemExit as end:
            code = end.code
    told[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
print(json.dumps(told), file=sys.__stdout__)
"""


@dataclass(frozen=True)
class Ran:
    """What a command said, and how it ended."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, refreshed: Path) -> Home:
    """A home with a published snapshot; one of its tasks is scored by the package's metric."""
    root = shutil.copytree(refreshed, tmp_path_factory.mktemp("home") / "home", symlinks=True)
    home = open_home(home=root, base=BASE)
    task = next(task for task in stored_tasks(home.task_folder) if task.name == "colours")
    store_task(home.task_folder, replace(task, metric="same_length"))
    query = {"input": "Which pet barks?", "target": "x", "metric": "same_length", "max_new_tokens": 3}
    (root / "q.jsonl").write_text(json.dumps(query) + "\n")
    return home


@pytest.fixture(scope="module")
def ran(home: Home, tiny_hub_folder: Path, install_package: Callable[[Path], Path]) -> dict[str, Ran]:
    """COMMANDS, one after the other in one process that has the package."""
    paths = os.pathsep.join([str(install_package(ROOT / "tests/plugin")), str(ROOT)])
    commands = {name: words.replace("OUT", str(home.root)) for name, words in COMMANDS.items()}
    with serve_in_thread(tiny_hub_folder) as hub:
        settings = {"LORAUTER_HOME": str(home.root), "LORAUTER_BASE": BASE, "LORAUTER_ENDPOINT": hub.endpoint}
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            env={**os.environ, "PYTHONPATH": paths, **settings},
            input=json.dumps(commands),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return {name: Ran(**told) for name, told in json.loads(done.stdout).items()}


def test_a_packages_router_routes(ran: dict[str, Ran], home: Home) -> None:
    told = json.loads(ran["router"].out)

    best = {row["task"]: row["adapter"] for row in current_snapshot(home.snapshots).read("best")}
    assert (told["router"], told["tasks"][0]["task"], told["confidence"]) == ("first_word", "animals", 1.0)
    assert [one["adapter"] for one in told["adapters"]] == [best["animals"]]


def test_a_packages_composition_answers_and_is_stored_under_its_name(ran: dict[str, Ran], home: Home) -> None:
    (row,) = pq.read_table(home.root / "composed.parquet").to_pylist()

    assert (ran["composition"].code, row["error"], row["score"] in (0.0, 1.0)) == (0, None, True)
    assert json.loads(row["composition"]) == ["heaviest_two", {**DEFAULTS, "package": PACKAGE}]
    assert row["composition"] in {stored["composition"] for stored in ledger_of(home).current("outputs")}


DEFAULTS = {"density": 0.5, "majority": "total", "seed": 0}


def test_a_packages_gate_answers_and_is_stored_under_its_name(ran: dict[str, Ran], home: Home) -> None:
    (row,) = pq.read_table(home.root / "gated.parquet").to_pylist()

    assert (ran["gate"].code, row["error"], row["router"]) == (0, None, "even")
    assert {one["weight"] for one in row["adapters"]} == {None}
    assert json.loads(row["composition"]) == ["gate:even", {"package": PACKAGE}]
    assert row["composition"] in {stored["composition"] for stored in ledger_of(home).current("outputs")}


def test_a_packages_router_gate_metric_and_composition_are_evaluated(ran: dict[str, Ran]) -> None:
    report = json.loads(ran["evaluate"].out)

    systems = {(line["router"], line["composition"]) for line in report["systems"]}
    assert systems == {("oracle", "mixture"), ("first_word", "heaviest_two"), ("even", "mixture")}
    assert {task["metric"] for task in report["tasks"].values()} == {"same_length", "exact_match"}


def test_a_packages_strategy_scores(ran: dict[str, Ran], home: Home) -> None:
    races = {row["task"] for row in ledger_of(home).current("rungs") if row["why"] == "three examples were met"}

    assert (ran["strategy"].code, races) == (0, {"animals", "colours", "compass"})


def test_help_and_errors_list_what_packages_bring(ran: dict[str, Ran]) -> None:
    told, refused = " ".join(ran["help"].out.split()), ran["unknown"].err.strip()

    assert "[from packages: even, first_word, lorauter, missing]" in told
    assert "[from packages: heaviest_two]" in told
    assert refused.startswith("Error: There is no router 'second_word'. Choose one of: lorauter, discriminant, ")
    assert refused.endswith(", even, first_word, missing.")


def test_a_name_that_is_taken_and_one_that_does_not_load_are_told(ran: dict[str, Ran]) -> None:
    assert (ran["built in"].code, ran["built in"].out != "", PACKAGE in ran["built in"].err) == (0, True, False)
    assert (ran["taken"].code, TAKEN in ran["taken"].err) == (0, True)
    assert (ran["broken"].code, ran["broken"].err.strip()) == (1, BROKEN)
    assert f"FAIL packages: {TAKEN}" in ran["doctor"].out.splitlines()


TAKEN = (
    "The router 'lorauter' of tiny-plugin 1.0 (entry point tiny_plugin:FirstWord) is passed over: something else has "
    "that name. Its author must choose another, or uninstall it: pip uninstall tiny-plugin."
)
BROKEN = (
    "Error: The router 'missing' of tiny-plugin 1.0 (entry point tiny_plugin_that_is_not_there:router) does not load "
    "(ModuleNotFoundError: No module named 'tiny_plugin_that_is_not_there'). Update the package or mend it, or "
    "uninstall it: pip uninstall tiny-plugin."
)


def test_a_machine_without_the_package_refuses_what_was_planned_with_it() -> None:
    gate = json.dumps(["gate:even", {"package": PACKAGE}])
    composition = json.dumps(["heaviest_two", {**DEFAULTS, "package": PACKAGE}])
    told = r"was planned as tiny-plugin 1\.0 brings it, and is not installed here\. Install the same packages"

    with pytest.raises(SettingError, match=f"The gate 'even' {told}"):
        read_gate(gate, ["a@1"])
    with pytest.raises(SettingError, match=f"The composition 'heaviest_two' {told}"):
        read_spelled(composition)


def test_a_row_with_a_metric_that_is_not_here_is_at_fault_alone(tmp_path: Path) -> None:
    queries = tmp_path / "q.jsonl"
    queries.write_text('{"input": "x", "metric": "same_length"}\n{"input": "x"}\n')

    faults = [query.fault.partition(": use one of ")[0] for query in read_queries(queries)]

    assert faults == ["row 1: field metric is 'same_length'", ""]
