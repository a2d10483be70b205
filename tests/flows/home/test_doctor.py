"""The doctor: one request of each kind, told in words."""

from __future__ import annotations

import re
from pathlib import Path

from flows.home.home import open_home
from flows.mirror.accounts import Account
from flows.mirror.likeness import KIND
from flows.mirror.server import serve_in_thread
from flows.stages import examine

BASE = "tiny/llama"
ASKED = ("token", "listing", "text", "weights", "windows")


def told(tmp_path: Path, endpoint: str, **settings: str) -> dict[str, tuple[bool, str]]:
    """What is said of the hub, sizes and ports left out."""
    checks = examine(open_home(home=tmp_path, endpoint=endpoint, base=BASE, **settings))
    plain = {check.name: (check.fine, re.sub(r":\d{4,5}|\d[\d,]* bytes", "", check.said)) for check in checks}
    return {name: plain[name] for name in ASKED}


def test_one_request_of_each_kind_is_told_in_words(tmp_path: Path, tiny_hub: str) -> None:
    assert told(tmp_path, tiny_hub) == {
        "token": (True, "anonymous"),
        "listing": (True, "http://127.0.0.1 lists 26 repos for tiny/llama on the first page, no further page"),
        "text": (
            True,
            "tiny/llama/tokenizer.json:  read, redirected to /api/resolve-cache, packed as gzip, without a length",
        ),
        "weights": (
            True,
            "tiny/llama/model.safetensors: a header of , read by range, redirected to the file host localhost;"
            " Xet is offered, and not used",
        ),
        "windows": (True, "api 497 of 500, resolvers 2,998 of 3,000 requests left"),
    }


def test_a_plain_hub_is_told_as_such(tmp_path: Path, tiny_hub_folder: Path) -> None:
    with serve_in_thread(tiny_hub_folder, likeness=KIND) as hub:
        said = told(tmp_path, hub.endpoint)
    assert said["text"] == (True, "tiny/llama/tokenizer.json:  read, without a redirect, plain, with its length")


def test_a_dead_token_fails_every_look_at_the_hub(tmp_path: Path, tiny_hub_folder: Path) -> None:
    with serve_in_thread(tiny_hub_folder, tokens={"hf_ann": Account("ann")}) as hub:
        hub.expire_tokens("hf_ann")
        said = told(tmp_path, hub.endpoint, token="hf_ann")
    cause = "http://127.0.0.1 refused the token: it has expired. Set LORAUTER_TOKEN to a valid one, or unset it."
    assert {said[name] for name in ("token", "listing", "text", "weights")} == {(False, cause)}


def test_a_new_home_is_not_called_an_old_one(tmp_path: Path, tiny_hub: str) -> None:
    checks = examine(open_home(home=tmp_path / "new", endpoint=tiny_hub, base=BASE))
    assert checks[0].said == str(tmp_path / "new")
