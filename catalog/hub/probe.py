"""Probe: one request of each kind that a crawl makes, and how the hub answered it, in words.

Knows: what may differ from hub to hub: packing, redirects, the file host, Xet, windows. Does not know: what comes of it
(flows/home/doctor).
"""

from __future__ import annotations

import math
from urllib.parse import urlsplit

from catalog.hub.client import Hub
from catalog.hub.transport import Answer

# isort: split
from huggingface_hub import hf_hub_url

from catalog.adapters.parse import header_length
from catalog.errors import HubError
from catalog.hub.budget import KINDS
from catalog.hub.errors import origin
from catalog.hub.target import Target

TEXTS = ("tokenizer.json", "tokenizer_config.json", "README.md", "config.json")  # the likeliest to be over 1 KB first
TEXT_BYTES = 64 << 10  # read of a text
HEAD_BYTES = 4 << 10  # read of a file of weights


def tell_listing(hub: Hub, target: Target) -> str:
    """One page of a target's listing."""
    page = hub.page(target)
    more = "and more pages" if page.next_url else "no further page"
    return f"{hub.options.endpoint} lists {len(page.repos)} repos for {target.name} on the first page, {more}"


def tell_text(hub: Hub, repo: str) -> str:
    """A text file of a repo, the way texts come: packed if the hub likes."""
    sha, files = hub.repo_files(repo)
    name = next((name for name in TEXTS if name in files), None)
    if name is None:
        raise HubError(f"{repo} has none of {', '.join(TEXTS)}.", "Choose a base with a tokenizer.")
    answer = hub.transport.get(hf_hub_url(repo, name, revision=sha, endpoint=hub.options.endpoint), TEXT_BYTES)
    length = "with its length" if "content-length" in answer.headers else "without a length"
    packing = "packed as gzip" if answer.packed else "plain"
    return f"{repo}/{name}: {len(answer.data):,} bytes read, {_way(hub, answer)}, {packing}, {length}"


def tell_weights(hub: Hub, repo: str) -> str:
    """The start of a file of weights, by range, from the host that the hub names for it."""
    sha, files = hub.repo_files(repo)
    name = next((name for name in sorted(files) if name.endswith(".safetensors")), None)
    if name is None:
        raise HubError(f"{repo} has no safetensors weights.", "Choose a base that has them.")
    headers = {"Range": f"bytes=0-{HEAD_BYTES - 1}", "Accept-Encoding": "identity"}
    url = hf_hub_url(repo, name, revision=sha, endpoint=hub.options.endpoint)
    answer = hub.transport.get(url, HEAD_BYTES, headers)
    length = header_length(answer.data, None)
    if not isinstance(length, int):
        raise HubError(f"{repo}/{name}: {length.evidence}.", "Choose a base with sound weights.")
    ranged = "by range" if "content-range" in answer.headers else "from its start, for ranges are not kept"
    xet = "; Xet is offered, and not used" if any("x-xet-hash" in told for told in answer.redirects) else ""
    return f"{repo}/{name}: a header of {length:,} bytes, read {ranged}, {_way(hub, answer)}{xet}"


def tell_windows(hub: Hub) -> str:
    """What is left of the hub's windows, after the requests above."""
    left = {kind: (hub.transport.budget.left(kind), hub.transport.budget.quota(kind)) for kind in KINDS}
    stated = [f"{kind} {n:,.0f} of {quota:,.0f}" for kind, (n, quota) in left.items() if quota < math.inf]
    return f"{', '.join(stated)} requests left" if stated else "the hub states no limits"


def _way(hub: Hub, answer: Answer) -> str:
    if not answer.redirects:
        return "without a redirect"
    to = urlsplit(answer.url)
    elsewhere = origin(answer.url) != origin(hub.options.endpoint)
    return f"redirected to {f'the file host {to.netloc[:120]}' if elsewhere else '/'.join(to.path.split('/')[:3])}"
