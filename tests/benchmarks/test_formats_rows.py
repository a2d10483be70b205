"""Rows whose adapters were trained in different formats: what each way asks for, which text wins, what is told."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from benchmarks.formats_rows import (
    ALONE,
    APART,
    LEADER,
    SAME,
    TASK,
    WAYS,
    Adapters,
    Ask,
    Row,
    asks,
    cell_figures,
    elected,
    in_eight_formats,
    in_their_tasks_template,
    lines,
    routers,
    rows_of,
)
from catalog.formats.format import of_template
from catalog.formats.table import format_named
from catalog.tasks.answer import Failed
from catalog.tasks.task import Example, Task
from flows.demo.world import demo_tasks
from lorauter.routing.encoder import Encoder, Vectors

ALPACA, CHATML = format_named("alpaca"), format_named("chatml")
FORMATS = {"ann/a": ALPACA, "bob/b": CHATML, "cleo/c": ALPACA}
SORT = Task("sort", "exact_match", (), (), template="{input} =")


def row(*weights: float) -> Row:
    mixture = tuple(zip(("ann/a", "bob/b", "cleo/c"), weights, strict=False))
    return Row(SORT, Example("b a", "a b"), mixture)


def test_each_way_asks_for_its_own() -> None:
    one = row(0.5, 0.3, 0.125)

    asked = {way: asks(one, way, FORMATS) for way in WAYS}

    assert asked == {
        LEADER: [Ask(one.mixture, ALPACA)],
        SAME: [Ask((("ann/a", 0.8), ("cleo/c", 0.2)), ALPACA)],
        APART: [
            Ask((("ann/a", 1.0),), ALPACA, 0.5),
            Ask((("bob/b", 1.0),), CHATML, 0.3),
            Ask((("cleo/c", 1.0),), ALPACA, 0.125),
        ],
        ALONE: [Ask((("ann/a", 1.0),), ALPACA)],
        TASK: [Ask(one.mixture, of_template("{input} =", TASK))],
    }


def test_a_row_of_one_format_is_asked_for_as_a_whole() -> None:
    one = Row(SORT, Example("b a", "a b"), (("ann/a", 0.6), ("cleo/c", 0.3)))

    assert asks(one, SAME, FORMATS) == asks(one, LEADER, FORMATS) == [Ask(one.mixture, ALPACA)]


@pytest.mark.parametrize(
    ("weights", "texts", "wins"),
    [
        ((0.5, 0.3, 0.2), ("cat", "dog", "cow"), "cat"),
        ((0.4, 0.3, 0.3), ("cat", "dog", " dog"), "dog"),
        ((0.5, 0.25, 0.25), ("cat", "dog", "dog"), "cat"),  # a tie is the leader's
        ((0.4, 0.6), (Failed("too large"), "dog"), "dog"),
    ],
)
def test_the_text_with_the_most_weight_behind_it_wins(
    weights: tuple[float, ...], texts: tuple[str | Failed, ...], wins: str
) -> None:
    assert elected(weights, texts) == wins


def test_a_row_is_mixed_where_adapters_of_two_formats_have_a_say() -> None:
    assert [row(*weights).is_mixed(FORMATS) for weights in ((0.7, 0.3), (0.9, 0.1), (0.5, 0.1, 0.4))] == [
        True,
        False,
        False,
    ]


def test_figures_are_of_all_rows_and_of_the_mixed_and_paired_with_the_leaders() -> None:
    rows = [row(0.7, 0.3), row(0.9, 0.1)]
    found = {LEADER: [0.0, 1.0], SAME: [1.0, 2.0], APART: [0.0, 1.0], ALONE: [1.0, 1.0], TASK: [0.0, 0.0]}

    figures = cell_figures(rows, found, Adapters({"sort": "ann/a"}, FORMATS))

    assert (figures["led_by_the_tasks_own"], figures["texts_a_row"][APART]) == (1.0, 2.0)
    assert (figures["all"]["rows"], figures["mixed"]["rows"]) == (2, 1)
    same = figures["all"]["ways"][SAME]
    assert (same["value"], same["over_leader"], same["over_leader_interval"]) == (1.5, 1.0, [1.0, 1.0])
    assert figures["mixed"]["ways"][ALONE]["value"] == 1.0


def test_the_demos_adapters_are_of_their_tasks_templates_and_the_pools_of_eight_others() -> None:
    tasks = demo_tasks(small=False)

    theirs, eight = in_their_tasks_template(tasks), in_eight_formats()

    formats = {task: theirs.formats[repo].template() for task, repo in theirs.of_tasks.items()}
    assert formats == {task.name: task.template for task in tasks}
    assert len({*formats.values(), *(one.template() for one in eight.formats.values())}) == 2 + 8
    assert theirs.of_tasks["invoice_price"] == "ledger-loft/invoice-price/adapters/v2"
    assert eight.of_tasks.keys() == theirs.of_tasks.keys()


class Letters(Encoder):
    """Embeds a text by how often it has two letters."""

    def __init__(self) -> None:
        pass

    def encode(self, texts: Sequence[str]) -> Vectors:
        counts = np.array([[text.count("a") + 0.125, text.count("b")] for text in texts], dtype=np.float32)
        return np.asarray(counts / np.linalg.norm(counts, axis=1, keepdims=True), dtype=np.float32)


def test_out_of_distribution_the_tasks_own_adapter_is_out_of_reach() -> None:
    tasks = [Task(name, "exact_match", (Example(name * 3, "x"),), (Example(name * 2, "x"),)) for name in ("a", "b")]
    by_name = routers(tasks, Adapters({"a": "ann/a", "b": "bob/b"}, FORMATS), Letters)

    leaders = {
        setting: [one.leader for one in rows_of(by_name["lorauter"], setting, tasks, None)]
        for setting in ("non-ood", "ood")
    }

    assert leaders == {"non-ood": ["ann/a", "bob/b"], "ood": ["bob/b", "ann/a"]}


def test_the_table_has_a_line_a_router_and_one_of_its_mixed_rows() -> None:
    rows = [row(0.7, 0.3), row(0.9, 0.1)]
    figures = cell_figures(rows, {way: [0.5, 0.5] for way in WAYS}, Adapters({"sort": "ann/a"}, FORMATS))
    alike = cell_figures(rows[1:], {way: [0.5] for way in WAYS}, Adapters({"sort": "ann/a"}, FORMATS))

    table = lines(
        {
            "routes": [
                {"pool": "eight formats", "setting": "ood", "router": "lorauter", **figures},
                {"pool": "demo", "setting": "ood", "router": "lorauter", **alike},
            ]
        }
    )

    plus = ["0.500", "[+0.000,", "+0.000]"]
    assert table[1].split() == ["eight", "formats", "ood", "lorauter", "all", "2", "0.500", *plus * 4]
    assert [line.split()[-15:-13] for line in table[2:]] == [["mixed", "1"], ["all", "1"]]
