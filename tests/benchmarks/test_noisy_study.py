"""The study of noisy pools: which repos a size has, what its table and plot tell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.noisy_plan import HONEST
from benchmarks.noisy_plot import plot
from benchmarks.noisy_study import HONEST_KIND, kinds_of, lines
from catalog.errors import SettingError


@pytest.fixture
def pool(tmp_path: Path) -> Path:
    """A folder of two noisy adapters, of which the second is not made yet."""
    (tmp_path / "hub" / "ann" / "one").mkdir(parents=True)
    (tmp_path / "kinds.json").write_text(json.dumps({"ann/one": {"kind": "shuffled"}, "ann/two": {"kind": "off-task"}}))
    return tmp_path


def test_a_size_is_the_honest_adapters_and_the_first_noisy_ones(pool: Path) -> None:
    assert kinds_of(pool, 20) == dict.fromkeys((recipe.name for recipe in HONEST), HONEST_KIND)
    assert list(kinds_of(pool, 21).items())[20:] == [("ann/one", "shuffled")]


@pytest.mark.parametrize("size", [19, 22])
def test_a_size_that_is_not_made_is_refused(pool: Path, size: int) -> None:
    with pytest.raises(SettingError, match=f"There is no pool of {size}"):
        kinds_of(pool, size)


def figures(size: int, picks_by_kind: dict[str, int], lorauter: float) -> dict[str, Any]:
    """Figures of one size with two systems."""
    line = {"composition": "mixture", "difference": None, "refused": 0.0}
    ceiling = {"value": 0.9, "low": 0.85, "high": 0.95}
    own = {"value": lorauter, "low": lorauter - 0.1, "high": lorauter + 0.05}
    return {
        "size": size,
        "admitted": size,
        "evaluations": {"spent": 10 * size, "exhaustive": 100 * size, "new": 10 * size},
        "seconds": 1234,
        "snapshot": "abc",
        "items": 28,
        "routers": [
            {"router": "oracle", "average": ceiling, "share": {"value": 1.0}, **line},
            {"router": "lorauter", "average": own, "share": {"value": None}, **line},
        ],
        "picks_by_kind": picks_by_kind,
        "picks_declared": 1,
        "picks_test": 0.75,
        "declared_test": 0.8,
        "picks": [{}, {}],
    }


def test_the_table_has_a_column_a_size() -> None:
    told = lines([figures(20, {"honest": 2}, 0.8), figures(60, {"honest": 1, "perturbed": 1}, 0.7)])
    assert [line.split("  ")[0] for line in told] == [
        "adapters", "admitted", "evaluations", "of exhaustive", "refresh, s", "noisy picks", "picks, test",
        "declared, test", "oracle + mixture", "lorauter + mixture",
    ]  # fmt: skip
    assert told[2].split()[1:] == ["200", "600"]
    assert told[5].split("  ")[-1].strip() == "1 of 2 (1 perturbed)"
    assert told[9].split("  ")[-1].strip() == "0.700 [0.600, 0.750]"
    assert told[8].split("  ")[-1].strip() == "0.900 [0.850, 0.950] 100.0%"


def test_the_plot_of_equal_figures_is_the_same_file(tmp_path: Path) -> None:
    found = [figures(20, {"honest": 2}, 0.8), figures(60, {"honest": 2}, 0.7)]
    for name in ("one.svg", "two.svg"):
        plot(found, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert "lorauter + mixture" in (tmp_path / "one.svg").read_text()
