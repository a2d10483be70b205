"""The mirror held against what the real Hub was recorded to answer: one row of hub_facts.toml is one test.

Knows: how a row is asked and compared. Does not know: the facts themselves, nor how the mirror makes its answers.
Asked with the standard library's client: it follows nothing, unpacks nothing and adds nothing but the host.
"""

from __future__ import annotations

import gzip
import hashlib
import http.client
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from flows.mirror.accounts import Account
from flows.mirror.faults import Faults
from flows.mirror.limits import Limits
from flows.mirror.server import HubServer, serve_in_thread

_TABLE = tomllib.loads((Path(__file__).parent / "hub_facts.toml").read_text())
_FIELDS = {"name", "source", "seen", "path", "status"}
_MORE = {"method", "send", "form", "auth", "then", "faults", "spent", "headers", "like", "text", "keys", "json"}
_AUTH = {name: {"Authorization": f"Bearer hf_{name}"} for name in ("owner", "stranger", "wrong", "expired")}
_TOKENS = {
    "hf_owner": Account("acme"),
    "hf_stranger": Account("stranger"),
    "hf_expired": Account("former", token_name="old one"),
}
LONG = json.dumps({f"key {number}": "the same words again" for number in range(200)}).encode()
WEIGHTS = bytes(range(256)) * 40
CARD = "---\r\nbase_model: acme/base\r\nlibrary_name: peft\r\nlicense: mit\r\n---\r\n# Card\r\n"


@dataclass(frozen=True)
class Answer:
    """What came back, with the bytes as they were meant once unpacked."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def header(self, name: str) -> str | None:
        values = self.headers.get_all(name)
        return None if values is None else ", ".join(values)

    def link(self, relation: str) -> str:
        found = re.search(f'<([^>]+)>; rel="{relation}"', self.header("Link") or "")
        assert found, f"no {relation} in Link: {self.header('Link')}"
        return found[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hub's folder: the repos that the rows ask about."""
    folder = tmp_path_factory.mktemp("contract")
    sidecars: dict[str, dict[str, object]] = {
        "one": {"lastModified": "2026-02-01T10:00:00Z"},
        "weights": {},
        "base": {},
        "secret": {"private": True},
        "gated": {"gated": "manual"},
        "automatic": {"gated": "auto"},
        "disabled": {"disabled": True},
        "new-name": {"formerly": ["acme/old-name"]},
    }
    for name, sidecar in sidecars.items():
        root = folder / "acme" / name
        (root / "notes").mkdir(parents=True)
        (root / "adapter_model.safetensors").write_bytes(WEIGHTS)
        (root / "notes/small.txt").write_text("small\n")
        (root / ".hub.json").write_text(json.dumps(sidecar))
        if name not in ("weights", "base"):
            (root / "README.md").write_text(CARD, newline="")
            (root / "long.json").write_bytes(LONG)
            (root / "small.txt").write_text("small\n")
    return folder


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[HubServer]:
    with serve_in_thread(folder, tokens=_TOKENS) as server:
        server.expire_tokens("hf_expired")
        yield server


@pytest.fixture(scope="module")
def commits(hub: HubServer) -> dict[str, str]:
    """The commit of every repo: the mirror makes them up, so nobody else can say."""
    listed = request("GET", f"{hub.endpoint}/api/models?full=true", _AUTH["owner"])
    return {row["id"]: row["sha"] for row in json.loads(listed.body)}


@pytest.fixture
def asked_hub(fact: dict[str, Any], folder: Path, hub: HubServer) -> Iterator[HubServer]:
    """The hub as the row wants it: with its faults, or with a window that one request has emptied."""
    if "spent" in fact:
        with serve_in_thread(folder, limits=Limits(scale=0.0003, window_s=300)) as small:
            ask(small, {"path": fact["path"]}, {})
            yield small
        return
    hub.set_faults(None)
    yield hub
    hub.set_faults(None)


@pytest.mark.parametrize("fact", _TABLE["fact"], ids=[fact["name"] for fact in _TABLE["fact"]])
def test_the_mirror_answers_as_the_hub_was_recorded_to(
    fact: dict[str, Any], asked_hub: HubServer, commits: dict[str, str]
) -> None:
    words = words_of(fact, asked_hub, commits)
    answer = ask(asked_hub, fact, words)
    found = differences(fact, answer, words)
    assert not found, "\n".join([f"{fact['source']}: {fact['seen']}", *found])


def test_every_row_says_where_its_fact_comes_from() -> None:
    rows = _TABLE["fact"]
    bad = [row["name"] for row in rows if not row.keys() >= _FIELDS or row.keys() - _FIELDS - _MORE]
    assert bad == []
    assert {row["source"] for row in rows} <= {"recorded", "documented", "client"}
    assert len({row["name"] for row in rows}) == len(rows)
    assert {group for row in rows for group in row.get("like", ())} <= _TABLE["like"].keys()


def test_a_row_is_told_apart_from_an_answer_that_differs_in_anything() -> None:
    """The comparison itself: status, header, absent header, text, keys and JSON each fail alone."""
    answer = Answer(
        404, headers_of({"X-Error-Code": "EntryNotFound", "Vary": "Origin"}), b'{"error": "no", "more": []}'
    )
    fact = {"status": 404, "headers": {"X-Error-Code": "Entry.+"}, "keys": ["error", "more"], "json": {"error": '"no"'}}
    wrong: list[dict[str, Any]] = [
        {"status": 200},
        {"headers": {"X-Error-Code": "Entry"}},
        {"headers": {"Vary": "absent"}},
        {"headers": {"Link": ".*"}},
        {"text": "no"},
        {"keys": ["error"]},
        {"json": {"error": '"yes"'}},
        {"json": {"more": "absent"}},
        {"json": {"more.0": ".*"}},
    ]
    assert differences(fact, answer, {}) == []
    assert [len(differences(fact | change, answer, {})) for change in wrong] == [1] * len(wrong)


# Asking


def ask(hub: HubServer, fact: Mapping[str, Any], words: Mapping[str, str]) -> Answer:
    """The answer that a row is about: the first one, or that of the address it names."""
    method, auth = fact.get("method", "GET"), _AUTH.get(fact.get("auth", ""), {})
    sent = {name: filled(value, words) for name, value in fact.get("send", {}).items()}
    form = {"Content-Type": "application/x-www-form-urlencoded"} if "form" in fact else {}
    url = hub.endpoint + filled(fact["path"], words)
    then = fact.get("then")
    if then:
        first = request(method if then == "Location" else "GET", url, auth)
        target = first.header("Location") if then == "Location" else first.link(then)
        assert target, f"{first.status} without a Location: {first.body[:200]!r}"
        elsewhere = urlsplit(urljoin(url, target)).netloc != urlsplit(url).netloc
        url, auth = urljoin(url, target), {} if elsewhere else auth
    if "faults" in fact:
        hub.set_faults(Faults(**fact["faults"]))
    return request(method, url, auth | sent | form, fact.get("form"))


def request(method: str, url: str, headers: Mapping[str, str], body: str | None = None) -> Answer:
    at = urlsplit(url)
    wire = http.client.HTTPConnection(at.netloc, timeout=20)
    try:
        wire.request(method, at.path + (f"?{at.query}" if at.query else ""), body, dict(headers))
        answer = wire.getresponse()
        got = answer.read()
    finally:
        wire.close()
    if answer.headers.get("Content-Encoding") == "gzip" and got:
        got = gzip.decompress(got)
    return Answer(answer.status, answer.headers, got)


def words_of(fact: Mapping[str, Any], hub: HubServer, commits: Mapping[str, str]) -> dict[str, str]:
    """What the placeholders of a row stand for; a listing has the commit of the one repo that it names."""
    repo_id = "/".join(fact["path"].removeprefix("/api/models").partition("?")[0].split("/")[1:3])
    return {
        "%sha%": commits.get(repo_id, commits["acme/one"]),
        "%oid%": hashlib.sha1(b"blob %d\0" % len(LONG) + LONG, usedforsecurity=False).hexdigest(),
        "%sha256%": hashlib.sha256(WEIGHTS).hexdigest(),
        "%size%": str(len(WEIGHTS)),
        "%length%": str(len(LONG)),
        "%endpoint%": hub.endpoint,
    }


def filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def headers_of(headers: Mapping[str, str]) -> http.client.HTTPMessage:
    message = http.client.HTTPMessage()
    for name, value in headers.items():
        message[name] = value
    return message


# Comparing


def differences(fact: Mapping[str, Any], answer: Answer, words: Mapping[str, str]) -> list[str]:
    """In what the answer is not what the row says, a line each."""
    groups = [_TABLE["like"][group] for group in fact.get("like", ())]
    forms = {name: form for group in (*groups, fact.get("headers", {})) for name, form in group.items()}
    found = [_differs(name, form, answer.header(name), words) for name, form in forms.items()]
    if answer.status != fact["status"]:
        found.insert(0, f"status: {answer.status}, not {fact['status']}; body {answer.body[:200]!r}")
    if "text" in fact:
        found.append(_differs("text", fact["text"], answer.body.decode("utf-8", "replace"), words))
    if "keys" in fact or "json" in fact:
        found += _json_differences(fact, answer, words)
    return [line for line in found if line]


def _json_differences(fact: Mapping[str, Any], answer: Answer, words: Mapping[str, str]) -> list[str]:
    try:
        told = json.loads(answer.body)
    except ValueError:
        return [f"body: no JSON but {answer.body[:200]!r}"]
    found = []
    if "keys" in fact and sorted(told) != sorted(fact["keys"]):
        found.append(f"keys: {sorted(told)}, not {sorted(fact['keys'])}")
    found += [_differs(path, form, _at(told, path), words) for path, form in fact.get("json", {}).items()]
    return found


def _at(told: Any, path: str) -> str | None:
    """The value at a path of keys and places, as JSON; None where there is none."""
    for word in path.split("."):
        if isinstance(told, list) and word.isdigit() and int(word) < len(told):
            told = told[int(word)]
        elif isinstance(told, dict) and word in told:
            told = told[word]
        else:
            return None
    return json.dumps(told)


def _differs(name: str, form: str, value: str | None, words: Mapping[str, str]) -> str:
    if form == "absent":
        return "" if value is None else f"{name}: {value!r}, where none comes"
    wanted = filled(form, {word: re.escape(text) for word, text in words.items()})
    return "" if value is not None and re.fullmatch(wanted, value) else f"{name}: {value!r}, not {wanted!r}"
