"""Prefect's own settings for a run without a server, made before prefect is imported.

Knows: which of Prefect's settings keep an embedded run quiet, local and quick. Does not know: flows.
Anything the person has set wins; with PREFECT_API_URL or a profile of their own, only telemetry is off.
"""

from __future__ import annotations

import os
from pathlib import Path

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


def prepare_prefect(home: Path) -> None:
    """Set what is not set. Prefect's database then lies in the home, not in ~/.prefect."""
    for name, value in _ALWAYS.items():
        os.environ.setdefault(name, value)
    if "PREFECT_API_URL" in os.environ or "PREFECT_PROFILE" in os.environ:
        return
    os.environ.setdefault("PREFECT_HOME", str(home / "prefect"))
    for name, value in _EMBEDDED.items():
        os.environ.setdefault(name, value)
