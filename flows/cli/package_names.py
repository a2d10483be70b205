"""Options whose values packages may add to: help lists the names that the installed ones bring.

Knows: groups of entry points. Does not know: what is behind a name. Reads metadata when help is asked, and imports no
package.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import click


class PackageNames(click.Option):
    """An option that takes built-in names and those of some groups of entry points.

    Args:
        groups: such as "lorauter.routers".
    """

    def __init__(self, *args: Any, groups: tuple[str, ...], **options: Any) -> None:
        super().__init__(*args, **options)
        self._groups = groups

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """As an option's, with the names after it."""
        from catalog.plugins import names_brought

        record, names = super().get_help_record(ctx), names_brought(*self._groups)
        return (record[0], f"{record[1]}  [from packages: {', '.join(names)}]") if record and names else record


router_option = partial(click.option, cls=PackageNames, groups=("lorauter.routers", "lorauter.gates"))
composition_option = partial(click.option, cls=PackageNames, groups=("lorauter.compositions",))
metric_option = partial(click.option, cls=PackageNames, groups=("lorauter.metrics",))
strategies_option = partial(click.option, cls=PackageNames, groups=("lorauter.strategies",))
