"""Heartbeats: whoever lives is seen to change, whoever was killed is not, in a folder and in a bucket."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from warehouse.plans import heartbeat
from warehouse.plans.heartbeat import beating, heartbeat_name, heartbeats
from warehouse.storage.opening import open_storage
from warehouse.storage.storage import Storage

NAME = heartbeat_name("plan", 7)
BEATS = """
import sys, time
from pathlib import Path
from warehouse.plans import heartbeat
from warehouse.storage.opening import open_storage

heartbeat.BEAT_S = 0.2
with heartbeat.beating(open_storage(sys.argv[1], Path(sys.argv[2])), sys.argv[3]):
    time.sleep(100)
"""


@pytest.fixture(params=["folder", "s3"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "plans") if request.param == "folder" else f"{request.getfixturevalue('s3_bucket')}/plans"


def changes(plans: Storage, seconds: float) -> bool:
    """Whether the beat changes within some seconds."""
    first, deadline = heartbeats(plans).get(NAME), time.monotonic() + seconds
    while time.monotonic() < deadline:
        if heartbeats(plans).get(NAME) != first:
            return True
        time.sleep(0.1)
    return False


def test_a_process_that_is_killed_falls_silent(where: str, tmp_path: Path) -> None:
    plans = open_storage(where, tmp_path / "cache")
    process = subprocess.Popen([sys.executable, "-c", BEATS, where, str(tmp_path / "other"), NAME])
    try:
        appears, lives = changes(plans, 30), changes(plans, 5)
    finally:
        process.kill()
        process.wait()
    assert (appears, lives, changes(plans, 1)) == (True, True, False)
    assert set(heartbeats(plans)) == {NAME}, "its last beat stays"


def test_a_disk_that_fails_for_a_while_silences_nobody_for_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.05)
    folder = tmp_path / "plans"
    plans = open_storage(str(folder), tmp_path / "cache")
    with beating(plans, NAME):
        assert changes(plans, 5)
        folder.rename(tmp_path / "away")
        folder.write_text("no folder")  # every touch fails: not a directory
        time.sleep(0.3)
        folder.unlink()
        (tmp_path / "away").rename(folder)

        assert changes(plans, 5)


def test_the_beat_is_gone_when_the_work_is_done(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_S", 0.2)
    plans = open_storage(where, tmp_path / "cache")
    with beating(plans, NAME):
        assert changes(plans, 5)
    assert heartbeats(plans) == {}
