"""Gates made of trained states: tensors and facts checked, one gate for all rows of a state.

Knows: which shapes each gate's state has. Does not know: where states lie, how they are trained. Loads no torch until a
gate is made.

A state may come from a stranger's snapshot: what does not fit together is refused here, and no batch stumbles over it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from catalog.errors import SnapshotError
from lorauter.gates.protocol import GateParts
from lorauter.gates.row_gates import OwnGate
from lorauter.trained.state import TrainedState, listed, shaped, untrained

if TYPE_CHECKING:
    import torch


def meteora(parts: GateParts) -> OwnGate:
    """MeteoRA's gate. Raises SettingError, SnapshotError: there is no state, or it is damaged."""
    from lorauter.gates.meteora import MeteoraGate

    state = _state(parts, "meteora")
    adapters = listed(state, "adapters")
    for name in state.tensors:
        shaped(state, name, len(adapters), None)
    return OwnGate(parts.once(lambda: MeteoraGate(_tensors(state), adapters)), parts.adapters)


def ramole(parts: GateParts) -> OwnGate:
    """RAMoLE's gate. Raises as `meteora`."""
    from lorauter.gates.ramole import RamoleGate, key_name, query_name

    state = _state(parts, "ramole")
    for module in (name.removesuffix(".a") for name in state.tensors if name.endswith(".a")):
        rank = len(shaped(state, query_name(module), None, None))
        shaped(state, key_name(module), None, rank)
    return OwnGate(parts.once(lambda: RamoleGate(_tensors(state), parts.read)), parts.adapters)


def lora_flow(parts: GateParts) -> OwnGate:
    """LoRA-Flow's gate of a task. Raises as `meteora`."""
    from lorauter.gates.lora_flow import LoraFlowGate

    state = _state(parts, "lora_flow")
    candidates = flow_candidates(state)
    for name in state.tensors:
        count = len(candidates.get(name.partition("|")[0], ()))
        shaped(state, name, count, *([None] if name.endswith(".w") else []))
    return OwnGate(parts.once(lambda: LoraFlowGate(_tensors(state), candidates)), parts.adapters, parts.part)


def flow_candidates(state: TrainedState) -> Mapping[str, Sequence[str]]:
    """LoRA-Flow's candidates by task, in the order of its tensors. Raises SnapshotError where the facts have none."""
    candidates = state.facts.get("candidates")
    if not isinstance(candidates, dict) or not all(isinstance(keys, list) for keys in candidates.values()):
        raise SnapshotError(
            "The trained state of 'lora_flow' cannot be used: its facts name no candidates.",
            "Train it anew: lorauter fit lora_flow.",
        )
    return {task: [str(key) for key in keys] for task, keys in candidates.items()}


def _state(parts: GateParts, name: str) -> TrainedState:
    if parts.state is None:
        raise untrained(name)
    return parts.state


def _tensors(state: TrainedState) -> Mapping[str, torch.Tensor]:
    import torch

    return {name: torch.from_numpy(tensor) for name, tensor in state.tensors.items()}
