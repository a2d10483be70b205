"""Programs that are killed: start one, kill -9 it after a while, or let it end; and the frame of a soak.

Knows: processes, their log, a soak's scratch folder and figures. Does not know: what they do.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

Soak = Callable[[Path, argparse.Namespace, random.Random], Mapping[str, Any]]
"""(scratch folder, arguments, chance) → figures; `same` says whether nothing differed."""


def run_soak(parser: argparse.ArgumentParser, soak: Soak) -> None:
    """Run a soak and print its figures; exit code 1 where something differed."""
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="lorauter-soak-"))
    try:
        figures = soak(root, args, random.Random(args.seed))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    print(json.dumps(figures, indent=2))
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")
    sys.exit(0 if figures["same"] else 1)


def killed_after(command: Sequence[str], log: Path, seconds: float) -> bool:
    """Kill a program after some seconds; False where it had ended by then."""
    process = _start(command, log)
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return True
    _check(code, command, log)
    return False


def complete(command: Sequence[str], log: Path) -> None:
    """Let a program end. SystemExit with the end of its log where it fails."""
    _check(_start(command, log).wait(), command, log)


def _start(command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file)


def _check(code: int, command: Sequence[str], log: Path) -> None:
    if code != 0:
        raise SystemExit(f"{' '.join(command)} failed: exit code {code}\n{log.read_text()[-3000:]}")
