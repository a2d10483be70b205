"""A client of a hub as the tests ask it, one adapter, and all pages of a listing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from catalog.adapters.facts import RepoListing
from catalog.errors import LorauterError
from catalog.hub.client import Hub, HubOptions, Page
from catalog.hub.target import Target

BASE = "tiny/llama"
SHA = "a" * 40
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
X = RepoListing("ann/x", SHA, (CONFIG, WEIGHTS))
CONFIG_TEXT = '{"r": 1}'
HEADER = b'{"a":{"dtype":"I8","shape":[4],"data_offsets":[0,4]}}'
FILE = len(HEADER).to_bytes(8, "little") + HEADER + bytes(4)


def ask(endpoint: str, cache: Path, token: str | None = None, page_size: int = 500) -> Hub:
    return Hub(HubOptions(endpoint, cache, token, page_size=page_size, timeout=5))


def list_pages(hub: Hub, start: str | None = None) -> Iterator[Page]:
    position = start
    while True:
        page = hub.page(Target("base", BASE), position)
        yield page
        if page.next_url is None:
            return
        position = page.next_url


def listings(hub: Hub) -> dict[str, RepoListing]:
    return {listing.repo: listing for page in list_pages(hub) for listing in page.repos}


def assert_for_people(error: LorauterError) -> None:
    assert error.cause and error.next_step and "\n" not in str(error)
