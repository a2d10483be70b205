"""How a command that works long begins: Ctrl-C ends it at once, and Prefect is there where a flow will run.

Knows: what an interrupted command says, and its exit code. Does not know: commands; imports nothing heavy before one
begins.
"""

from __future__ import annotations

from pathlib import Path

INTERRUPTED = "\nInterrupted. What was finished is kept; run the same command to go on."
INTERRUPTED_CODE = 130


def leave_on_interrupt() -> None:
    """From now on Ctrl-C ends the process and waits for no request on its way: what came back is in the ledger."""
    from flows.prefect_runtime.interrupt import leave_at_once_on_interrupt

    leave_at_once_on_interrupt(INTERRUPTED, INTERRUPTED_CODE)


def begin_with_prefect(root: Path) -> None:
    """Make Prefect ready for a flow on the home `root`, before the flow is imported. Ctrl-C ends at once then, too."""
    from flows.prefect_runtime.setup import prepare_prefect, start_prefect

    leave_on_interrupt()
    prepare_prefect(root)
    start_prefect()
