"""Prefect's own settings for a run without a server, made before prefect is imported.

Knows: which of Prefect's settings keep an embedded run quiet, local and quick. Does not know: flows.
Anything the person has set wins; with PREFECT_API_URL or a profile of their own, only telemetry is off.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from flows.screen.progress import stage

# After 1,000 task runs on SQLite the recorder's default batch of one stalls the next flow for up to a minute.
_EMBEDDED = {
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_READ_BATCH_SIZE": "200",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
    "PREFECT_CLI_COLORS": "false",
}
_ALWAYS = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}


_OWNER = "LORAUTER_SERVER_OWNER"  # the embedded server inherits it, and so tells whose it is


def prepare_prefect(home: Path) -> None:
    """Set what is not set. Prefect's database then lies in the home, not in ~/.prefect."""
    for name, value in _ALWAYS.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" in os.environ or "PREFECT_PROFILE" in os.environ:
        return
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    _end_orphans(os.environ["PREFECT_HOME"])
    os.environ[_OWNER] = _identity(psutil.Process())
    for name, value in _EMBEDDED.items():
        os.environ.setdefault(name, value)


def start_prefect() -> None:
    """Reach the server, or start the embedded one: up to a quarter of a minute the first time."""
    from prefect.client.orchestration import get_client

    with stage("prefect"), get_client(sync_client=True) as client:
        client.api_version()


def _end_orphans(prefect_home: str) -> None:
    """End embedded servers of this home whose owner was killed: Prefect cannot, and they would hold its database."""
    alive = {_identity(process) for process in psutil.process_iter()}
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except psutil.Error:  # gone by now, or not ours to look at
            continue
        owner = environment.get(_OWNER)
        if owner and owner not in alive and environment.get("PREFECT_HOME") == prefect_home:
            process.terminate()


def _identity(process: psutil.Process) -> str:
    """A process id with its start time: ids come back, the pair does not."""
    try:
        return f"{process.pid}@{process.create_time():.2f}"
    except psutil.Error:
        return ""
