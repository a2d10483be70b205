"""Keys of compositions: the same members are one adapter, what decides the weights decides the key."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from lorauter.adapters.weights import AdapterWeights
from lorauter.compositions import COMPOSITIONS, open_composition
from lorauter.compositions.base import Composed, CompositionOptions, compose_all
from lorauter.routing.routes import Mixture
from tests.lorauter.compositions.kinds import (
    TWO_SIDED,
    compose,
    delta,
    merge_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", ["cat", *TWO_SIDED])
def test_the_same_members_have_one_key_and_one_adapter(name: str, read: Callable[[str], AdapterWeights]) -> None:
    one = merge_of(name, (("qv", 0.7), ("qv_too", 0.3)))
    torch.manual_seed(99)  # DARE does not draw from it
    two = merge_of(name, (("qv_too", 0.3), ("qv", 0.2), ("mlp", 0.0), ("qv", 0.5)))

    assert (one.key, one.members) == (two.key, two.members)
    assert one.key.startswith(f"{name}:")
    ours, theirs = one.weights(read).modules, two.weights(read).modules
    assert ours and ours.keys() == theirs.keys()
    assert [module for module in ours if not torch.equal(delta(ours[module]), delta(theirs[module]))] == []


@pytest.mark.parametrize(
    ("name", "deciding"),
    [
        ("cat", set()),
        ("linear", set()),
        ("fusion", set()),
        ("ties", {"density", "majority"}),
        ("magnitude_prune", {"density"}),
        ("dare_linear", {"density", "seed"}),
        ("dare_ties", {"density", "seed", "majority"}),
    ],
)
def test_a_key_changes_with_what_decides_the_weights(name: str, deciding: set[str]) -> None:
    mixture = (("qv", 0.7), ("qv_too", 0.3))
    others: dict[str, Any] = {"density": 0.31, "majority": "frequency", "seed": 6}
    plain: dict[str, Any] = {"density": 0.3, "seed": 5}
    key = merge_of(name, mixture).key

    changed = {o for o, v in others.items() if merge_of(name, mixture, CompositionOptions(**plain | {o: v})).key != key}

    assert changed == deciding
    assert merge_of(name, (("qv", 0.71), ("qv_too", 0.3))).key != key


def test_rows_with_equal_mixtures_share_their_merge() -> None:
    rows: list[Mixture] = [(("a", 0.5), ("b", 0.5)), (("b", 0.5), ("a", 0.5)), (("a", 1.0),), (), (("a", 1), ("b", 1))]

    batch = compose_all(open_composition("cat"), rows)

    first, last = batch.mixtures[0][0][0], batch.mixtures[4][0][0]
    assert batch.mixtures == [((first, 1.0),), ((first, 1.0),), (("a", 1.0),), (), ((last, 1.0),)]
    assert list(batch.merges) == [first, last]


@pytest.mark.parametrize("name", COMPOSITIONS)
def test_no_adapter_is_the_base(name: str) -> None:
    assert compose(name, ()) == Composed(())


@pytest.mark.parametrize(
    ("mixture", "expected"),
    [
        ((("a", 0.5), ("b", 0.3)), (("a", 1.0),)),
        ((("b", 0.5), ("a", 0.5)), (("a", 1.0),)),
        ((("a", 0.2), ("b", 0.3), ("a", 0.2)), (("a", 1.0),)),
        ((("a", 0.4), ("b", 0.1)), ()),  # the other half went to tasks that publish the base
    ],
)
def test_selection_takes_the_heaviest(mixture: Mixture, expected: Mixture) -> None:
    assert compose("selection", mixture) == Composed(expected)
