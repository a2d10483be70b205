"""Filters at route time, on a snapshot small enough to work out by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

import lorauter
from lorauter.routing.filters import refused, unmatched
from lorauter.routing.routes import RouterOptions
from warehouse.snapshots.snapshot import Snapshot, publish

BASE = {"base": "org/base", "base_sha": "1"}
MIT, APACHE, UNKNOWN = "ann/mit@1", "bob/apache@1", "cleo/unknown@1"
HELD = {MIT: ("mit", 10), APACHE: ("apache-2.0", 2000), UNKNOWN: (None, None)}
MEANS = {"north": {UNKNOWN: 0.9, APACHE: 0.8, MIT: 0.7, "": 0.5}, "south": {APACHE: 0.9, MIT: 0.4, "": 0.5}}


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Two tasks; each publishes the adapter of the highest mean."""
    best = {task: max(means, key=lambda key: means[key]) for task, means in MEANS.items()}
    tables = {
        "tasks": [{**BASE, "task": t, "declared": "bob/apache", "embedding": [1.0]} for t in MEANS],
        "best": [{**BASE, "task": task, "adapter": adapter} for task, adapter in best.items()],
        "scores": [
            {**BASE, "task": task, "adapter": key, "mean": mean, "n": 9, "lift": mean - means[""]}
            for task, means in MEANS.items()
            for key, mean in means.items()
        ],
        "adapters": [
            {**BASE, "adapter": key, "admitted": True, "licence": licence, "size": size}
            for key, (licence, size) in HELD.items()
        ],
    }
    return publish(tmp_path, tables, {})


@pytest.mark.parametrize(
    ("options", "out"),
    [
        (RouterOptions(), {}),
        (
            RouterOptions(licences=("MIT", "gpl-3.0")),
            {
                APACHE: "licence apache-2.0, not among MIT, gpl-3.0",
                UNKNOWN: "licence unknown, not among MIT, gpl-3.0",
            },
        ),
        (
            RouterOptions(max_bytes=1999),
            {APACHE: "2,000 bytes, at most 1,999 asked for", UNKNOWN: "size unknown, at most 1,999 asked for"},
        ),
        (RouterOptions(max_bytes=2000), {UNKNOWN: "size unknown, at most 2,000 asked for"}),
        (
            RouterOptions(authors=("Ann", "cleo"), not_authors=("CLEO",)),
            {APACHE: "author bob, not among Ann, cleo", UNKNOWN: "author cleo is left out"},
        ),
        (
            RouterOptions(licences=("mit",), not_authors=("bob",)),
            {
                APACHE: "licence apache-2.0, not among mit; author bob is left out",
                UNKNOWN: "licence unknown, not among mit",
            },
        ),
    ],
)
def test_who_does_not_pass_is_named_with_every_reason(
    snapshot: Snapshot, options: RouterOptions, out: dict[str, str]
) -> None:
    assert refused(snapshot, "org/base", options) == out


def test_a_task_takes_its_next_best_that_passes(snapshot: Snapshot) -> None:
    router = lorauter.load(snapshot.folder, router="uniform", options=RouterOptions(not_authors=("cleo",)))

    assert router.route(["x"])[0].mixture == ((APACHE, 1.0),)


def test_a_task_goes_to_the_base_where_none_that_passes_has_a_lift(snapshot: Snapshot) -> None:
    truth = {"a": "north", "b": "south"}

    router = lorauter.load(snapshot.folder, router="oracle", options=RouterOptions(licences=("mit",)), truth=truth)

    assert [route.mixture for route in router.route(["a", "b"])] == [((MIT, 1.0),), ()]


def test_the_next_best_of_a_vanished_adapter_passes_too(snapshot: Snapshot) -> None:
    options = RouterOptions(not_authors=("bob",))

    router = lorauter.load(snapshot.folder, router="uniform", options=options, gone=[UNKNOWN])

    assert router.route(["x"])[0].mixture == ((MIT, 1.0),)


def test_a_filter_that_names_what_nobody_has_is_told(snapshot: Snapshot) -> None:
    options = RouterOptions(licences=("apache", "mit"), authors=("ann",), not_authors=("bop",))

    assert unmatched(snapshot, "org/base", options) == [
        "No adapter here has the licence 'apache'; the most frequent: mit, apache-2.0.",
        "No adapter here is by 'bop'.",
    ]
