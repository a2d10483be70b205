"""Adapters: identity, shape, and why one was rejected.

Knows: what an adapter is. Does not know: how facts are read (catalog/adapters/parse), judged
(catalog/rules) or fetched (catalog/hub).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class AdapterId:
    """Identity of an adapter: repo id, folder in the repo ("" is the root), commit sha."""

    repo: str
    path: str
    sha: str

    @property
    def key(self) -> str:
        """`repo@sha` or `repo:path@sha`: unique, printable, what ledgers and routes carry."""
        return f"{self.name}@{self.sha}"

    @property
    def name(self) -> str:
        """`repo` or `repo:path`: the adapter over all its revisions, for people."""
        return f"{self.repo}:{self.path}" if self.path else self.repo

    def is_called(self, declared: str | None) -> bool:
        """Whether a task that declares `repo` or `repo:path` its own adapter means this one."""
        return declared in (self.name, self.repo)

    @classmethod
    def parse(cls, key: str) -> AdapterId:
        """The inverse of `key`."""
        name, _, sha = key.rpartition("@")
        repo, _, path = name.partition(":")
        return cls(repo, path, sha)


@dataclass(frozen=True, slots=True)
class LoraShape:
    """One LoRA pair as the weights' header tells it.

    Args:
        module: dotted name of the base's module, e.g. `model.layers.0.self_attn.q_proj`.
        rank: rows of A (r × d_in) and columns of B (d_out × r).
        d_in: input features.
        d_out: output features.
        dtype: safetensors name, e.g. `BF16`.
    """

    module: str
    rank: int
    d_in: int
    d_out: int
    dtype: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One failing rule: its name (the reason), and the evidence for it."""

    reason: str
    evidence: str
