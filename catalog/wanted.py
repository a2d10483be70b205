"""What a run is about: its bases, under all their names, and whatever else is to be crawled.

Knows: which targets that makes, and for which base what a target lists is judged. Does not know: hubs, rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from catalog.bases.names import listed_names
from catalog.hub.target import Target


@dataclass(frozen=True, slots=True)
class Wanted:
    """Bases and targets of a run.

    Args:
        bases: model ids, each once, the run's own first.
        others: targets that are no base.
        aliases: other names of bases, {other: canonical}.
        revision: of the run's own base.
    """

    bases: tuple[str, ...]
    others: tuple[Target, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    revision: str = "main"

    @property
    def targets(self) -> list[Target]:
        """Every name of every base, then the other targets; each once."""
        names = [name for base in self.bases for name in listed_names(base, self.aliases)]
        return [*(Target("base", name) for name in dict.fromkeys(names)), *dict.fromkeys(self.others)]

    @property
    def judged_for(self) -> dict[str, str]:
        """Key of a base's target → the base that its adapters are judged for; of two, the one named first."""
        named = {base: listed_names(base, self.aliases) for base in self.bases}
        return {Target("base", name).key: base for base, names in reversed(named.items()) for name in names}

    def revision_of(self, base: str) -> str:
        """The revision that is wanted of a base: main, but for the run's own."""
        return self.revision if base == self.bases[0] else "main"
