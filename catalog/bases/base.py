"""The base model that adapters are made for.

Knows: its id, its commit, and the names and shapes of the modules that an adapter may touch.
Does not know: how they were found out (lorauter/adapters/base_modules from a config, catalog/hub from a header) or
what other names the base goes by (catalog/bases/names).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Base:
    """A base model as the rules see it.

    Args:
        id: `org/name`.
        sha: commit of the revision.
        modules: name of each Linear or Conv1D → (d_in, d_out).
        embeddings: name of each embedding → (rows, width).
        source: "config" (the model was built from its config, without weights) or "header" (of its weights).
        revision: the name by which it was asked for; the commit is `sha`.
    """

    id: str
    sha: str
    modules: Mapping[str, tuple[int, int]]
    embeddings: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    source: str = "config"
    revision: str = "main"
