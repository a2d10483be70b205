"""A prompt format with all its texts filled in: what an adapter is asked in, and what a catalog says of it.

Knows: the one template that a format comes to, and a name that no other template shares. Does not know: who was
trained in which format (detect), who does best in which (lorauter/racing/formats).
"""

from __future__ import annotations

from dataclasses import dataclass

from catalog.formats.format import INPUT, PromptFormat
from catalog.formats.table import formats
from catalog.tasks.task import content_hash


@dataclass(frozen=True, slots=True)
class FilledFormat:
    """A format as one text.

    Args:
        name: of the format; outside of the table of formats with a hash, since many are called alike.
        template: text with one `{input}`, as a task's.
        stops: texts that end an answer, beside those of every answer.
    """

    name: str
    template: str
    stops: tuple[str, ...] = ()

    def prompt(self, text: str) -> str:
        """The prompt for an input, as a task's: nothing but `{input}` is replaced."""
        return self.template.replace(INPUT, text)


def filled(format_: PromptFormat) -> FilledFormat | None:
    """The format with its default system text; None where it wants an instruction, which no task has."""
    if format_.needs_instruction:
        return None
    template, stops = format_.template(), tuple(sorted(format_.stops))
    known = formats().get(format_.name)
    if known and not known.needs_instruction and (known.template(), tuple(sorted(known.stops))) == (template, stops):
        return FilledFormat(format_.name, template, stops)
    return FilledFormat(f"{format_.name} {content_hash([template, stops], 8)}", template, stops)
