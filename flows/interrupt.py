"""Ctrl-C during an embedded flow: leave at once. Knows signals and child processes; does not know flows.

The terminal interrupts Prefect's embedded server too, and Prefect would then wait minutes for an answer from it to
record the crash. Nothing needs that: what is finished is on the disk already, whole, as after a kill -9.
"""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

import psutil

MESSAGE = "\nInterrupted. What was finished is kept; run the same command to go on.\n"
EXIT_CODE = 130
_SHOW_CURSOR = "\x1b[?25h"  # a running progress bar hides it


def leave_at_once_on_interrupt() -> None:
    """From now on Ctrl-C ends this process and its children, with a word and exit code 130."""
    signal.signal(signal.SIGINT, _leave)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    for child in psutil.Process().children(recursive=True):
        try:
            child.terminate()
        except psutil.Error:  # it has gone by itself
            continue
    os.write(2, ((_SHOW_CURSOR if sys.stderr.isatty() else "") + MESSAGE).encode())
    os._exit(EXIT_CODE)
