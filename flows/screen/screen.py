"""The screen: where text meets a terminal. The only owner of rich's consoles.

Knows: rich, what a terminal must never be sent. Does not know: what is shown.

Text from a hub, a file or an error may hold anything: brackets that rich reads as markup, control characters that move
the cursor. So a `Screen` takes every str as plain text, wherever it stands: in a line, a title or a cell. Nobody above
has to remember to escape. Whoever wants colour gives a `rich.text.Text` of his own words.
"""

from __future__ import annotations

import unicodedata
from typing import IO, Any

from rich.console import Console
from rich.progress import TextColumn
from rich.text import Text


def printable(value: object) -> str:
    """Text safe for a terminal: control and format characters become `�`."""
    return "".join("�" if unicodedata.category(c).startswith("C") and c not in "\n\t" else c for c in str(value))


class Screen(Console):
    """A console to which no str is markup or emoji code, and none reaches the terminal but printable.

    Args:
        out: where to; stdout where left out. Files and pipes get lines wide enough for a table.
        errors: to stderr, beside the results.
    """

    def __init__(self, out: IO[str] | None = None, errors: bool = False) -> None:
        super().__init__(file=out, stderr=errors, markup=False, emoji=False, highlight=False)
        if not self.is_terminal and not errors:
            self.width = 140

    def render_str(self, text: str, **how: Any) -> Text:
        """The text as it is. Rich calls this for every str that it is given."""
        return super().render_str(printable(text), **{**how, "markup": False, "emoji": False})


class Words(TextColumn):
    """Words of a progress bar: a format, filled in as plain text."""

    def __init__(self, form: str) -> None:
        super().__init__(form, markup=False)
