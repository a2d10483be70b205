"""The comparison of skills: means over seeds and tasks, differences paired by item."""

from __future__ import annotations

from benchmarks.polytropon import SHAPES, Systems, compared, means, table


def seed_of(mhr: list[float], poly: list[float]) -> Systems:
    return {"mhr": {"z": {"a": mhr, "b": mhr}}, "poly": {"z": {"a": poly, "b": poly}}}


def test_what_two_systems_find_hard_alike_cancels_from_their_difference() -> None:
    by_seed = {0: seed_of([1.0, 0.0, 1.0, 0.0], [0.5, -0.5, 0.5, -0.5]), 1: seed_of([0.5] * 4, [0.0] * 4)}

    assert compared(by_seed, "z", "mhr", "poly") == [0.5, 0.5, 0.5]
    assert means(by_seed) == {"mhr": {"z": 0.5}, "poly": {"z": 0.0}}


def test_a_difference_that_depends_on_the_item_has_an_interval_around_it() -> None:
    by_seed = {0: seed_of([1.0, 0.0, 1.0, 1.0] * 4, [0.0] * 16)}

    difference, low, high = compared(by_seed, "z", "mhr", "poly")

    assert difference == 0.75
    assert 0.5 < low < 0.75 < high < 1


def test_the_table_has_a_line_a_system_and_a_line_a_difference() -> None:
    told = {
        "means": {"base": {"mean": 0.25}, "mhr": {"mean": 0.5, "z": 0.75}},
        "differences": [{"column": "z", "system": "mhr", "reference": "poly", "difference": [0.25, -0.125, 0.5]}],
    }

    assert table(told)[1:] == [
        "base                 0.250                           ",
        "mhr                  0.500    0.750                  ",
        "z        mhr - poly      +0.250 [-0.125, +0.500]",
    ]


def test_the_systems_have_equally_many_parameters() -> None:
    assert {shape.skills * shape.rank for shape in SHAPES.values()} == {16}
