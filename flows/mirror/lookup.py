"""Lookup: which repo, revision and file a request asks for, if it may.

Knows: names and revisions in addresses, and the refusals for what is not there. Does not know: what is answered.
"""

from __future__ import annotations

from starlette.requests import Request

from flows.mirror.accounts import ANONYMOUS, Account, open_content, see
from flows.mirror.disk import HubFile
from flows.mirror.likeness import Likeness
from flows.mirror.repo import Repo
from flows.mirror.shelf import Shelf
from flows.mirror.wire import Moved, Refusal


class Lookup:
    """Finds what an address names on a shelf, or raises a Refusal."""

    def __init__(self, shelf: Shelf, likeness: Likeness) -> None:
        self.shelf, self.likeness = shelf, likeness

    def entry(self, request: Request) -> tuple[Repo, HubFile]:
        """The repo and the file of `…/REVISION/PATH`."""
        revision, name = split_revision(request.path_params["at"])
        repo = self.content(request, revision)
        file = repo.file(name)
        if file is None:
            raise Refusal(404, "Entry not found", "EntryNotFound", repo.sha)
        return repo, file

    def content(self, request: Request, revision: str) -> Repo:
        """The repo at a revision, if its bytes are open to who asks."""
        repo = self._repo(request, revision)
        account: Account = request.state.account
        open_content(repo, account, f"{request.url.scheme}://{request.headers.get('host', '')}/{repo.id}")
        account_of(request)
        return repo

    def repo(self, request: Request, revision: str) -> Repo:
        """The repo at a revision."""
        repo = self._repo(request, revision)
        account_of(request)
        return repo

    def _repo(self, request: Request, revision: str) -> Repo:
        repo = self._newest(repo_id_of(request), request.state.account)
        at = repo if repo.has_revision(revision) else self.shelf.older(repo, revision)
        if at is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return at

    def _newest(self, repo_id: str, account: Account) -> Repo:
        repo = self.shelf.repo(repo_id)
        new_name = None if repo else self.shelf.renamed(repo_id)
        if new_name:  # seen first: the name of a private repo is told to nobody else
            raise Moved(see(self.shelf.repo(new_name), account, self.likeness).id)
        return see(repo, account, self.likeness)

    def at_commit(self, repo_id: str, commit: str) -> list[Repo]:
        """The repo at its newest commit and at the named one, whoever asks: for a permit that was given before."""
        newest = self.shelf.repo(repo_id)
        older = newest and self.shelf.older(newest, commit)
        return [repo for repo in (newest, older) if repo]


def split_revision(at: str) -> tuple[str, str]:
    """`main/a/b` or `refs/heads/main/a/b` as revision and path: only names under refs/ hold slashes."""
    words = at.split("/")
    taken = 3 if words[0] == "refs" else 1
    return "/".join(words[:taken]), "/".join(words[taken:])


def account_of(request: Request) -> Account:
    """Who asks, as the gate found out. Raises a Refusal when it was with a token that nobody knows."""
    account: Account = request.state.account
    unknown: Refusal | None = getattr(request.state, "unknown_token", None)
    if account is ANONYMOUS and unknown is not None:
        raise unknown
    return account


def repo_id_of(request: Request) -> str:
    """The repo that the address names."""
    return f"{request.path_params['org']}/{request.path_params['name']}"
