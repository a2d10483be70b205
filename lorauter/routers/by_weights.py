"""Routers that look at the base or at the adapters' weights. `BY_WEIGHTS` maps the names people use to them.

Knows: which there are, what each is built from. Does not know: snapshots, tasks, embeddings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from lorauter.gates.arrow import ArrowGate
from lorauter.gates.calibration import calibrate
from lorauter.gates.lag import LagGate
from lorauter.gates.seqr import SeqrGate
from lorauter.gates.singular_rows import SingularRows, singular_rows_of
from lorauter.gates.spectr import SpectrGate
from lorauter.routers.logo import LogoRouter
from lorauter.routers.token_gate import TokenGateRouter

if TYPE_CHECKING:
    from lorauter.engine import Engine
    from lorauter.routing import Router


@dataclass(frozen=True)
class WeightParts:
    """What such a router may be built from.

    Args:
        engine: answers for the base, and reads the candidates. adapters: keys of the candidates; gates need them all
            within the engine's capacity.
        prompt_of: query → prompt as it is answered, for routers that let the base read it.
        texts: ordinary prompts, for gates that calibrate; without any, none does.
    """

    engine: Engine
    adapters: Sequence[str]
    prompt_of: Callable[[str], str] = str
    texts: Sequence[str] = ()

    @cached_property
    def singular(self) -> SingularRows:
        """One for all gates: each adapter is taken apart once."""
        return singular_rows_of(self.engine.weights_of)


BY_WEIGHTS: dict[str, Callable[[WeightParts], Router | TokenGateRouter]] = {
    "logo": lambda p: LogoRouter(p.engine, p.adapters, prompt_of=p.prompt_of),
    "logo_entropy": lambda p: LogoRouter(p.engine, p.adapters, "entropy", prompt_of=p.prompt_of),
    "arrow": lambda p: TokenGateRouter(ArrowGate(p.adapters, p.singular)),
    "spectr": lambda p: TokenGateRouter(SpectrGate(p.adapters, p.singular)),
    "lag": lambda p: TokenGateRouter(LagGate(p.adapters, p.singular)),
    "seqr": lambda p: TokenGateRouter(_seqr(p)),
}


def _seqr(parts: WeightParts) -> SeqrGate:
    gate = SeqrGate(parts.adapters, parts.engine.weights_of)
    return calibrate(gate, parts.engine, parts.texts) if parts.texts else gate
