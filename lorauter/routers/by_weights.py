"""Routers that look at the adapters' weights, or let the base read the query, and at no task or score.

Knows: which there are, what each is built from. Does not know: how they weigh (lorauter/gates, lorauter/routers/logo).

All admitted adapters are candidates. Gates take no DoRA, whose ΔW is not of low rank: they leave those out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING

from lorauter.gates.named import GATES, TRAINED, named_gate
from lorauter.routers.lazy import LazyRouter
from lorauter.routers.token_gate import TokenGateRouter

if TYPE_CHECKING:
    from lorauter.routers import RouterParts
    from lorauter.routing.routes import Router


def gate_router(name: str, parts: RouterParts) -> Router:
    """The gate of that name over all admitted adapters but DoRA; of a trained one, those that it was trained on."""
    left = [key for key in parts.pool if key not in parts.doras]
    if name not in TRAINED:
        return TokenGateRouter(named_gate(name, left))

    def make() -> Router:
        state = parts.state(name)
        return TokenGateRouter(named_gate(name, set(left).intersection(state.facts["adapters"]), state.sha))

    return LazyRouter(name, make)


def logo_router(signal: str, parts: RouterParts) -> LazyRouter:
    """LoGo with a name of its `SIGNALS` over all admitted adapters: one pass of the bare base a query."""

    def make() -> Router:
        from lorauter.routers.logo import LogoRouter

        return LogoRouter(parts.engine(), parts.pool, signal, prompt_of=parts.prompt_of)

    return LazyRouter("logo" if signal == "norm" else f"logo_{signal}", make, passes=1.0)


class GateRouters(Mapping[str, "Callable[[RouterParts], Router]"]):
    """Every gate of `GATES` as a router, those that packages bring too."""

    def __getitem__(self, name: str) -> Callable[[RouterParts], Router]:
        if name not in GATES or name in RETRIEVED:
            raise KeyError(name)
        return partial(gate_router, name)

    def __contains__(self, name: object) -> bool:
        return name in GATES

    def __iter__(self) -> Iterator[str]:
        return iter(GATES)

    def __len__(self) -> int:
        return len(GATES)


RETRIEVED = ("ramole", "lora_flow")
"""Gates whose candidates are those of a query's nearest tasks: lorauter/routers/retrieved_gate."""
BY_WEIGHTS: Mapping[str, Callable[[RouterParts], Router]] = {
    "logo": partial(logo_router, "norm"),
    "logo_entropy": partial(logo_router, "entropy"),
    **{name: partial(gate_router, name) for name in GATES.built_in if name not in RETRIEVED},
}
