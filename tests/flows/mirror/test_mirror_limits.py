"""The limits of the mirror: windows, what is told of them, and who spends from which."""

from __future__ import annotations

import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils._http import RateLimitInfo, parse_ratelimit_headers

from catalog.errors import SettingError
from flows.mirror.accounts import Account
from flows.mirror.limits import Limits, Plan, Ticket, Windows
from flows.mirror.server import HubServer, serve_in_thread


def add_repo(folder: Path) -> None:
    root = folder / "acme/one"
    root.mkdir(parents=True)
    (root / "README.md").write_text("# Card\n")


def get(hub: HubServer, path: str, **headers: str) -> httpx2.Response:
    return httpx2.get(hub.endpoint + path, headers=headers, follow_redirects=True)


def test_every_answer_tells_what_is_left(tmp_path: Path) -> None:
    add_repo(tmp_path)
    with serve_in_thread(tmp_path, tokens={"hf_pro": Account("pro", "pro")}) as hub:
        anonymous = get(hub, "/api/models").headers
        pro = get(hub, "/api/models", Authorization="Bearer hf_pro").headers
        file = get(hub, "/acme/one/resolve/main/README.md").headers
    assert anonymous["ratelimit"] == '"api";r=499;t=300'
    assert anonymous["ratelimit-policy"] == '"fixed window";"api";q=500;w=300'
    assert pro["ratelimit"] == '"api";r=2499;t=300'
    assert file["ratelimit"] == '"resolvers";r=2999;t=300'


@pytest.mark.parametrize(
    ("plan", "api", "resolvers"), [("anonymous", 500, 3_000), ("free", 1_000, 5_000), ("pro", 2_500, 12_000)]
)
def test_the_quotas_are_those_the_hub_documents(tmp_path: Path, plan: Plan, api: int, resolvers: int) -> None:
    add_repo(tmp_path)
    sent = {} if plan == "anonymous" else {"Authorization": "Bearer hf_x"}
    with serve_in_thread(tmp_path, tokens={"hf_x": Account("ann", plan)}) as hub:
        paths = ("/api/models/acme/one", "/acme/one/resolve/main/README.md")
        told = [parse_ratelimit_headers(get(hub, path, **sent).headers) for path in paths]
    assert told == [
        RateLimitInfo("api", api - 1, 300, api, 300),
        RateLimitInfo("resolvers", resolvers - 1, 300, resolvers, 300),
    ]


def test_a_spent_window_is_429_until_it_resets(tmp_path: Path) -> None:
    add_repo(tmp_path)
    with serve_in_thread(tmp_path, limits=Limits(scale=0.002, window_s=1.0)) as hub:
        api = HfApi(endpoint=hub.endpoint, token=False)
        api.model_info("acme/one")
        with pytest.raises(HfHubHTTPError) as refused:
            api.model_info("acme/one")
        time.sleep(1.1)
        api.model_info("acme/one")
    headers = refused.value.response.headers
    assert refused.value.response.status_code == 429
    assert headers["ratelimit"] == f'"api";r=0;t={headers["retry-after"]}'
    assert (hub.counts.api, hub.counts.refused) == (2, 1)


def test_windows_are_kept_by_client_and_bucket() -> None:
    now = 0.0
    windows = Windows(Limits(scale=0.001), clock=lambda: now)
    spent = [windows.spend("a", "pro", "api") for _ in range(3)]
    other = windows.spend("b", "pro", "api"), windows.spend("a", "pro", "resolvers")
    now = 300.0
    assert [ticket.admitted for ticket in spent] == [True, True, False]
    assert [ticket.admitted for ticket in other] == [True, True]
    assert windows.spend("a", "pro", "api") == Ticket("api", 2, 1, 300, 300, admitted=True)


@pytest.mark.parametrize(("scale", "window_s"), [(0.0, 300.0), (1.5, 300.0), (1.0, 30.0), (0.5, 100.0)])
def test_limits_are_never_more_generous_than_the_hub(scale: float, window_s: float) -> None:
    with pytest.raises(SettingError):
        Limits(scale, window_s)


def test_a_request_that_costs_nothing_is_let_in_and_told_the_window() -> None:
    windows = Windows(Limits(scale=0.001), clock=lambda: 0.0)
    spent = [windows.spend("a", "pro", "resolvers", cost) for cost in (1, 0, *[1] * 11, 0, 1)]
    assert [ticket.remaining for ticket in spent][:3] == [11, 11, 10]
    assert [ticket.admitted for ticket in spent] == [*[True] * 14, False]
