"""The publish gate: what is much worse is refused."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from catalog.errors import PublishRefused, SettingError
from catalog.publish_gate import Gate, check


@dataclass(frozen=True)
class Published:
    task: str
    adapter: str
    lift: float
    set_aside: str | None = None


def best(*lifts: float) -> list[Published]:
    """A task a lift; none means the base."""
    return [Published(f"t{n}", "a@1" if lift else "", lift) for n, lift in enumerate(lifts)]


def test_what_is_as_good_or_a_little_worse_passes() -> None:
    check(Gate(), [], best(0.1))
    check(Gate(), best(0.5, 0.5), best(0.5, 0.9))
    check(Gate(), best(0.5, 0.5), best(0.5, 0.4))


def test_a_task_that_came_or_went_does_not_count() -> None:
    check(Gate(), best(0.5, 0.5), best(0.5))
    check(Gate(), best(0.5), best(0.5, 0.0))


def test_a_base_that_is_published_by_policy_is_no_fall_of_the_coverage() -> None:
    check(Gate(), best(0.5, -0.1), [*best(0.5), Published("t1", "", 0.0, set_aside="a@1")])

    with pytest.raises(PublishRefused, match=r"Not published: mean lift falls from 0\.500 to 0\.250"):
        check(Gate(), best(0.5, 0.5), [*best(0.5), Published("t1", "", 0.0, set_aside="a@1")])


def test_a_fall_of_both_is_told_with_the_figures_and_the_next_step() -> None:
    with pytest.raises(PublishRefused) as refused:
        check(Gate(), best(0.5, 0.5), best(0.5, 0.0))
    assert refused.value.cause == (
        "Not published: coverage falls from 1.000 to 0.500 (allowed: 0.1 less) and "
        "mean lift falls from 0.500 to 0.250 (allowed: 0.05 less), on 2 tasks."
    )
    assert 'lorauter publish --force "REASON"' in refused.value.next_step


def test_the_settings_say_what_is_much() -> None:
    check(Gate(coverage_fall=0.5, lift_fall=0.25), best(0.5, 0.5), best(0.5, 0.0))
    with pytest.raises(SettingError, match="gate lift_fall is 2"):
        Gate(lift_fall=2)
