"""Accounts: who sent a request, and what they may see.

Knows: bearer tokens, and the Hub's refusals for private, gated and disabled repos.
Does not know: files, limits, how a refusal is written down (wire).
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from flows.mirror.limits import Plan
from flows.mirror.repos import Repo
from flows.mirror.shelf import Row
from flows.mirror.wire import Refusal


@dataclass(frozen=True, slots=True)
class Account:
    """Whom a token belongs to. Its own repos and its organisations' are open to it, private or gated."""

    name: str
    plan: Plan = "free"
    orgs: tuple[str, ...] = ()

    def owns(self, repo: Row) -> bool:
        return repo.namespace in (self.name, *self.orgs)

    def sees(self, repo: Row) -> bool:
        return not repo.private or self.owns(repo)


ANONYMOUS = Account("", "anonymous")


def account_of(authorization: str | None, tokens: Mapping[str, Account]) -> Account:
    """The account behind an Authorization header; a wrong token is refused, even where none is needed."""
    if not authorization:
        return ANONYMOUS
    scheme, _, given = authorization.partition(" ")
    for token, account in tokens.items():
        if scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), given.strip().encode()):
            return account
    raise Refusal(401, "Invalid credentials in Authorization header")


def see(repo: Repo | None, account: Account) -> Repo:
    """The repo, if this account may know that it exists."""
    if repo is not None and account.sees(repo):
        return repo
    if account is ANONYMOUS:  # private, gated or missing: an anonymous caller is not told which
        raise Refusal(401, "Invalid username or password.", "RepoNotFound")
    raise Refusal(404, "Repository not found", "RepoNotFound")


def open_content(repo: Repo, account: Account) -> None:
    """Refuse the bytes of a repo that is disabled, or gated for this account."""
    if repo.sidecar.disabled:
        raise Refusal(403, "Access to this resource is disabled.", "", repo.sha)
    if not repo.gated or account.owns(repo):
        return
    said = f"Access to model {repo.id} is restricted"
    if account is ANONYMOUS:
        raise Refusal(401, f"{said}. You must have access to it and be authenticated to access it.", "GatedRepo")
    raise Refusal(403, f"{said} and you are not in the authorized list.", "GatedRepo")
