"""Tables for people, described without rich: columns, rows, a title.

Knows: how a column is set, how a size in bytes is written. Does not know: what the cells say. A `Screen` prints a
`Table` as it prints a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import filesize
from rich import table as rich_table

Breaks = Literal["at words", "anywhere", "never"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column.

    Args:
        name: its heading.
        right: whether its cells stand at the right, as numbers do.
        breaks: where a cell goes on in a further line, on a screen that is too narrow for it.
    """

    name: str
    right: bool = False
    breaks: Breaks = "at words"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells under headings, every cell a text.

    Args:
        columns: from left to right.
        rows: of each as many cells as there are columns.
        title: a line above it.
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    title: str = ""

    def __rich__(self) -> rich_table.Table:
        """What rich asks an object for that it is to print."""
        drawn = rich_table.Table(title=self.title or None, title_justify="left")
        for column in self.columns:
            drawn.add_column(
                column.name,
                justify="right" if column.right else "left",
                overflow="fold" if column.breaks == "anywhere" else "ellipsis",
                no_wrap=column.breaks == "never",
            )
        for row in self.rows:
            drawn.add_row(*row)
        return drawn


def size_shown(size: float) -> str:
    """A size in bytes for people, in powers of a thousand: `1.5 MB`."""
    return filesize.decimal(int(size))
