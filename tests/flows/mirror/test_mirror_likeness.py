"""What the mirror shares with the recorded Hub: packing, redirects, refusals and headers, seen on the wire."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import httpx2
import pytest

from catalog.errors import SettingError
from flows.mirror.accounts import Account
from flows.mirror.compression import PACKED_FROM, accepts_gzip
from flows.mirror.likeness import KIND, Likeness
from flows.mirror.server import HubServer, serve_in_thread

LONG = ("A card, long enough to be packed.\r\n" * 60).encode()
SHORT = b"x" * (PACKED_FROM - 1)
WEIGHTS = bytes(range(256)) * 8
LARGE = "/acme/one/resolve/main/model.safetensors"
GZIP, PLAIN = {"Accept-Encoding": "gzip, deflate"}, {"Accept-Encoding": "identity"}


def add_repo(folder: Path, repo: str, **sidecar: object) -> None:
    root = folder / repo
    (root / "sub").mkdir(parents=True)
    (root / "README.md").write_bytes(LONG)
    (root / "sub/a b.json").write_bytes(LONG)
    (root / "short.txt").write_bytes(SHORT)
    (root / "model.safetensors").write_bytes(WEIGHTS)
    (root / ".hub.json").write_text(json.dumps({"lastModified": "2026-01-02T03:04:05.678Z", **sidecar}))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("hub")
    for name in ("one", "two", "three"):
        add_repo(folder, f"acme/{name}")
    add_repo(folder, "acme/new", formerly=["acme/old"])
    add_repo(folder, "ann/private", private=True)
    add_repo(folder, "ann/gated", gated="auto")
    for number, state in enumerate(("disabled", "legal", "gone")):
        add_repo(folder, f"shut/{state}", downloads=number, **{state: True})
    return folder


@pytest.fixture(scope="module")
def hub(folder: Path) -> Iterator[HubServer]:
    with serve_in_thread(folder, tokens={"hf_a": Account("ann")}) as server:
        yield server


def ask(hub: HubServer, path: str, method: str = "GET", **headers: str) -> httpx2.Response:
    return httpx2.request(method, hub.endpoint + path, headers=headers)


def place_of(hub: HubServer, path: str) -> str:
    """Where the Hub sends who asks for a text file."""
    return ask(hub, path).headers["location"]


# Packing


def test_a_text_is_packed_chunked_and_without_a_length(hub: HubServer) -> None:
    with httpx2.Client(base_url=hub.endpoint, headers=GZIP) as client:
        path = place_of(hub, "/acme/one/resolve/main/README.md")
        answer = client.send(client.build_request("GET", path), stream=True)
        packed = b"".join(answer.iter_raw())
    headers = answer.headers
    assert gzip.decompress(packed) == LONG
    assert (headers["content-encoding"], headers["transfer-encoding"]) == ("gzip", "chunked")
    assert "content-length" not in headers
    assert headers["vary"].lower() == "accept-encoding, origin"
    assert re.fullmatch(r'W/"[0-9a-f]{40}"', headers["etag"])
    assert len(packed) < len(LONG)


def test_identity_gets_a_length_and_a_strong_etag(hub: HubServer) -> None:
    path = place_of(hub, "/acme/one/resolve/main/README.md")
    for asked in (PLAIN, {"Accept-Encoding": ""}, {"Accept-Encoding": "gzip;q=0, br"}):
        answer = ask(hub, path, **asked)
        assert (answer.content, answer.headers["content-length"]) == (LONG, str(len(LONG)))
        assert re.fullmatch(r'"[0-9a-f]{40}"', answer.headers["etag"])
        assert "content-encoding" not in answer.headers


def test_a_range_is_ignored_where_gzip_is_accepted(hub: HubServer) -> None:
    path = place_of(hub, "/acme/one/resolve/main/README.md")
    packed = ask(hub, path, Range="bytes=2-5", **GZIP)
    plain = ask(hub, path, Range="bytes=2-5", **PLAIN)
    assert (packed.status_code, packed.content, "content-range" in packed.headers) == (200, LONG, False)
    assert (plain.status_code, plain.content) == (206, LONG[2:6])


def test_a_short_text_and_a_large_file_are_never_packed(hub: HubServer) -> None:
    short = ask(hub, place_of(hub, "/acme/one/resolve/main/short.txt"), **GZIP)
    large = httpx2.get(hub.endpoint + LARGE, headers=GZIP, follow_redirects=True)
    assert [(answer.content, answer.headers["content-length"]) for answer in (short, large)] == [
        (SHORT, str(len(SHORT))),
        (WEIGHTS, str(len(WEIGHTS))),
    ]


@pytest.mark.parametrize("path", ["/api/models?full=true", "/acme/one/raw/main/README.md"])
def test_long_answers_are_packed_whatever_they_are(hub: HubServer, path: str) -> None:
    packed, plain = ask(hub, path, **GZIP), ask(hub, path, **PLAIN)
    assert (packed.headers["content-encoding"], packed.content) == ("gzip", plain.content)
    assert plain.headers["content-length"] == str(len(plain.content))


def test_a_head_of_a_packed_text_has_no_length(hub: HubServer) -> None:
    path = place_of(hub, "/acme/one/resolve/main/README.md")
    packed, plain = ask(hub, path, "HEAD", **GZIP), ask(hub, path, "HEAD", **PLAIN)
    assert ("content-length" in packed.headers, packed.headers["content-encoding"]) == (False, "gzip")
    assert plain.headers["content-length"] == str(len(LONG))


def test_what_is_known_already_is_not_sent_again(hub: HubServer) -> None:
    path = place_of(hub, "/acme/one/resolve/main/README.md")
    etag = ask(hub, path, **PLAIN).headers["etag"]
    answers = [ask(hub, path, **{"If-None-Match": known}, **GZIP) for known in (etag, f'W/{etag}, "else"', '"else"')]
    assert [(answer.status_code, len(answer.content)) for answer in answers] == [(304, 0), (304, 0), (200, len(LONG))]


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("*", True),
        ("x-gzip", True),
        ("gzip;q=0", False),
        ("gzip; q=0.000", False),
        ("identity", False),
        ("notgzip", False),
        ("", False),
    ],
)
def test_who_takes_gzip(header: str, taken: bool) -> None:
    assert accepts_gzip(httpx2.Headers({"Accept-Encoding": header})) is taken  # type: ignore[arg-type]


# Redirects


def test_a_text_file_is_a_relative_redirect_to_its_commit(hub: HubServer) -> None:
    sha = ask(hub, "/api/models/acme/one").json()["sha"]
    path = "/acme/one/resolve/main/sub/a%20b.json"
    get, head = ask(hub, path), ask(hub, path, "HEAD")
    etag = get.headers["x-linked-etag"]
    target = (
        f"/api/resolve-cache/models/acme/one/{sha}/sub%2Fa%20b.json"
        f"?{quote('/acme/one/resolve/main/sub/a b.json', safe='')}=&etag={quote(etag)}"
    )
    assert (get.status_code, get.headers["location"], get.headers["x-repo-commit"]) == (307, target, sha)
    assert get.text == f"Temporary Redirect. Redirecting to {target}"
    assert get.headers["content-type"] == "text/plain; charset=utf-8"
    assert ("etag" in get.headers, "content-disposition" in get.headers) == (False, False)
    assert head.headers["content-disposition"] == "inline; filename*=UTF-8''a%20b.json; filename=\"a b.json\";"
    assert head.headers["content-length"] == str(len(get.content))


def test_the_place_of_a_commit_is_the_resolvers_and_charges_nobody(folder: Path) -> None:
    with serve_in_thread(folder) as hub:
        answer = httpx2.get(f"{hub.endpoint}/acme/one/resolve/main/short.txt", follow_redirects=True)
    hops = [answer.history[0].headers, answer.headers]
    assert [headers["ratelimit"] for headers in hops] == ['"resolvers";r=2999;t=300'] * 2
    assert (hub.counts.api, hub.counts.resolvers, hub.counts.hops) == (0, 1, 1)


@pytest.mark.parametrize(
    ("at", "status"),
    [("main", 400), ("0" * 40, 404), ("0" * 39, 400), ("refs%2Fheads%2Fmain", 400), ("..%2f..%2fetc", 400)],
)
def test_only_a_full_commit_names_a_place(hub: HubServer, at: str, status: int) -> None:
    assert ask(hub, f"/api/resolve-cache/models/acme/one/{at}/README.md").status_code == status


def test_a_large_file_tells_of_xet_and_lies_on_another_host(hub: HubServer) -> None:
    answer = ask(hub, LARGE)
    headers, sha = answer.headers, ask(hub, "/api/models/acme/one").json()["sha"]
    name, other = headers["x-xet-hash"], hub.endpoint.replace("127.0.0.1", "localhost")
    bytes_ = httpx2.get(headers["location"])
    assert answer.status_code == 302
    assert headers["link"] == (
        f'<{hub.endpoint}/api/models/acme/one/xet-read-token/{sha}>; rel="xet-auth", '
        f'<{other}/-/xet/v1/reconstructions/{name}>; rel="xet-reconstruction-info"'
    )
    assert (headers["x-linked-size"], headers["cache-control"]) == (str(len(WEIGHTS)), "no-store")
    assert "etag" not in headers
    assert headers["content-length"] == str(len(answer.content)) != headers["x-linked-size"]
    assert (bytes_.headers["etag"], bytes_.headers["content-type"]) == (f'"{name}"', "application/octet-stream")
    assert not {"x-linked-etag", "x-repo-commit", "link", "ratelimit"} & set(bytes_.headers)


def test_other_capitals_lead_to_the_right_ones(hub: HubServer) -> None:
    answer = ask(hub, "/api/models/ACME/One?expand=sha")
    assert (answer.status_code, answer.headers["location"]) == (307, "/api/models/acme/one?expand=sha")
    assert ask(hub, "/api/models/ANN/Private").status_code == 401


def test_a_renamed_repo_redirects_the_api_the_file_and_the_commit(hub: HubServer) -> None:
    sha = ask(hub, "/api/models/acme/new").json()["sha"]
    asked = ("/api/models/{}", "/{}/resolve/main/README.md", "/api/models/{}/xet-read-token/main")
    asked += (f"/api/resolve-cache/models/{{}}/{sha}/README.md",)
    answers = [ask(hub, path.format("acme/old")) for path in asked]
    assert [(answer.status_code, answer.headers["location"]) for answer in answers] == [
        (307, path.format("acme/new")) for path in asked
    ]


# Refusals


def told(answer: httpx2.Response) -> tuple[int, str | None, str | None]:
    return answer.status_code, answer.headers.get("x-error-code"), answer.headers.get("x-error-message")


def test_a_missing_repo_is_401_without_a_code_in_the_form_of_its_route(hub: HubServer) -> None:
    api, file = ask(hub, "/api/models/acme/nothing"), ask(hub, "/acme/nothing/resolve/main/x.txt")
    assert told(api) == told(file) == (401, None, "Invalid username or password.")
    assert api.headers["www-authenticate"] == 'Bearer realm="Authentication required", charset="UTF-8"'
    assert (api.json(), file.text) == ({"error": "Invalid username or password."}, "Invalid username or password.")
    assert file.headers["content-type"] == "text/plain; charset=utf-8"
    assert told(ask(hub, "/api/models/acme/nothing", Authorization="Bearer hf_a")) == (
        404,
        "RepoNotFound",
        "Repository not found",
    )


def test_a_missing_file_and_revision_are_named(hub: HubServer) -> None:
    file = ask(hub, "/acme/one/resolve/main/none.txt")
    assert told(file) == (404, "EntryNotFound", "Entry not found")
    assert (file.text, file.headers["etag"]) == ("Entry not found", 'W/"f-mY2VvLxuxB7KhsoOdQTlMTccuAQ"')
    assert len(file.headers["x-repo-commit"]) == 40
    assert told(ask(hub, "/api/models/acme/one/revision/bad")) == (404, "RevisionNotFound", "Invalid rev id: bad")
    assert told(ask(hub, "/api/models/acme/one/tree/main/none")) == (
        404,
        "EntryNotFound",
        'none does not exist on "main"',
    )


def test_a_name_from_outside_cannot_break_out_of_a_header(hub: HubServer) -> None:
    answer = ask(hub, "/api/models/acme/one/revision/a%0d%0aSet-Cookie:%20x%F0%9F%94%A5")
    assert told(answer) == (404, "RevisionNotFound", "Invalid rev id: a??Set-Cookie: x?")
    assert "set-cookie" not in answer.headers


def test_what_is_not_everybodys_is_in_no_cache(hub: HubServer) -> None:
    own = {"Authorization": "Bearer hf_a"}
    answers = [ask(hub, f"/ann/{name}/resolve/main/README.md", **own, **PLAIN) for name in ("private", "gated")]
    assert [(answer.status_code, answer.content) for answer in answers] == [(200, LONG)] * 2


def test_a_token_nobody_knows_is_first_of_all_nobody(hub: HubServer) -> None:
    unknown = {"Authorization": "Bearer hf_none"}
    paths = (
        "/ann/private/resolve/main/README.md",
        "/ann/gated/resolve/main/README.md",
        "/acme/one/resolve/main/README.md",
    )
    restricted = (
        "Access to model ann/gated is restricted. You must have access to it and be authenticated to access it."
        " Please log in."
    )
    assert [told(ask(hub, path, **unknown)) for path in paths] == [
        (401, None, "Invalid username or password."),
        (401, "GatedRepo", restricted),
        (401, None, "Invalid credentials in Authorization header"),
    ]


@pytest.mark.parametrize(
    ("likeness", "said"),
    [
        (Likeness(), "Invalid credentials in Authorization header"),
        (Likeness(bad_token="password"), "Invalid username or password."),
    ],
)
def test_an_unknown_token_is_refused_everywhere(folder: Path, likeness: Likeness, said: str) -> None:
    with serve_in_thread(folder, tokens={"hf_a": Account("ann")}, likeness=likeness) as hub:
        answers = [
            ask(hub, path, Authorization="Bearer hf_b") for path in ("/api/models", "/acme/one/resolve/main/README.md")
        ]
    assert [told(answer) for answer in answers] == [(401, None, said)] * 2


def test_a_token_may_expire_in_the_middle(folder: Path) -> None:
    tokens = {"hf_a": Account("ann", token_name="crawler"), "hf_b": Account("ben")}
    with serve_in_thread(folder, tokens=tokens) as hub:
        before = ask(hub, "/api/models", Authorization="Bearer hf_a").status_code
        hub.expire_tokens("hf_a")
        after = ask(hub, "/api/models", Authorization="Bearer hf_a")
        other = ask(hub, "/api/models", Authorization="Bearer hf_b").status_code
        with pytest.raises(SettingError):
            hub.expire_tokens("hf_c")
    assert (before, other) == (200, 200)
    assert told(after) == (401, None, 'User Access Token "crawler" is expired')


def test_closed_repos_are_closed_to_everyone_and_still_listed(hub: HubServer) -> None:
    paths = ("/shut/{}/resolve/main/README.md", "/api/models/shut/{}/xet-read-token/main", "/api/models/shut/{}")
    for state, statuses in (("disabled", [403, 403, 200]), ("legal", [451] * 3), ("gone", [410] * 3)):
        assert [ask(hub, path.format(state)).status_code for path in paths] == statuses
    assert told(ask(hub, "/shut/disabled/resolve/main/README.md")) == (
        403,
        None,
        "Access to this resource is disabled.",
    )
    assert ask(hub, "/api/models/shut/disabled").json()["disabled"] is True
    assert [row["id"] for row in ask(hub, "/api/models?author=shut&sort=downloads").json()] == [
        "shut/gone",
        "shut/legal",
        "shut/disabled",
    ]


def test_a_disabled_repo_may_hide_from_the_anonymous(folder: Path) -> None:
    with serve_in_thread(folder, tokens={"hf_a": Account("ann")}, likeness=Likeness(hides_disabled=True)) as hub:
        path = "/api/models/shut/disabled"
        statuses = [ask(hub, path).status_code, ask(hub, path, Authorization="Bearer hf_a").status_code]
    assert statuses == [401, 200]


# Listings and headers


def test_a_next_page_may_name_the_public_host(folder: Path) -> None:
    with serve_in_thread(folder, likeness=Likeness(public_name="https://hub.example")) as hub:
        links = [
            ask(hub, path).links["next"]["url"]
            for path in ("/api/models?limit=1", "/api/models/acme/one/tree/main?limit=1")
        ]
        rest = ask(hub, links[0].removeprefix("https://hub.example")).json()
    assert [link.startswith("https://hub.example/api/models") for link in links] == [True, True]
    assert len(rest) == 1


def test_dates_have_no_milliseconds(hub: HubServer) -> None:
    assert ask(hub, "/api/models/acme/one").json()["lastModified"] == "2026-01-02T03:04:05.000Z"


def test_ties_are_broken_by_the_inner_id(hub: HubServer) -> None:
    rows = ask(hub, "/api/models?author=acme&sort=downloads").json()
    assert [row["_id"] for row in rows] == sorted(row["_id"] for row in rows)
    assert [row["id"] for row in rows] != sorted(row["id"] for row in rows)


def test_an_empty_field_is_left_out_or_null(folder: Path, hub: HubServer) -> None:
    path = "/api/models/acme/one?expand=pipeline_tag&expand=cardData"
    with serve_in_thread(folder, likeness=Likeness(nulls=True)) as other:
        nulls = ask(other, path).json()
    assert sorted(ask(hub, path).json()) == ["_id", "id"]
    assert (nulls["pipeline_tag"], nulls["cardData"]) == (None, None)
    assert ask(hub, "/api/models/acme/one").json()["model-index"] is None


def test_every_answer_of_the_hub_carries_its_marks(hub: HubServer) -> None:
    for path in ("/api/models", "/acme/one/resolve/main/README.md", "/api/models/acme/nothing"):
        headers = ask(hub, path).headers
        assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};[0-9a-f-]{36}", headers["x-request-id"])
        assert headers["access-control-allow-origin"] == hub.endpoint
        assert headers["access-control-expose-headers"].startswith("X-Repo-Commit,X-Request-Id,X-Error-Code")
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert "text/html" not in headers["content-type"]


def test_nothing_of_a_repo_is_a_page(hub: HubServer) -> None:
    answer = httpx2.get(f"{hub.endpoint}/acme/one/resolve/main/README.md", follow_redirects=True)
    assert answer.content == LONG  # CRLF and all
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_every_likeness_can_be_switched_off(folder: Path) -> None:
    with serve_in_thread(folder, likeness=KIND) as hub:
        card = ask(hub, "/acme/one/resolve/main/README.md", **GZIP)
        large = ask(hub, LARGE).headers
        token = ask(hub, "/api/models/acme/one/xet-read-token/main").status_code
        entries = ask(hub, "/api/models/acme/one/tree/main").json()
    assert (card.status_code, card.headers["content-length"]) == (200, str(len(LONG)))
    assert ("x-xet-hash" in large, "link" in large, token) == (False, False, 404)
    assert not any("xetHash" in entry for entry in entries)
