"""The base that gates are trained through, from the parts of a fit. Knows: parts. Does not know: any gate."""

from __future__ import annotations

from collections.abc import Sequence

from catalog.errors import SettingError
from lorauter.gates.singular_rows import plain
from lorauter.train.fit import FitParts
from lorauter.train.frozen_base import frozen_base
from lorauter.train.gated_base import GatedBase


def base_of(parts: FitParts, keys: Sequence[str], half: bool, loaded: GatedBase | None = None) -> GatedBase:
    """The base with some adapters as candidates.

    Args:
        parts: of the fit.
        keys: the candidates, in their order.
        half: as of `GatedBase`.
        loaded: one whose model is used, where there is one.

    Raises:
        SettingError: the parts have no base or no adapters' weights.
        UnsupportedAdapter: an adapter cannot be read, or is a DoRA.
    """
    if parts.base_folder is None or parts.read is None:
        raise SettingError("Gates are trained through the base, and there is none.", "Train by `lorauter fit`.")
    weights = [plain(key, parts.read(key)) for key in keys]
    base = (loaded.model, loaded.tokenizer) if loaded else frozen_base(parts.base_folder(), parts.device)
    return GatedBase(base, weights, parts.device, half)
