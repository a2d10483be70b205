"""What goes wrong between us and a hub: which kind of trouble an error is, and how people are told.

Knows: the client's errors, status codes, next steps. Does not know: requests, retries (catalog/transport).
"""

from __future__ import annotations

import httpx2
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from catalog.errors import DiskError, HubDown, HubError

_RETRIED = (408, 429, 500, 502, 503, 504)
NONSENSE = (
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
)  # what the client makes of an answer like no hub's


def is_refused(error: BaseException | None) -> bool:
    """Whether the hub will not give this, now or later, to us; other requests may go well."""
    if isinstance(error, (EntryNotFoundError, RepositoryNotFoundError)):
        return True
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    return 400 <= status < 500 and status not in (401, *_RETRIED)


def is_missing(error: BaseException | None) -> bool:
    """Whether the hub says that a repo is not there for us: gone, renamed without a trace, private, or gated."""
    return isinstance(error, RepositoryNotFoundError)


def is_transient(error: BaseException | None) -> bool:
    """Whether the same request may go well later: the hub or the way to it was in trouble."""
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return error.response.status_code in _RETRIED
    return isinstance(error, (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError))


def is_down(error: BaseException | None) -> bool:
    """Whether nobody answers at the endpoint at all, or no request of ours will be sent."""
    return isinstance(error, (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.InvalidURL, OfflineModeIsEnabled))


def explain(what: str, error: Exception, endpoint: str, has_token: bool) -> HubError | DiskError:
    """A client's error as ours: what failed, why, and what to do."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, httpx2.HTTPError):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return _explain_status(what, error, endpoint, has_token)
    for kinds, cause, next_step in _CAUSES:
        if isinstance(error, kinds):
            told = cause.format(what=what, endpoint=endpoint, error=type(error).__name__)
            return (HubDown if is_down(error) else HubError)(told, next_step)
    return DiskError(f"{what} could not be written: {error}.", "Free some space or set LORAUTER_HOME elsewhere.")


def _explain_status(what: str, error: HfHubHTTPError, endpoint: str, has_token: bool) -> HubError:
    status = error.response.status_code
    if isinstance(error, RepositoryNotFoundError):  # gated repos among them
        hint = "set LORAUTER_TOKEN to a token that may read it" if not has_token else "ask for access"
        return HubError(f"{what} is not on {endpoint}, or is private or gated.", f"Check the name, or {hint}.")
    if status == 401:
        return HubDown(f"{endpoint} refused the token.", "Set LORAUTER_TOKEN to a valid one, or unset it.")
    if status == 404:
        return HubError(f"{what}: {endpoint} has no such file or revision.", "Check the name and the endpoint.")
    return HubError(f"{what}: the hub answered {status}.", "Try again later; what was read is kept.")


_CAUSES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (
        LocalEntryNotFoundError,
        "{what} could not be downloaded from {endpoint}.",
        "Check the network, then run it again.",
    ),
    (OfflineModeIsEnabled, "{what}: HF_HUB_OFFLINE is set, so no hub is asked.", "Unset it."),
    (HFValidationError, "{what} is no repo id.", "Write it as org/name."),
    (
        NONSENSE,
        "{endpoint} sent no hub's answer to the question for {what}.",
        "Check that LORAUTER_ENDPOINT names a Hugging Face hub.",
    ),
    (
        (httpx2.HTTPError, httpx2.InvalidURL),
        "{endpoint} cannot be reached ({error}).",
        "Check the address in LORAUTER_ENDPOINT and the network; `lorauter doctor` tests both.",
    ),
)
