"""Token gates: weights of adapters that are computed inside each module, for every token.

Knows: the protocol that every gate keeps, and a route that carries one, or the name of one. Does not know: any gate
(lorauter/gates), how the outputs are summed (lorauter/engine/bank/gated_deltas). Loads no torch: routers name gates
without it.

A mixture says once for a whole text what each adapter weighs. A gate says it anew at every module and token, from what
the module is given:

    y = Wx + c + Σ_a w_a(x, module) · s_a B_a A_a x

A `TokenGate` has the same candidates in all its rows. A `RowGate` weighs candidates that each row brings: what it has
learned is one for all rows. Either may ask for the input of the decoder block instead of the module's own, see
`reads_blocks`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from catalog.errors import SettingError
from lorauter.gates.row_gates import OwnGate, RowGate
from lorauter.routing.routes import Mixture, TaskMatch

if TYPE_CHECKING:
    import torch

    from lorauter.gates.singular_rows import ReadAdapter, SingularRows
    from lorauter.trained.state import TrainedState


@runtime_checkable
class TokenGate(Protocol):
    """Weighs K candidates a token. Compared by identity: rows that share a gate share its work."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """Keys of the K candidates, each once."""

    def weigh(self, module: str, x: torch.Tensor) -> torch.Tensor:
        """Weights of the candidates for every token.

        A token's weights must depend on that token alone: rows are padded, and their batch is chosen by length.

        Args:
            module: dotted name of a module of the base that at least one candidate touches.
            x: its input, (rows, tokens, d_in), in the engine's dtype, on its device.

        Returns:
            (rows, tokens, K), any float dtype, on x's device; not read for candidates that do not touch the module.
        """


def reads_blocks(gate: TokenGate | RowGate) -> bool:
    """Whether a gate weighs once a decoder block, by the block's input (the residual stream before its layer norm).

    Such a gate has an attribute `reads_blocks` that is true. It is given the block's dotted name and input in the place
    of a module's, and all modules of the block share what it says.
    """
    return bool(getattr(gate, "reads_blocks", False))


@dataclass(frozen=True, slots=True)
class NamedGate:
    """A gate that is still to be made; two of one name, the same candidates, state and part are equal.

    Args:
        name: one of `lorauter.gates.named.GATES`, with its constants as they are by default.
        adapters: keys of its candidates, sorted, each once; see `lorauter.gates.named.named_gate`.
        state: hash of its trained state (`lorauter.trained.state.TrainedState.sha`); "" for a gate that learns nothing.
        part: which part of the state is meant, where one holds several: LoRA-Flow's task.
    """

    name: str
    adapters: tuple[str, ...]
    state: str = ""
    part: str = ""


def _made(make: Callable[[], RowGate]) -> RowGate:
    return make()


@dataclass(frozen=True, slots=True)
class GateParts:
    """What a gate is made from.

    Args:
        adapters: keys of its candidates, sorted, each once.
        read: gives an adapter's weights, as they are stored, on the CPU.
        singular: gives an adapter's singular rows by module; gates that share adapters take each apart once.
        state: what a gate that learns was trained to; None where its name holds no state. Its adapters may be others
            than the candidates: what is masked, or has gone, is missing from those.
        part: of the state.
        once: (make) → what `make` gave for this name and state before, or makes now: a `RowGate` for rows of any
            candidates.
    """

    adapters: tuple[str, ...]
    read: ReadAdapter
    singular: SingularRows
    state: TrainedState | None = None
    part: str = ""
    once: Callable[[Callable[[], RowGate]], RowGate] = _made


MakeGate = Callable[[GateParts], TokenGate | OwnGate]
Opened = Mixture | TokenGate | OwnGate
"""What weighs a row's adapters in a batch: numbers, or a gate."""
Weighing = Opened | NamedGate
"""What weighs a row's adapters: numbers, a gate, or the name of one, which the engine opens."""


@dataclass(frozen=True, slots=True)
class GatedRoute:
    """Where a query goes when its weights are not known before its tokens are.

    Args:
        gate: weighs its candidates token by token; only a named one can be planned and stored.
        tasks: as of `Route`.
        confidence: as of `Route`.
    """

    gate: TokenGate | OwnGate | NamedGate
    tasks: tuple[TaskMatch, ...] = field(default=())
    confidence: float = float("nan")

    @property
    def mixture(self) -> Mixture:
        """There is none. Raises SettingError: whoever knows mixtures only must not answer with the base alone."""
        raise SettingError(
            f"A route of {self.gate.name!r} has no mixture: its weights differ from token to token.",
            "Answer it by Engine.answer or `lorauter answer`; it can be neither composed nor exported.",
        )


class WithMixture(Protocol):
    """Anything with a mixture, such as a router's route; a `GatedRoute` too."""

    @property
    def mixture(self) -> Mixture:
        """Adapter keys with weights."""


def weighing_of(route: WithMixture) -> Weighing:
    """What weighs a route's adapters."""
    return route.gate if isinstance(route, GatedRoute) else route.mixture


def taking_part(weighing: Weighing) -> tuple[str, ...]:
    """The adapters that it may use, in its order."""
    return tuple(key for key, _ in weighing) if isinstance(weighing, tuple) else weighing.adapters
