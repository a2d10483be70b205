"""Learned routers against controls: a bootstrap over items and seeds, what claims come to, jobs of many processes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.learned import BEFORE, DRAWN, LEARNED, WORLDS, Job, claimed, jobs_of, main, told_of, work_off
from benchmarks.learned_figures import CLAIMS, FAILS, FEW, HOLDS, OPEN, Claim, Figures, verdict

CLAIM = Claim("ood", "a", "b", "us")


def outcome(system: str, seed: int, scores: list[float], world: str = "non-ood") -> dict[str, Any]:
    return {"world": world, "system": system, "seed": seed, "scores": {"t": scores}, "passes": 1}


def test_what_two_systems_find_hard_alike_cancels_from_their_difference() -> None:
    figures = Figures({("a", 0): {"t": [1.0, 0.0, 1.0, 0.0]}, ("b", 0): {"t": [0.5, -0.5, 0.5, -0.5]}})

    assert figures.difference("a", "b") == [0.5, 0.5, 0.5]
    assert figures.difference("a", "nobody") is None
    assert figures.mean("a")[0] == 0.5


def test_seeds_that_differ_widen_the_interval_of_items_that_do_not() -> None:
    figures = Figures({("a", 0): {"t": [1.0] * 8}, ("a", 1): {"t": [0.0] * 8}, ("b", 0): {"t": [0.5] * 8}})

    assert figures.mean("a") == [0.5, 0.0, 1.0]
    assert figures.mean("b") == [0.5, 0.5, 0.5]
    assert figures.by_seed == {"a": [1.0, 0.0], "b": [0.5]}


def test_a_system_and_its_own_start_are_drawn_with_the_same_seeds() -> None:
    figures = Figures(
        {(name, seed): {"t": [seed + gain] * 4} for name, gain in (("a", 1.0), ("b", 0.0)) for seed in (0, 1, 2)}
    )

    assert figures.difference("a", "b") == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("difference", "above", "level"),
    [
        ([0.2, 0.1, 0.3], HOLDS, HOLDS),
        ([0.1, -0.04, 0.3], OPEN, HOLDS),
        ([0.0, 0.0, 0.0], FAILS, HOLDS),
        ([-0.02, -0.1, 0.1], FAILS, OPEN),
        ([-0.2, -0.3, 0.1], FAILS, FAILS),
    ],
)
def test_a_claim_holds_by_its_whole_interval_and_fails_by_its_mean(
    difference: list[float], above: str, level: str
) -> None:
    assert verdict(CLAIM, difference) == above
    assert verdict(Claim("ood", "a", "b", "us", level=True), difference) == level


def test_every_claim_is_about_what_is_judged() -> None:
    jobs = {(job.world, job.system) for job in jobs_of([0, 1], [*WORLDS, FEW], LEARNED)}

    assert {(claim.world, name) for claim in CLAIMS for name in (claim.system, claim.other)} <= jobs


def test_starts_that_are_drawn_are_judged_with_every_seed_and_others_once() -> None:
    jobs = [job for job in jobs_of([0, 1], ["ood"], LEARNED) if job.world == "ood"]

    seeds = {name: [job.seed for job in jobs if job.system == BEFORE[name]] for name in LEARNED}
    assert seeds == {name: [0, 1] if name in DRAWN else [0] for name in LEARNED}


def test_jobs_are_run_in_their_order_each_once_and_after_what_they_need(tmp_path: Path) -> None:
    ran: list[str] = []

    def running(name: str) -> Any:
        return lambda _bench: ran.append(name) or {"scores": {"t": [0.12346]}}

    jobs = [
        Job("ood", "a", 0, running("judge a"), ("a",)),
        Job("ood", "b", 0, running("judge b")),
        Job("fit", "a", 0, running("fit a")),
    ]
    done = [work_off(jobs, lambda: None, tmp_path, 1e12) for _ in range(2)]  # type: ignore[arg-type,return-value]

    assert (done, ran) == ([True, True], ["judge b", "fit a", "judge a"])
    assert json.loads((tmp_path / "ood~a~0.json").read_text())["scores"] == {"t": [0.1235]}


def test_a_job_that_another_process_has_is_left_to_it_and_none_begins_after_the_end(tmp_path: Path) -> None:
    with claimed(tmp_path / "it") as mine, claimed(tmp_path / "it") as other:
        assert (mine, other) == (True, False)

    assert not work_off([Job("ood", "a", 0, lambda _bench: {})], lambda: None, tmp_path, 0.0)  # type: ignore[arg-type,return-value]


def test_raw_outcomes_are_told_again_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcomes = [
        outcome("mhr", 0, [1.0, 1.0]),
        outcome("poly", 0, [0.5, 0.5]),
        {"world": "fit", "system": "mhr", "seed": 0, "cost": {"seconds": 7.0, "steps": 3, "bytes": 2_000_000}},
        {
            "world": "cost",
            "system": "all",
            "seed": 0,
            "systems": {"mhr": {"passes": 1, "speed": 0.5, "slowest": 0.4, "fastest": 0.6}},
        },
    ]
    raw = tmp_path / "raw.json"
    raw.write_text(json.dumps({"plan": {"items": 2}, "outcomes": outcomes}))

    main(["--replay", str(raw), "--json", str(tmp_path / "told.json")])

    told = json.loads((tmp_path / "told.json").read_text())
    assert told == {"plan": {"items": 2}, **told_of(outcomes)}
    assert [(row["system"], row["verdict"]) for row in told["claims"]] == [("mhr", HOLDS)]
    printed = capsys.readouterr().out
    assert "mhr > poly                          +0.500 [+0.500, +0.500]  holds  (MHR)" in printed
    assert "mhr             7.0 s     3 steps    2.0 MB    1 passes  0.50 [0.40, 0.60]" in printed
