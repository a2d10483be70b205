"""Compositions, one small file each. `COMPOSITIONS` maps the names people use to them.

Knows: which compositions there are. Does not know: routes, engines.

| name | new adapter | ranks | DoRA |
|---|---|---|---|
| mixture | none: outputs are mixed, exactly | any | exact |
| selection | none: the heaviest alone | any | exact |
| cat | the mixture as one adapter of rank Σr | any | refused |
| linear, fusion, ties, magnitude_prune, dare_linear, dare_ties | one of equal rank | equal a module | refused |

A route of a single adapter is served as it is by all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

from catalog.errors import SettingError
from lorauter.compositions.base import Composition, CompositionOptions
from lorauter.compositions.cat import cat
from lorauter.compositions.dare import dare_linear, dare_ties
from lorauter.compositions.fusion import fusion
from lorauter.compositions.linear import linear
from lorauter.compositions.magnitude_prune import magnitude_prune
from lorauter.compositions.output_mixture import OutputMixture
from lorauter.compositions.selection import Selection
from lorauter.compositions.ties import ties

MIXTURE = "mixture"
COMPOSITIONS: dict[str, Callable[[CompositionOptions], Composition]] = {
    MIXTURE: lambda _: OutputMixture(),
    "selection": lambda _: Selection(),
    "cat": lambda _: cat(),
    "linear": lambda _: linear(),
    "fusion": lambda _: fusion(),
    "ties": ties,
    "magnitude_prune": magnitude_prune,
    "dare_linear": dare_linear,
    "dare_ties": dare_ties,
}


def spelled(name: str, options: CompositionOptions | None = None) -> str:
    """A composition with its settings as one text, which `read_spelled` reads; "" for the output mixture."""
    open_composition(name, options)
    return "" if name == MIXTURE else json.dumps([name, asdict(options or CompositionOptions())])


def read_spelled(text: str) -> Composition:
    """The inverse of `spelled`."""
    name, options = json.loads(text) if text else (MIXTURE, {})
    return open_composition(name, CompositionOptions(**options))


def open_composition(name: str, options: CompositionOptions | None = None) -> Composition:
    """The composition of that name.

    Raises:
        SettingError: there is none.
    """
    if name not in COMPOSITIONS:
        raise SettingError(f"There is no composition {name!r}.", f"Choose from {', '.join(COMPOSITIONS)}.")
    return COMPOSITIONS[name](options or CompositionOptions())
