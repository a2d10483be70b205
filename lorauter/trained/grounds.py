"""What a trained state stands on: code, base, encoder, tasks, adapters. Another ground, and it is refused in words.

Knows: what is compared, in which words a difference is told. Does not know: catalogs, files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from catalog.errors import SettingError
from catalog.tasks.task import content_hash
from lorauter.trained.state import Facts


@dataclass(frozen=True, slots=True)
class Grounds:
    """All that decides what a fit learns, beside seed and machine. What a fit does not read is empty: a change of it
    leaves the state valid.

    Args:
        router: its name.
        version: of its code.
        base: id of the base model whose catalog it is for.
        base_sha: its commit, where the fit reads the base.
        encoder: hash of the sentence encoder, where it reads embeddings.
        tasks: hash by name, see `catalog.tasks.task.Task.hash`, of those that it reads.
        adapters: keys, which hold the commits, of those that it reads, sorted.
        options: its constants, JSON values.
        examples: hash of the training splits, where it reads them; None where they are not at hand to compare.
    """

    router: str
    version: str
    base: str
    base_sha: str = ""
    encoder: str = ""
    tasks: Mapping[str, str] = field(default_factory=dict)
    adapters: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    examples: str | None = None

    @property
    def facts(self) -> dict[str, Any]:
        """The same as JSON: the first part of a state's facts."""
        return {**asdict(self), "tasks": dict(self.tasks), "adapters": list(self.adapters)}

    @property
    def key(self) -> str:
        """Identity of what is to be learned."""
        return content_hash(self.facts, 32)


_WORDS = {
    "router": "another router",
    "version": "another version of its code",
    "base": "another base model",
    "base_sha": "another commit of the base model",
    "encoder": "another sentence encoder",
    "tasks": "other tasks, or tasks that have changed",
    "adapters": "other adapters",
    "options": "other constants",
    "examples": "other training examples",
}


def differences(facts: Facts, grounds: Grounds) -> list[str]:
    """What a state's facts say otherwise than the grounds, in words."""
    wanted = grounds.facts
    if wanted["examples"] is None:
        del wanted["examples"]
    return [_WORDS[name] for name, value in wanted.items() if facts.get(name) != value]


def check_grounds(facts: Facts, grounds: Grounds) -> None:
    """Raise SettingError where a state stands on other grounds."""
    if others := differences(facts, grounds):
        raise SettingError(
            f"The trained state of {grounds.router!r} belongs to {' and '.join(others)}.",
            f"Train it again: lorauter fit {grounds.router}.",
        )
