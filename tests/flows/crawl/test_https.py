"""The whole way by https, as to the real Hub: the client reads some refusals otherwise from such an address."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from flows.home.home import open_home
from flows.home.parts import ledger_of
from flows.mirror.accounts import Account
from flows.mirror.server import HubServer, serve_in_thread

BASE = "tiny/llama"


@dataclass(frozen=True)
class Served:
    """A mirror by https, and how a program is told to trust it."""

    hub: HubServer
    env: dict[str, str]

    def run(self, *words: str, token: str = "") -> tuple[int, str, str]:
        """A command of ours: exit code, stdout, stderr."""
        env = {**os.environ, **self.env} | ({"LORAUTER_TOKEN": token} if token else {})
        command = [sys.executable, "-c", "from flows.cli.main import main; main()", *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


@pytest.fixture
def served(tmp_path: Path, tiny_hub_folder: Path) -> Iterator[Served]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1", "localhost").private_key_and_cert_chain_pem.write_to_path(tmp_path / "mirror.pem")
    tokens = {"hf_ann": Account("ann")}
    with serve_in_thread(tiny_hub_folder, tokens=tokens, certificate=tmp_path / "mirror.pem") as hub:
        env = {"SSL_CERT_FILE": str(tmp_path / "ca.pem"), "LORAUTER_HOME": str(tmp_path / "home")}
        yield Served(hub, env | {"LORAUTER_ENDPOINT": hub.endpoint, "LORAUTER_BASE": BASE})


def test_sound_adapters_are_admitted(served: Served) -> None:
    crawled = served.run("crawl")
    judged = served.run("validate")
    assert served.hub.endpoint.startswith("https://")
    assert crawled[:2] == (0, "26 repos listed.\n")
    assert judged[:2] == (0, "26 adapters seen: 4 admitted, 22 rejected.\n"), judged[2]


def test_a_dead_token_ends_the_run_and_no_repo_is_buried(served: Served, tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("ann/colours\nbob/animals\n")
    before = served.run("crawl", "--repos", str(tmp_path / "ids.txt"), token="hf_ann")
    served.hub.expire_tokens("hf_ann")
    after = served.run("crawl", "--repos", str(tmp_path / "ids.txt"), token="hf_ann")
    rows = ledger_of(open_home(home=tmp_path / "home")).current("repos")
    assert before[:2] == (0, "2 repos listed.\n")
    assert (after[0], after[1]) == (1, "")
    assert f"{served.hub.endpoint} refused the token" in after[2] and "Set LORAUTER_TOKEN" in after[2]
    assert "hf_ann" not in after[2]
    assert {row["repo"]: row["gone"] for row in rows} == {"ann/colours": None, "bob/animals": None}
