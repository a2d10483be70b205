"""The budget: windows as a hub grants them, waits as short as they may be, a pace that follows trouble."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

from catalog.hub.budget import Pace
from tests.catalog.hub.hub_clock import budget


def test_a_documented_window_is_spent_without_a_wait_and_the_next_request_waits_for_its_end() -> None:
    spending, clock = budget("anonymous")
    clock.now = 7.0
    for _ in range(3_000):
        spending.spend("resolvers")
    clock.now = 100.0
    spending.spend("resolvers")
    assert (clock.waits, clock.now) == ([207.0], 307.0)


def test_kinds_have_windows_of_their_own() -> None:
    spending, clock = budget("anonymous")
    for _ in range(500):
        spending.spend("api")
    spending.spend("resolvers")
    assert (clock.waits, spending.left("api"), spending.left("resolvers")) == ([], 0, 2_999)


def test_a_hub_that_states_no_limits_is_asked_without_any() -> None:
    spending, clock = budget()
    for _ in range(10_000):
        spending.spend("api")
    assert (clock.waits, spending.left("api")) == ([], math.inf)


def test_what_the_hub_says_goes_before_what_we_counted() -> None:
    spending, clock = budget("anonymous")
    spending.spend("api")
    spending.learn("api", remaining=0, resets_in=42.0, quota=2_500, length=300.0)
    spending.spend("api")
    assert (clock.waits, spending.left("api")) == ([42.0], 2_499)


def test_answers_out_of_order_do_not_give_requests_back() -> None:
    spending, _ = budget()
    spending.learn("api", remaining=10, resets_in=60.0, quota=500, length=300.0)
    spending.learn("api", remaining=12, resets_in=60.0, quota=500, length=300.0)
    assert spending.left("api") == 10


def test_a_new_window_of_the_hub_is_taken_over() -> None:
    spending, clock = budget()
    spending.learn("api", remaining=1, resets_in=10.0, quota=500, length=300.0)
    clock.now = 11.0
    spending.learn("api", remaining=499, resets_in=300.0, quota=500, length=300.0)
    assert spending.left("api") == 499


def test_a_refusal_is_waited_out_and_told() -> None:
    spending, clock = budget()
    told: list[tuple[str, float]] = []
    spending.on_wait = lambda kind, seconds: told.append((kind, seconds))
    spending.refused("resolvers", 30.0)
    spending.spend("resolvers")
    assert (clock.waits, told) == ([30.0], [("resolvers", 30.0)])


def test_refusals_without_an_end_are_waited_out_in_minutes_longer_each_time() -> None:
    spending, clock = budget("free")
    for _ in range(5):
        spending.refused("resolvers", None)
        spending.refused("resolvers", None)  # sent before the first one came back
        spending.learn("resolvers", remaining=4_000, resets_in=200.0, quota=5_000, length=300.0)  # of one in flight
        spending.spend("resolvers")
    spending.answered("resolvers")
    spending.refused("resolvers", None)
    spending.spend("resolvers")
    assert clock.waits == [60.0, 120.0, 240.0, 300.0, 300.0, 60.0]


def test_a_hub_that_charges_for_less_than_we_counted_is_believed() -> None:
    """Its redirects may cost nothing: what it says is left goes up again, but for what may be under way."""
    spending, _ = budget("anonymous")
    for _ in range(2_000):
        spending.spend("resolvers")
    spending.learn("resolvers", remaining=2_900, resets_in=290.0, quota=3_000, length=300.0)
    assert spending.left("resolvers") == 2_836


def test_the_time_that_requests_will_wait_is_known_beforehand() -> None:
    spending, clock = budget("free")
    spending.spend("resolvers")
    clock.now = 60.0
    plans = {n: spending.seconds_for("resolvers", n) for n in (4_999, 5_000, 9_999, 10_000)}
    assert plans == {4_999: 0.0, 5_000: 240.0, 9_999: 240.0, 10_000: 540.0}


def test_threads_take_no_more_than_there_is() -> None:
    spending, clock = budget("anonymous")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: spending.spend("api"), range(500)))
    assert (clock.waits, spending.left("api")) == ([], 0)


def test_the_pace_rises_one_a_round_and_halves_on_trouble() -> None:
    pace = Pace(most=16, start=8)
    for _ in range(9):
        pace.went_well()
    faster = pace.limit
    for _ in range(5):
        pace.met_trouble()  # a swarm counts once
    assert (faster, pace.limit) == (9, 4)


def test_the_pace_keeps_its_bounds() -> None:
    pace = Pace(most=2, start=8)
    for _ in range(20):
        pace.went_well()
    assert pace.limit == 2


def test_a_wait_is_never_longer_than_an_hour_whatever_a_header_says() -> None:
    spending, clock = budget()
    spending.refused("api", 400_000_000.0)
    spending.spend("api")
    spending.learn("resolvers", remaining=0, resets_in=400_000_000.0, quota=3_000, length=400_000_000.0)
    spending.spend("resolvers")
    assert clock.waits == [3_600.0, 3_600.0]


def test_a_window_of_no_requests_is_no_window() -> None:
    spending, clock = budget()
    spending.learn("api", remaining=0, resets_in=2.0, quota=0, length=0.0)
    spending.spend("api")
    spending.spend("api")
    assert clock.waits == [2.0]


def test_a_refusal_that_is_over_at_once_is_waited_out_for_a_second() -> None:
    spending, clock = budget()
    spending.refused("api", 0.0)
    spending.spend("api")
    assert clock.waits == [1.0]
