"""Three ways to take one sum, and the tables that they read from."""

from __future__ import annotations

from itertools import product

import pytest
import torch

from lorauter.engine.bank import deltas
from lorauter.engine.bank.deltas import add_deltas, fastest
from lorauter.engine.bank.slot_weights import SlotWeights
from lorauter.engine.bank.table import AdapterTable, width_of

D_IN, D_OUT, RANK, ROWS = 12, 20, 3, 5
USES = [(0, 0, 1.0), (0, 2, 0.5), (1, 1, 1.0), (3, 0, -0.25), (3, 1, 2.0), (3, 2, 1.0)]  # row, slot, weight; 2, 4: none


def filled(slots: int = 3) -> tuple[AdapterTable, list[torch.Tensor]]:
    """A table, and BA of each slot."""
    made = torch.Generator().manual_seed(0)
    table = AdapterTable(D_IN, D_OUT, width_of(RANK), 8, "cpu", torch.float32)
    pairs = [(torch.randn(RANK, D_IN, generator=made), torch.randn(RANK, D_OUT, generator=made)) for _ in range(slots)]
    assert [table.put(a, b) for a, b in pairs] == list(range(slots))
    return table, [b.T @ a for a, b in pairs]


def uses_of(uses: list[tuple[int, int, float]], batch: int = ROWS) -> SlotWeights:
    rows, slots = (torch.tensor([use[i] for use in uses], dtype=torch.int64) for i in (0, 1))
    return SlotWeights(rows, slots, torch.tensor([weight for *_, weight in uses]), batch)


def expected(
    updates: list[torch.Tensor], uses: list[tuple[int, int, float]], x: torch.Tensor, output: torch.Tensor
) -> torch.Tensor:
    found = output.clone()
    for row, slot, weight in uses:
        found[row] += weight * x[row] @ updates[slot].T
    return found


@pytest.mark.parametrize(("way", "tokens"), product(("bags", "rows", "stack"), (1, 4)))
def test_every_way_gives_the_sum(way: str, tokens: int, monkeypatch: pytest.MonkeyPatch) -> None:
    table, updates = filled()
    x, output = torch.randn(ROWS, tokens, D_IN), torch.randn(ROWS, tokens, D_OUT)
    monkeypatch.setattr(deltas, "fastest", lambda *_: way)

    found = add_deltas(table, uses_of(USES), x, output.clone())

    torch.testing.assert_close(found, expected(updates, USES, x, output))


@pytest.mark.parametrize(("way", "kept"), product(("bags", "rows", "stack"), ([0, 3], [3, 2, 0, 0], [2, 4])))
def test_rows_that_are_kept_keep_their_uses(way: str, kept: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    table, updates = filled()
    x, output = torch.randn(ROWS, 2, D_IN), torch.randn(ROWS, 2, D_OUT)
    uses = uses_of(USES)
    uses.bags(D_IN, table.width, 2)  # forms of before must not outlive the choice
    monkeypatch.setattr(deltas, "fastest", lambda *_: way)

    uses.select(torch.tensor(kept))

    found = add_deltas(table, uses, x[kept], output[kept])
    torch.testing.assert_close(found, expected(updates, USES, x, output)[kept])


def test_a_table_grows_and_gives_its_slots_again() -> None:
    table, updates = filled(5)

    table.release(2)
    slot = table.put(torch.ones(1, D_IN), torch.ones(1, D_OUT))  # of a smaller rank: the rest of the slot is cleared

    x = torch.randn(5, 1, D_IN)
    found = add_deltas(table, uses_of([(i, i, 1.0) for i in range(5)]), x, torch.zeros(5, 1, D_OUT))
    updates[slot] = torch.ones(D_OUT, D_IN)
    assert slot == 2
    torch.testing.assert_close(found, torch.stack([x[i] @ updates[i].T for i in range(5)]))


@pytest.mark.parametrize(
    ("rows", "adapters", "tokens", "device", "way"),
    [
        (32, 32, 1, "cpu", "bags"),  # decoding, an adapter a row
        (32, 32, 40, "cpu", "rows"),  # prefill, an adapter a row
        (64, 1, 40, "cpu", "stack"),  # all rows share one
        (32, 32, 1, "cuda", "rows"),
    ],
)
def test_the_way_follows_the_shapes(rows: int, adapters: int, tokens: int, device: str, way: str) -> None:
    table = AdapterTable(576, 576, 8, 64, "cpu", torch.float32)
    uses = uses_of([(row, row % adapters, 1.0) for row in range(rows)], rows)

    assert fastest(uses, tokens, table, device) == way
