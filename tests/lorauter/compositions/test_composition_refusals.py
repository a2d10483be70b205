"""What a composition refuses, and the name by which it does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from catalog.errors import SettingError, UnsupportedAdapter
from lorauter.adapters.weights import AdapterWeights, LoraPair
from lorauter.compositions import open_composition
from lorauter.compositions.base import CompositionOptions
from lorauter.compositions.reading import reader
from tests.lorauter.compositions.kinds import (
    Q_PROJ,
    TWO_SIDED,
    merge_of,
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("name", TWO_SIDED)
def test_unequal_ranks_are_refused_by_name(name: str, read: Callable[[str], AdapterWeights]) -> None:
    merge = merge_of(name, (("qv", 0.6), ("wide", 0.4)))

    with pytest.raises(
        UnsupportedAdapter, match=rf"qv has rank 4 and wide rank 8 at .*: {name} adds .* mixture or cat"
    ):
        merge.weights(read)


@pytest.mark.parametrize("name", ["cat", *TWO_SIDED])
def test_a_dora_is_refused_by_name(name: str, read: Callable[[str], AdapterWeights]) -> None:
    merge = merge_of(name, (("qv", 0.6), ("dora", 0.4)))

    with pytest.raises(UnsupportedAdapter, match=f"dora is a DoRA, which {name} cannot merge.* mixture or selection"):
        merge.weights(read)


def test_adapters_of_other_bases_are_refused() -> None:
    known = {
        n: AdapterWeights({Q_PROJ: LoraPair(torch.ones(2, d), torch.ones(8, 2), 1.0)}) for n, d in (("a", 8), ("b", 9))
    }
    merge = merge_of("cat", (("a", 0.5), ("b", 0.5)))

    with pytest.raises(UnsupportedAdapter, match=r"a and b have different shapes at .*q_proj: \(8, 8\) and \(8, 9\)"):
        merge.weights(known.__getitem__)


def test_a_member_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedAdapter, match="org/gone@abc: The adapter has no readable"):
        reader(lambda key: tmp_path)("org/gone@abc")


@pytest.mark.parametrize("options", [{"density": 0}, {"density": 1.1}, {"majority": "loudest"}])
def test_an_option_out_of_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(options))} is"):
        CompositionOptions(**options)


def test_an_unknown_composition_is_refused() -> None:
    with pytest.raises(SettingError, match=r"no composition 'svd'.*mixture, selection, cat"):
        open_composition("svd")
