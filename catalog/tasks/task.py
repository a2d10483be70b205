"""Tasks: examples, prompt template, metric, and the hash that is a task's identity.

Knows: what a task is and how an example becomes a prompt.
Does not know: where tasks are stored (warehouse/tasks), how prompts are answered (lorauter).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Literal

Split = Literal["train", "validation", "test"]
DEFAULT_TEMPLATE = "{input}\nAnswer:"
CHAT = "chat"  # in a template's place: the base's own chat template, whichever the base is


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled input. `target` is the reference text that a metric compares with.

    Args:
        options: texts of which the target is one, in the order of their letters A, B, …; () for a free answer.
    """

    input: str
    target: str
    options: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """Content hash (16 hex digits) of input, target and options."""
        return content_hash(self.content)

    @property
    def content(self) -> list[object]:
        """What is hashed. Options enter only where there are some: examples from before they existed keep their id."""
        return [self.input, self.target, *([list(self.options)] if self.options else [])]


@dataclass(frozen=True, slots=True)
class Task:
    """A task: a name, a metric, a template and labelled splits.

    Args:
        name: short name, unique in a catalog.
        metric: a name from `catalog.tasks.metrics.METRICS`.
        validation: labelled examples that score adapters and represent the task for routing.
        test: held-back examples; scoring and routing never see them.
        template: prompt template with one `{input}` field, or CHAT until it is known which base is asked.
        max_new_tokens: bound on generated tokens of an answer.
        adapter: the repo id of the task's own declared adapter, if it has one (the oracle of
            LORAUTER's protocol, arXiv 2601.21795, section on settings).
        domain: the group of like tasks that figures are averaged over, e.g. "nli"; scores do not depend on it.
    """

    name: str
    metric: str
    validation: tuple[Example, ...]
    test: tuple[Example, ...] = ()
    train: tuple[Example, ...] = ()
    template: str = DEFAULT_TEMPLATE
    max_new_tokens: int = 8
    adapter: str | None = None
    description: str = field(default="", compare=False)
    domain: str | None = None

    def prompt(self, text: str) -> str:
        """The prompt for an input: the template with `{input}` replaced, and nothing else; under CHAT the input."""
        return text if self.template == CHAT else self.template.replace("{input}", text)

    @property
    def hash(self) -> str:
        """Identity of what scores depend on: metric, template, length bound, validation set."""
        return content_hash(
            [
                self.metric,
                self.template,
                self.max_new_tokens,
                [e.content for e in self.validation],
            ]
        )


def content_hash(value: object, digits: int = 16) -> str:
    """SHA-256 of the canonical JSON of `value`, cut to `digits` hex digits."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:digits]
