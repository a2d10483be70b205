"""The house is as it says: what prose names exists, every contract bites, no library's private door is opened."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

HOUSE = Path(__file__).parent.parent
FLOORS = ("catalog", "warehouse", "lorauter", "flows")
TEXTS = ("README.md", "CONTRIBUTING.md", "pyproject.toml", "prefect.yaml")
TOPS = (*FLOORS, "tests", "benchmarks", "docs")
PLACE = re.compile(rf"(?<![\w/.$~-])((?:{'|'.join(TOPS)})(?:/[\w-]+)+(?:\.\w+)*)(?![\w*-])")
MODULE = re.compile(rf"(?<![\w/.$~@:-])((?:{'|'.join(FLOORS)})(?:\.[a-zA-Z_]\w*)+)(?![\w/-])")
# What a reader is to write himself, what lies in other projects, what programs make, groups of entry points.
ELSEWHERE = {
    "lorauter/routers/shared_words.py",
    "docs/features/lora.md",
    "docs/reference/openapi.json",
    "docs/guides/merging_adapters.md",
    "lorauter.toml",
    "catalog.sqlite",
    "warehouse.svg",
    "lorauter.metrics",
    "lorauter.strategies",
    "lorauter.tests",
}
WRONG = {  # the contract that each of these files breaks
    "catalog/adapters/wrong.py": ("four floors, one direction", "import warehouse.storage.url"),
    "catalog/new.py": ("rooms of catalog", ""),
    "warehouse/new.py": ("rooms of warehouse", ""),
    "lorauter/new.py": ("rooms of lorauter", ""),
    "flows/new.py": ("rooms of flows", ""),
    "flows/score/wrong.py": ("a stage knows no home", "import flows.home.home"),
    "catalog/tasks/wrong.py": (
        "no circle among the rooms of a floor, nor among the modules of a room",
        "import catalog.tasks.wrong_too",
    ),
    "catalog/tasks/wrong_too.py": (
        "no circle among the rooms of a floor, nor among the modules of a room",
        "def later() -> None:\n    import catalog.tasks.wrong",
    ),
    "flows/crawl/wrong.py": ("huggingface_hub and its httpx2 belong to catalog.hub", "import huggingface_hub"),
    "warehouse/ledger/wrong.py": ("duckdb belongs to the warehouse's SQL, snapshots and files", "import duckdb"),
    "lorauter/routing/wrong.py": ("pyarrow and fsspec belong to warehouse", "import pyarrow"),
    "warehouse/tasks/wrong.py": ("torch and what is built on it belong to lorauter", "import transformers"),
    "flows/plan/wrong.py": ("click belongs to flows.cli", "import click"),
    "flows/page/wrong.py": ("rich belongs to flows.screen", "from rich.table import Table"),
    "flows/answer/wrong.py": (
        "prefect belongs to the flows' shells, their runtime and the shards' runner",
        "from prefect import flow",
    ),
    "flows/demo/wrong.py": ("starlette and uvicorn belong to flows.mirror", "import starlette"),
    "flows/cli/wrong.py": ("jinja2 and Vega belong to flows.page", "import jinja2"),
    "lorauter/engine/wrong.py": ("settings are read in flows.home", "import pydantic_settings"),
    "flows/crawl/wrong_mirror.py": ("only the command line and the demo know the mirror", "import flows.mirror.server"),
}


def test_whatever_prose_and_programs_call_by_path_or_module_exists() -> None:
    dead = [
        f"{text.relative_to(HOUSE)}:{number}: {name}"
        for text in _texts()
        for number, line in enumerate(text.read_text(encoding="utf-8").splitlines(), 1)
        for name in [*_absent_places(line), *_absent_modules(line)]
    ]

    assert dead == []


def test_a_wrong_import_breaks_the_contract_that_forbids_it(tmp_path: Path) -> None:
    for floor in FLOORS:
        shutil.copytree(HOUSE / floor, tmp_path / floor, ignore=_all_but_modules)
    shutil.copy(HOUSE / "pyproject.toml", tmp_path)
    for name, (_, line) in WRONG.items():
        (tmp_path / name).write_text(f"{line}\n")

    checked = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as lint; lint()", "--no-cache"],
        check=False,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path), "COLUMNS": "200"},
        capture_output=True,
        text=True,
    )

    broken = re.findall(r"^(.+) BROKEN", checked.stdout, re.MULTILINE)
    assert sorted(broken) == sorted({contract for contract, _ in WRONG.values()}), checked.stderr


def test_every_contract_is_broken_by_some_wrong_import_above() -> None:
    contracts = tomllib.loads((HOUSE / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

    assert {contract["name"] for contract in contracts} == {contract for contract, _ in WRONG.values()}


def test_catalog_opens_no_private_door_of_huggingface_hub() -> None:
    doors = {
        (module.relative_to(HOUSE).as_posix(), f"{door}.{name}")
        for module in sorted((HOUSE / "catalog").rglob("*.py"))
        for door, name in _imported(module)
        if door.startswith("huggingface_hub")
    }

    private = {(module, door) for module, door in doors if any(part.startswith("_") for part in door.split("."))}
    deep = {(module, door) for module, door in doors if door.count(".") > 2}
    assert (private, deep) == (set(), set())
    assert doors


def _texts() -> Iterator[Path]:
    for folder in TOPS:
        for path in sorted((HOUSE / folder).rglob("*")):
            if path.suffix in (".py", ".md", ".toml") and path.is_file() and path != Path(__file__):
                yield path
    yield from (HOUSE / name for name in TEXTS)


def _absent_places(line: str) -> Iterator[str]:
    for name in PLACE.findall(line):
        if name not in ELSEWHERE and not (HOUSE / name).exists() and not (HOUSE / f"{name}.py").exists():
            yield name


def _absent_modules(line: str) -> Iterator[str]:
    for name in MODULE.findall(line):
        if name not in ELSEWHERE and not _is_known(name):
            yield name


def _is_known(name: str) -> bool:
    """Whether a dotted name is a module, or the text of its module has the name that follows."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        folder = HOUSE.joinpath(*parts[:length])
        for module in (folder.with_suffix(".py"), folder / "__init__.py"):
            if module.is_file():
                rest = parts[length : length + 1]
                return all(one.startswith("__") or re.search(rf"\b{one}\b", module.read_text()) for one in rest)
    return False


def _all_but_modules(folder: str, names: list[str]) -> set[str]:
    return {name for name in names if not name.endswith(".py") and not (Path(folder) / name).is_dir()}


def _imported(module: Path) -> Iterator[tuple[str, str]]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
