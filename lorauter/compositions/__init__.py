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
from dataclasses import asdict

from catalog.plugins import Registry
from lorauter.compositions.base import Composition, CompositionOptions
from lorauter.compositions.cat import cat
from lorauter.compositions.dare import dare_linear, dare_ties
from lorauter.compositions.fusion import fusion
from lorauter.compositions.linear import linear
from lorauter.compositions.magnitude_prune import magnitude_prune
from lorauter.compositions.output_mixture import OutputMixture
from lorauter.compositions.packaged import MakeComposition, guarded
from lorauter.compositions.selection import Selection
from lorauter.compositions.ties import ties

__all__ = ["COMPOSITIONS", "MIXTURE", "OWN", "MakeComposition", "open_composition", "read_spelled", "spelled"]

MIXTURE = "mixture"
OWN = "own"
"""No composition: in an evaluation, those that each router was published with."""
COMPOSITIONS: Registry[MakeComposition] = Registry(
    "lorauter.compositions",
    "composition",
    {
        MIXTURE: lambda _options: OutputMixture(),
        "selection": lambda _options: Selection(),
        "cat": lambda _options: cat(),
        "linear": lambda _options: linear(),
        "fusion": lambda _options: fusion(),
        "ties": ties,
        "magnitude_prune": magnitude_prune,
        "dare_linear": dare_linear,
        "dare_ties": dare_ties,
    },
    wanted="a function of lorauter.compositions.base.CompositionOptions",
    reserved=(OWN,),
    guarded=guarded,
)
"""By name: these, and those that packages bring (catalog/plugins)."""


def spelled(name: str, options: CompositionOptions | None = None) -> str:
    """A composition with its settings as one text, which `read_spelled` reads; "" for the output mixture.

    Of a package's composition it holds package and version: another version's answers are other answers.
    """
    open_composition(name, options)
    if name == MIXTURE:
        return ""
    settings: dict[str, object] = asdict(options or CompositionOptions())
    package = COMPOSITIONS.package(name)
    return json.dumps([name, {**settings, "package": package} if package else settings])


def read_spelled(text: str) -> Composition:
    """The inverse of `spelled`. Raises SettingError: there is no such composition on this machine."""
    name, settings = json.loads(text) if text else (MIXTURE, {})
    COMPOSITIONS.check_package(name, settings.pop("package", ""))
    return open_composition(name, CompositionOptions(**settings))


def open_composition(name: str, options: CompositionOptions | None = None) -> Composition:
    """The composition of that name.

    Raises:
        SettingError: there is none.
        PluginError: the package that brings it does not load.
    """
    COMPOSITIONS.check(name)
    return COMPOSITIONS[name](options or CompositionOptions())
