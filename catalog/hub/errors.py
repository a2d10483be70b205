"""What goes wrong between us and a hub: which kind of trouble an error is, and how people are told.

Knows: the client's errors, status codes and wordings of the Hub, next steps. Does not know: requests, retries
(catalog/hub/transport).

A hub is two hosts: itself, and the one that its redirects name for large files. What the file host refuses says
nothing about a repo: its 403 comes in bursts and passes.
"""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx2
from huggingface_hub.errors import (
    DisabledRepoError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from catalog.errors import DiskError, HubDown, HubError, HubRefusal, HubTrouble, LorauterError, Refused

_SETTLED = (400, 405, 413, 414, 416, 422)  # refusals that will be the same tomorrow
_ON_THE_WAY = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
_NOBODY = (httpx2.ConnectError, httpx2.ConnectTimeout)
_PORTS = {"http": ":80", "https": ":443"}  # said or not, they are the same place
NO_HUB = "Check that LORAUTER_ENDPOINT names a Hugging Face hub."  # the next step where answers are like no hub's
# What the client makes of such an answer.
NONSENSE = (ValueError, TypeError, KeyError, AttributeError, RecursionError)


def origin(url: str) -> str:
    """Scheme, host and port of an address: what a token may be sent to."""
    scheme, host = (part.lower() for part in urlsplit(url)[:2])
    return f"{scheme}//{host.removesuffix(_PORTS.get(scheme, ' '))}"


def is_passing(status: int) -> bool:
    """Whether an answer of this status may be another in a moment; 520 to 530 are a content network's."""
    return status in (408, 429) or status >= 500


def is_transient(error: BaseException | None, endpoint: str) -> bool:
    """Whether the same request may go well at once or a little later: worth another try."""
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return is_passing(_status(error)) or _is_elsewhere(error, endpoint)
    return isinstance(error, _ON_THE_WAY)


def is_down(error: BaseException | None, endpoint: str) -> bool:
    """Whether nobody answers at the endpoint at all, or no request of ours will be sent."""
    if isinstance(error, _NOBODY):
        return not _is_elsewhere(error, endpoint)
    return isinstance(error, (httpx2.InvalidURL, OfflineModeIsEnabled))


def explain(what: str, error: Exception, endpoint: str, has_token: bool) -> LorauterError:
    """A client's error as ours: what failed, why, and what to do."""
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, httpx2.HTTPError):
        error = error.__cause__
    if isinstance(error, HfHubHTTPError) and error.response is not None:
        return _explain_status(what, error, endpoint, has_token)
    if is_down(error, endpoint):
        if isinstance(error, OfflineModeIsEnabled):
            return HubDown(f"{what}: HF_HUB_OFFLINE is set, so no hub is asked.", "Unset HF_HUB_OFFLINE.")
        return HubDown(f"{endpoint} cannot be reached ({type(error).__name__}).", _CHECK_ADDRESS)
    if isinstance(error, _ON_THE_WAY):
        where = _host_of(error) if _is_elsewhere(error, endpoint) else endpoint
        said = f": {error}" if isinstance(error, httpx2.RemoteProtocolError) and str(error) else ""
        return HubTrouble(f"{what}: {where} did not answer as it should ({type(error).__name__}{said[:120]}).", _LATER)
    for kinds, cause, next_step in _CAUSES:
        if isinstance(error, kinds):
            return HubError(cause.format(what=what, endpoint=endpoint, error=type(error).__name__), next_step)
    return DiskError(f"{what} could not be written: {error}.", "Free some space or set LORAUTER_HOME elsewhere.")


def _explain_status(what: str, error: HfHubHTTPError, endpoint: str, has_token: bool) -> HubError:
    """What a status means; a 401 to a request that carried our token means the token, however it is worded."""
    status = _status(error)
    if status == 401 and "authorization" in error.response.request.headers:
        return HubDown(
            f"{endpoint} refused the token{_expiry(error)}.", "Set LORAUTER_TOKEN to a valid one, or unset it."
        )
    kind = "no_file" if status == 404 and _refusal(error) == "refused" else _refusal(error)
    if is_transient(error, endpoint) or (kind == "refused" and status not in _SETTLED):  # a gateway's or a proxy's
        who = _host_of(error) if _is_elsewhere(error, endpoint) else "the hub"
        said = _words(error) if kind == "refused" else ""
        return HubTrouble(f"{what}: {who} answered {status}{said}.", _LATER)
    if kind in ("unseen", "missing", "gated"):
        hint = "ask for access" if has_token else "set LORAUTER_TOKEN to a token that may read it"
        told = f"{what} is not on {endpoint}, or is private or gated."
        return HubRefusal(told, f"Check the name, or {hint}.", kind)
    cause, next_step = _REFUSALS[kind]
    return HubRefusal(cause.format(what=what, endpoint=endpoint, status=status), next_step, kind)


def _refusal(error: HfHubHTTPError) -> Refused:
    if _status(error) == 410 and "html" in error.response.headers.get("content-type", ""):
        return "refused"  # the site's own page: a route of ours is retired, and every repo would be gone
    if kind := _BY_STATUS.get(_status(error)):
        return kind
    return next((kind for told, kind in _BY_ERROR if isinstance(error, told)), "refused")


def _status(error: HfHubHTTPError) -> int:
    return error.response.status_code


def _is_elsewhere(error: Exception, endpoint: str) -> bool:
    """Whether another host than the hub's own failed: the one that large files lie on. A hub signs its refusals."""
    url = _url_of(error)
    signed = isinstance(error, HfHubHTTPError) and "x-error-code" in error.response.headers
    return bool(url) and origin(url) != origin(endpoint) and not signed


def _host_of(error: Exception) -> str:
    return f"the file host {urlsplit(_url_of(error)).netloc[:120]}"


def _url_of(error: Exception) -> str:
    if isinstance(error, HfHubHTTPError):
        return str(error.response.request.url)
    request = getattr(error, "_request", None)  # the property `request` raises where there is none
    return str(request.url) if request is not None else ""


def _words(error: HfHubHTTPError) -> str:
    """What a refusal says in words, as a quotation: a token may lack a right that only they name."""
    said = error.response.headers.get("x-error-message", "")
    return f", {said[:200]!r}" if said else ""


def _expiry(error: HfHubHTTPError) -> str:
    """Words for a token that the hub says has expired; the hub's own words name the token, and are not repeated."""
    said = error.response.headers.get("x-error-message", "") + (error.server_message or "")
    return ": it has expired" if "expired" in said.lower() else ""


_BY_STATUS: dict[int, Refused] = {401: "unseen", 410: "gone", 451: "withheld"}
_BY_ERROR: tuple[tuple[type[Exception], Refused], ...] = (
    (DisabledRepoError, "disabled"),
    (GatedRepoError, "gated"),
    (RepositoryNotFoundError, "missing"),
    (EntryNotFoundError, "no_file"),
    (RevisionNotFoundError, "no_file"),
)
_LATER = "Try again later; what was read is kept."
_CHECK_ADDRESS = "Check the address in LORAUTER_ENDPOINT and the network; `lorauter doctor` tests both."
_REFUSALS: dict[Refused, tuple[str, str]] = {
    "no_file": ("{what}: {endpoint} has no such file or revision.", "Check the name and the endpoint."),
    "disabled": ("{what} is disabled by the hub.", "Leave it out; nobody can read it."),
    "withheld": ("{what} is withheld for legal reasons (451).", "Leave it out; nobody can read it."),
    "gone": ("{what} is gone for good (410).", "Leave it out."),
    "refused": ("{what}: {endpoint} refuses it ({status}).", "Check the name and your access to it."),
}
_CAUSES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str], ...] = (
    (
        LocalEntryNotFoundError,
        "{what} could not be downloaded from {endpoint}.",
        "Check the network, then run it again.",
    ),
    (HFValidationError, "{what} is no repo id.", "Write it as org/name."),
    (
        NONSENSE,
        "{endpoint} sent no hub's answer to the question for {what}.",
        NO_HUB,
    ),
    (httpx2.HTTPError, "{endpoint} cannot be reached ({error}).", _CHECK_ADDRESS),
)
