"""Programs that are killed: start one, kill -9 it after a while, or let it end.

Knows: processes, their log. Does not know: what they do.
"""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path


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
