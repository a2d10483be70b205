"""Command lines in processes of their own, which a test may kill at any moment.

They are forked from one that has imported everything, so a command costs what it does and no more. They speak to the
Prefect server of the tests. What they tell on stdout and stderr goes where the forking process's goes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

_FORKS = multiprocessing.get_context("forkserver")
_IMPORTED = ["lorauter.engine.engine", "lorauter.routing.encoder", "sentence_transformers", "warehouse.sql.session"]


def start_command(arguments: Sequence[str], **environment: str) -> BaseProcess:
    """`lorauter ARGUMENTS` as a process that has started."""
    _FORKS.set_forkserver_preload(_IMPORTED)
    process = _FORKS.Process(target=_run, args=(arguments, environment))
    process.start()
    return process


def kill_when(process: BaseProcess, reached: Callable[[], object]) -> bool:
    """Kill -9 a process as soon as something is reached. Returns whether it was still alive then."""
    while process.is_alive() and not reached():
        time.sleep(0.002)
    was_alive = process.is_alive()
    process.kill()
    process.join()
    return was_alive


def ended(process: BaseProcess, seconds: float = 120) -> int | None:
    """The exit code of a process that ends by itself; None if it does not in time."""
    process.join(seconds)
    return process.exitcode


def _run(arguments: Sequence[str], environment: dict[str, str]) -> None:
    os.environ.update(environment)
    sys.argv = ["lorauter", *arguments]
    from flows.cli.main import main

    main()
