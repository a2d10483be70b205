"""The fits by name: the routers and gates that have to be trained. Knows: which. Loads no torch."""

from __future__ import annotations

from collections.abc import Mapping

from catalog.errors import SettingError
from lorauter.train.dlp_lora import DlpLoraFit
from lorauter.train.fit import Fit
from lorauter.train.lora_flow import LoraFlowFit
from lorauter.train.meteora import MeteoraFit
from lorauter.train.polytropon import MHR, POLY
from lorauter.train.ramole import RamoleFit
from lorauter.train.two_stage import TwoStageFit

_ALL: tuple[Fit, ...] = (DlpLoraFit(), TwoStageFit(), MeteoraFit(), RamoleFit(), LoraFlowFit(), MHR, POLY)
FITS: Mapping[str, Fit] = {fit.name: fit for fit in _ALL}
"""Router or gate → what trains it. Adding one: a file in this room, and a line here."""


def check_fits(names: tuple[str, ...]) -> None:
    """Raise SettingError for a router that needs no training, or that there is not."""
    for name in names:
        if name not in FITS:
            raise SettingError(
                f"The router {name!r} is not trained by lorauter fit.", f"Choose from: {', '.join(FITS)}."
            )
