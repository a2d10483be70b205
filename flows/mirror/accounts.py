"""Accounts: who sent a request, and what they may see.

Knows: bearer tokens, and the Hub's refusals for dead tokens and for private, gated and closed repos.
Does not know: files, limits, how a refusal is written down (wire).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from catalog.errors import SettingError
from flows.mirror.likeness import BadToken, Likeness
from flows.mirror.limits import Plan
from flows.mirror.repo import Repo
from flows.mirror.shelf import Row
from flows.mirror.wire import Refusal


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a token belongs to. Its own repos and its organisations' are open to it, private or gated.

    `token_name` is what the owner calls the token; empty: as the account.
    """

    name: str
    plan: Plan = "free"
    orgs: tuple[str, ...] = ()
    token_name: str = ""

    def owns(self, repo: Row) -> bool:
        return repo.namespace in (self.name, *self.orgs)

    def sees(self, repo: Row) -> bool:
        return not repo.private or self.owns(repo)


ANONYMOUS = Account("", "anonymous")


_BAD_TOKEN: dict[BadToken, str] = {
    "credentials": "Invalid credentials in Authorization header",
    "password": "Invalid username or password.",
}


class UnknownToken(Refusal):
    """What an anonymous caller may not see is refused in the words for those; all else in these."""


class Keyring:
    """The tokens that are known. One may expire at any time; it is refused from the next request on."""

    def __init__(self, tokens: Mapping[str, Account], bad_token: BadToken) -> None:
        self._tokens, self._bad_token = dict(tokens), bad_token
        self._expired: set[str] = set()

    def expire(self, token: str) -> None:
        """The token is dead from now on. Raises SettingError when nobody knows it."""
        if token not in self._tokens:
            raise SettingError("The mirror does not know that token, so it cannot expire.", "Give it in `tokens`.")
        self._expired.add(token)

    def account_of(self, authorization: str | None) -> Account:
        """The account behind an Authorization header.

        Raises a Refusal for a token that has expired, and an UnknownToken for one that never was: both are refused
        even where none is needed, but who holds the second is first of all nobody.
        """
        if not authorization:
            return ANONYMOUS
        scheme, _, given = authorization.partition(" ")
        for token, account in self._tokens.items():
            if scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), given.strip().encode()):
                if token in self._expired:
                    raise Refusal(401, f'User Access Token "{account.token_name or account.name}" is expired')
                return account
        raise UnknownToken(401, _BAD_TOKEN[self._bad_token])


def see(repo: Repo | None, account: Account, likeness: Likeness) -> Repo:
    """The repo, if this account may know that it exists and it is not closed. A disabled one still has a page."""
    if repo is None or not account.sees(repo):
        if account is ANONYMOUS:  # private, gated or missing: an anonymous caller is not told which
            raise Refusal(401, "Invalid username or password.")
        raise Refusal(404, "Repository not found", "RepoNotFound")
    if repo.sidecar.disabled and likeness.hides_disabled and account is ANONYMOUS:
        raise Refusal(401, "Invalid username or password.")
    if repo.sidecar.legal:
        raise Refusal(451, "Access to this resource is unavailable for legal reasons.")
    if repo.sidecar.gone:
        raise Refusal(410, "This resource is gone.")
    return repo


def open_content(repo: Repo, account: Account, page: str) -> None:
    """Refuse the bytes of a repo that is disabled, or gated for this account; `page` is the repo's address."""
    if repo.sidecar.disabled:
        raise Refusal(403, "Access to this resource is disabled.")
    if not repo.gated or account.owns(repo):
        return
    said = f"Access to model {repo.id} is restricted"
    if account is ANONYMOUS:
        said += ". You must have access to it and be authenticated to access it. Please log in."
        raise Refusal(401, said, "GatedRepo")
    said += f" and you are not in the authorized list. Visit {page} to ask for access."
    raise Refusal(403, said, "GatedRepo")
