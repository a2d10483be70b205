"""Batch plans: what the held adapters do at each module of the base, row by row of one batch.

Knows: where an adapter lies, which rows weigh it, DoRA's tilt. Does not know: how adapters come to be held
(lorauter/engine/bank/bank), how the sums are taken (lorauter/engine/bank/deltas), how they reach the base
(lorauter/engine/bank/hooks).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from lorauter.engine.bank.gated_rows import GateRows
from lorauter.engine.bank.slot_weights import SlotWeights
from lorauter.engine.bank.table import AdapterTable


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where an adapter lies at one module.

    Args:
        table: its module's table of its width.
        slot: its number there.
        d: DoRA's g - 1, (d_out,); None for a LoRA.
    """

    table: AdapterTable
    slot: int
    d: torch.Tensor | None


class RowTilt:
    """What DoRA scales, by row of the batch: Σ_a w_a d_a.

    Attributes:
        users: (users,) int64, the rows where it is not 0.
        value: of the users, (users, d_out).
    """

    __slots__ = ("_all", "users", "value")

    def __init__(self, value: torch.Tensor) -> None:
        self._all = value
        self.users = value.any(1).nonzero()[:, 0]
        self.value = value[self.users]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows, in place."""
        self.__init__(self._all[rows])  # type: ignore[misc]

    def add(self, output: torch.Tensor, bias: torch.Tensor | None) -> None:
        """To an output (rows, tokens, d_out) of Wx + c, tilt ∘ Wx, in place."""
        own = output.index_select(0, self.users)
        product = own if bias is None else own - bias
        output.index_add_(0, self.users, self.value[:, None, :] * product)


@dataclass(frozen=True, slots=True, eq=False)
class ModulePlan:
    """What a batch does at one module.

    Args:
        parts: tables, one a width, with what the rows weigh of them.
        tilt: None without DoRA.
    """

    parts: tuple[tuple[AdapterTable, SlotWeights], ...]
    tilt: RowTilt | None


class BatchPlan:
    """What one batch does at each touched module. `select` keeps some of the rows while decoding goes on.

    Args:
        modules: what mixtures do, by module.
        rows: of the batch.
        gated: what gates do.
    """

    def __init__(self, modules: dict[str, ModulePlan], rows: int, gated: tuple[GateRows, ...] = ()) -> None:
        self.modules = modules
        self.rows = rows
        self.gated = gated

    def select(self, rows: torch.Tensor) -> None:
        """Keeps the given rows (int64 indices into the present ones), in that order, in place."""
        shared: dict[int, SlotWeights | RowTilt] = {}
        for module in self.modules.values():
            shared |= {id(weights): weights for _table, weights in module.parts}
            if module.tilt is not None:
                shared[id(module.tilt)] = module.tilt
        for part in shared.values():
            part.select(rows)
        for gated in self.gated:
            gated.select(rows)
        self.rows = len(rows)


def planned(
    held: Mapping[str, Mapping[str, Place]], mixtures: Sequence[Mapping[str, float]], device: str, dtype: torch.dtype
) -> dict[str, ModulePlan]:
    """What mixtures do at every module that one of their adapters touches.

    Args:
        held: adapter key → module → its place.
        mixtures: a row's weights by adapter key, each once.
        device: of the base.
        dtype: of the base.
    """
    keys = tuple(dict.fromkeys(key for mixture in mixtures for key in mixture))
    touching: dict[str, dict[int, Place]] = {}
    for column, key in enumerate(keys):
        for name, place in held[key].items():
            touching.setdefault(name, {})[column] = place
    weighed = _Weighed(keys, mixtures, device, dtype)
    return {name: ModulePlan(tuple(weighed.by_table(at)), weighed.tilt(at)) for name, at in touching.items()}


class _Weighed:
    """A batch's mixtures as weights of slots: the same slots at two modules give one and the same `SlotWeights`."""

    def __init__(
        self, keys: Sequence[str], rows: Sequence[Mapping[str, float]], device: str, dtype: torch.dtype
    ) -> None:
        column = {key: number for number, key in enumerate(keys)}
        self._uses = [(row, column[key], weight) for row, mixture in enumerate(rows) for key, weight in mixture.items()]
        self._batch, self._columns, self._device, self._dtype = len(rows), len(keys), device, dtype
        self._made: dict[tuple[tuple[int, int], ...], SlotWeights] = {}

    def by_table(self, places: Mapping[int, Place]) -> Iterator[tuple[AdapterTable, SlotWeights]]:
        """Each table with what the rows weigh of it; `places` by the column of their key."""
        slots: dict[AdapterTable, dict[int, int]] = {}
        for column, place in places.items():
            slots.setdefault(place.table, {})[column] = place.slot
        for table, by_column in slots.items():
            name = tuple(by_column.items())
            if name not in self._made:
                self._made[name] = self._of_slots(by_column)
            yield table, self._made[name]

    def tilt(self, places: Mapping[int, Place]) -> RowTilt | None:
        """What the DoRAs among the places scale; None where there are none."""
        tilted = {column: place.d for column, place in places.items() if place.d is not None}
        if not tilted:
            return None
        weights = self._dense()[:, list(tilted)]
        return RowTilt((weights @ torch.stack(list(tilted.values())).float()).to(self._dtype))

    def _dense(self) -> torch.Tensor:
        """(rows, keys) in fp32."""
        weights = torch.zeros(self._batch, self._columns)
        for row, column, weight in self._uses:
            weights[row, column] = weight
        return weights.to(self._device)

    def _of_slots(self, slots: Mapping[int, int]) -> SlotWeights:
        used = [(row, slots[column], weight) for row, column, weight in self._uses if column in slots]
        rows, numbers = torch.tensor([use[:2] for use in used], dtype=torch.int64, device=self._device).view(-1, 2).T
        weights = torch.tensor([weight for *_, weight in used], device=self._device).to(self._dtype)
        return SlotWeights(rows.contiguous(), numbers.contiguous(), weights, self._batch)
