"""The crawl with the lowest and the newest huggingface_hub that pyproject allows, each as its users have it."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
RUN = (
    "import huggingface_hub, sys; print(huggingface_hub.__version__);"
    "from flows.cli.main import cli; cli(['crawl', '--base', 'tiny/llama'], standalone_mode=False);"
    "cli(['validate', '--base', 'tiny/llama'], standalone_mode=False)"
)


def allowed() -> tuple[str, str]:
    """The lowest version, and the range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = next(d for d in project["dependencies"] if d.startswith("huggingface_hub"))
    lowest = re.search(r">=([\d.]+)", wanted)
    assert lowest, wanted
    return f"huggingface_hub~={lowest[1]}.0", wanted  # the lowest series as it is served now


@pytest.mark.parametrize("which", ["lowest", "newest"])
def test_the_crawl_runs_with_every_client_we_allow(which: str, tmp_path: Path, tiny_hub: str) -> None:
    wanted = dict(zip(("lowest", "newest"), allowed(), strict=True))[which]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(tmp_path / "client"), wanted]
    installed = subprocess.run(pip, capture_output=True, text=True, check=False)
    if installed.returncode:
        pytest.skip(f"no package registry gives {wanted}: {installed.stderr[-200:]}")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(tmp_path / "client"), str(ROOT)))}
    env |= {"LORAUTER_HOME": str(tmp_path / "home"), "LORAUTER_ENDPOINT": tiny_hub}
    done = subprocess.run(
        [sys.executable, "-c", RUN], env=env, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    version, *told = done.stdout.splitlines()
    assert version.startswith("2.2." if which == "lowest" else "2.")
    assert re.fullmatch(r"\d+ repos listed\.", told[0])
    assert re.fullmatch(r"\d+ adapters seen: 4 admitted, \d+ rejected\.", told[1])


def test_no_private_module_of_the_client_is_imported() -> None:
    """Those change from one release to the next."""
    private = []
    for path in [p for floor in ("catalog", "warehouse", "lorauter", "flows") for p in (ROOT / floor).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            whole = ".".join(names)
            if whole.startswith("huggingface_hub") and re.search(r"\._[^_]", whole):
                private.append((path.name, whole))
    assert private == []
