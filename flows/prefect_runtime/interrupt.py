"""Ctrl-C during an embedded flow: leave at once. Knows signals and child processes; does not know flows.

The terminal interrupts Prefect's embedded server too, and Prefect would then wait minutes for an answer from it to
record the crash. Nothing needs that: what is finished is on the disk already, whole, as after a kill -9.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType

import psutil

_SHOW_CURSOR = "\x1b[?25h"  # a running progress bar hides it


def leave_at_once_on_interrupt(message: str, exit_code: int) -> None:
    """From now on Ctrl-C ends this process and its children, with a message on stderr and an exit code."""

    def leave(_signal: int, _frame: FrameType | None) -> None:
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # it may have gone by itself
                child.terminate()
        os.write(2, f"{_SHOW_CURSOR if sys.stderr.isatty() else ''}{message}\n".encode())
        os._exit(exit_code)

    signal.signal(signal.SIGINT, leave)
