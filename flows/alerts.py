"""Alerts: a message to a webhook when a refresh or a batch fails or is late, and an end to runs whose machine died.

    ALERT_URL=https://hooks.slack.com/… python -m flows.alerts

Knows: which of a Prefect server's events a person must hear of. Does not know: who listens at the URL.

The message is {"text": …}, which Slack, Mattermost and their like take. The URL is a secret: it comes from the
environment and is kept by the server as one. Lost shards are no alert: they are handed out again.
"""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import Any

from catalog.errors import LorauterError, SettingError

FLOWS = ["refresh", "answer-batch"]
SILENT_AFTER = timedelta(seconds=120)  # four heartbeats, as prefect.yaml sets them
_ENDS = ("Completed", "Failed", "Cancelled", "Crashed", "TimedOut")
_TEXT = '"lorauter: " ~ flow.name ~ " " ~ flow_run.name ~ " is " ~ flow_run.state.name ~ ". " ~ flow_run.state.message'


def main() -> None:
    """Set the alerts of the server that PREFECT_API_URL names; those set before are replaced."""
    url = os.environ.get("ALERT_URL")
    if not url:
        raise SettingError("ALERT_URL is not set.", "Set it to the webhook that alerts go to.")
    from prefect.blocks.webhook import Webhook
    from prefect.events.actions import CallWebhook, ChangeFlowRunState

    webhook = Webhook(url=url).save("lorauter-alerts", overwrite=True)
    payload = '{"text": {{ (' + _TEXT + ") | tojson }}}"
    _set("lorauter: tell of trouble", _trouble(), CallWebhook(block_document_id=webhook, payload=payload))
    ended = ChangeFlowRunState(state="CRASHED", message="Its machine fell silent.", force=True)
    _set("lorauter: end silent runs", _silence(), ended)


def _trouble() -> Any:
    """A run of a flow that people wait for has failed, crashed, or did not start in time."""
    from prefect.events.schemas.automations import EventTrigger

    states = ("Failed", "Crashed", "TimedOut", "Late")
    return EventTrigger(
        expect={f"prefect.flow-run.{state}" for state in states},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related={"prefect.resource.role": "flow", "prefect.resource.name": FLOWS},
    )


def _silence() -> Any:
    """A run that sent heartbeats sends no more, and has not ended."""
    from prefect.events.schemas.automations import EventTrigger, Posture

    return EventTrigger(
        after={"prefect.flow-run.heartbeat"},
        expect={f"prefect.flow-run.{event}" for event in ("heartbeat", *_ENDS)},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        within=SILENT_AFTER,
    )


def _set(name: str, trigger: Any, action: Any) -> None:
    """Create an automation in place of the ones of its name."""
    from prefect.automations import AutomationCore
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for old in client.read_automations_by_name(name):
            client.delete_automation(old.id)
        client.create_automation(AutomationCore(name=name, trigger=trigger, actions=[action]))


if __name__ == "__main__":
    try:
        main()
    except LorauterError as error:
        sys.exit(str(error))
