"""Keys of adapters that a trained state makes, one a task: `mhr:TASK@SHA`, where SHA names the state.

Knows: the keys, which routers serve such adapters. Does not know: how weights are made of a state
(lorauter/compositions/task_adapters), tasks. Loads no torch.

The key has the form of every adapter's, and can be none of a hub: a repo of adapters has an owner and a slash.
"""

from __future__ import annotations

from catalog.adapters.adapter import AdapterId

SKILLED = ("mhr", "poly")
"""Routers whose states hold skills, and a task's logits."""


def task_key(router: str, task: str, sha: str) -> str:
    """The key of a task's adapter."""
    return AdapterId(router, task, sha).key


def read_task_key(key: str) -> AdapterId | None:
    """Router, task and state of a key, as its repo, path and sha; None for every other adapter."""
    adapter = AdapterId.parse(key)
    return adapter if adapter.repo in SKILLED and adapter.path else None
