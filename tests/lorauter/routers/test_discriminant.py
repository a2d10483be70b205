"""The discriminant router on four tasks that talk about the same things in different forms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from catalog.errors import SettingError, SnapshotError
from lorauter.routers.discriminant import DiscriminantRouter
from lorauter.routing.confidence import Confidence
from lorauter.routing.routes import RouterOptions
from lorauter.routing.task_index import EncoderId, TaskIndex, TaskInputs, load_inputs
from lorauter.routing.task_weights import weigh_tasks
from lorauter.routing.text_form import TextForm, count_ngrams
from warehouse.snapshots.snapshot import publish

FORMS = {
    "asks": "What is the {0} doing beside the {1}?",
    "chooses": "Which one is larger?\nOPTIONS:\n- {0}\n- {1}",
    "says": "{0} and {1}\n\nWrite this as a sentence.",
    "translates": 'How is "{0}, {1}" said in Czech?',
}
THINGS = ("otter", "kettle", "violin", "glacier", "lantern", "pepper", "tractor", "comet", "walnut", "harbour")
PAIRS = list(combinations(THINGS, 2))
SEEN, NEW = PAIRS[::4], PAIRS[1::4]
BEST = ("asks@1", "chooses@1", "", "asks@1")


class Deaf:
    """An encoder that hears no difference: only the form is left."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        return np.tile(np.asarray([1, 0], dtype=np.float32), (len(texts), 1))


def _inputs(forms: dict[str, str], pairs: Sequence[tuple[str, str]]) -> TaskInputs:
    texts = tuple(form.format(*pair) for form in forms.values() for pair in pairs)
    owners = np.repeat(np.arange(len(forms)), len(pairs))
    return TaskInputs(texts, owners, Deaf().encode(texts))


def _index(forms: dict[str, str], best: tuple[str, ...]) -> TaskIndex:
    nothing = np.zeros((len(forms), 2), dtype=np.float32)
    return TaskIndex("base", "sha", tuple(forms), nothing, best, (None,) * len(forms), EncoderId("e", "sha", "hash"))


def _router(options: RouterOptions | None = None) -> DiscriminantRouter:
    return DiscriminantRouter(_index(FORMS, BEST), Deaf, lambda: _inputs(FORMS, SEEN), options)  # type: ignore[arg-type]


def test_tasks_that_differ_in_form_alone_are_told_apart() -> None:
    queries = _inputs(FORMS, NEW)

    routes = _router().route(queries.texts)

    assert [route.tasks[0].task for route in routes] == [list(FORMS)[owner] for owner in queries.owners]


def test_a_route_adds_up_weights_by_adapter_and_tells_tasks_and_confidence() -> None:
    route = _router(RouterOptions(top_k=4, temperature=0.5)).route([FORMS["asks"].format("otter", "comet")])[0]

    weights = {match.task: match.weight for match in route.tasks}
    assert sum(weights.values()) == pytest.approx(1.0)
    assert [m.similarity for m in route.tasks] == sorted((m.similarity for m in route.tasks), reverse=True)
    assert dict(route.mixture) == pytest.approx(
        {"asks@1": weights["asks"] + weights["translates"], "chooses@1": weights["chooses"]}
    )
    assert 0.5 < route.confidence <= 1.0


def test_a_query_unlike_every_task_goes_to_the_base_and_keeps_its_explanation() -> None:
    asked, strange = _router().route([FORMS["asks"].format("otter", "comet"), "x = 1;\ny = 2;\nz = 3;"])

    assert (bool(asked.mixture), strange.mixture) == (True, ())
    assert [match.weight for match in strange.tasks] == [0.0, 0.0, 0.0]
    assert strange.confidence < asked.confidence


def test_without_fallback_every_query_is_weighed() -> None:
    route = _router(RouterOptions(fallback=0.0)).route(["1 2 3 4 5 6 7"])[0]

    assert sum(match.weight for match in route.tasks) == pytest.approx(1.0)


def test_without_fallback_an_unknown_tasks_relatives_weigh_more_evenly() -> None:
    router = _router(RouterOptions(top_k=2, fallback=0.0))

    known, unknown = router.route([FORMS["asks"].format("otter", "comet"), "x = 1;\ny = 2;\nz = 3;"])

    gaps = [np.subtract(*(match.similarity for match in route.tasks)) for route in (known, unknown)]
    ratios = [route.tasks[0].weight / route.tasks[1].weight for route in (known, unknown)]
    assert ratios == pytest.approx([np.exp(gaps[0] / 0.2), np.exp(gaps[1] / 1.0)], rel=1e-4)


def test_a_masked_task_is_no_part_of_the_route() -> None:
    route = _router(RouterOptions(fallback=0.0)).route([FORMS["asks"].format("otter", "comet")], masked=["asks"])[0]

    assert {match.task for match in route.tasks} == {"chooses", "says", "translates"}


def test_two_fits_on_the_same_inputs_route_alike() -> None:
    queries = _inputs(FORMS, NEW).texts

    assert _router().route(queries) == _router().route(queries)


@pytest.mark.parametrize(("tasks", "pairs"), [(2, 4), (4, 1)])
def test_too_little_to_fit_on_is_told(tasks: int, pairs: int) -> None:
    forms = dict(list(FORMS.items())[:tasks])
    router = DiscriminantRouter(_index(forms, BEST[:tasks]), Deaf, lambda: _inputs(forms, SEEN[:pairs]))  # type: ignore[arg-type]

    with pytest.raises(SettingError, match="needs 3 tasks with 2 validation inputs each"):
        router.route(["any"])


def test_inputs_are_read_from_the_snapshot_in_the_order_of_the_index(tmp_path: Path) -> None:
    rows = [
        {
            "base": base,
            "base_sha": "sha",
            "task": task,
            "number": n,
            "input": f"{task} {n}",
            "embedding": [1, 0],
        }
        for base in ("base", "other")
        for task in ("says", "asks")
        for n in (0, 1)
    ]
    snapshot = publish(tmp_path, {"inputs": rows}, {})

    found = load_inputs(snapshot, _index({"says": "", "asks": ""}, ("", "")))

    assert (found.texts, found.owners.tolist()) == (("asks 0", "asks 1", "says 0", "says 1"), [1, 1, 0, 0])
    assert found.embeddings.tolist() == [[1.0, 0.0]] * 4


def test_a_snapshot_from_before_inputs_were_kept_says_what_to_do(tmp_path: Path) -> None:
    snapshot = publish(tmp_path, {}, {})
    (snapshot.folder / "inputs.parquet").unlink()

    with pytest.raises(SnapshotError, match="holds no validation inputs of base") as caught:
        load_inputs(snapshot, _index(FORMS, BEST))
    assert "publish again with `lorauter publish`" in caught.value.next_step


def test_at_most_the_agreed_share_of_own_queries_falls_below_the_floor() -> None:
    own, strangers = np.linspace(0.5, 0.99, 40, dtype=np.float32), np.linspace(-0.2, 0.9, 40, dtype=np.float32)

    confidence = Confidence(own, strangers, lost=0.1)

    assert int((own < confidence.floor).sum()) == 4
    assert np.all(np.diff(confidence.of(own)) > 0)


def test_where_own_queries_are_all_alike_the_floor_is_below_a_quarter_of_the_strangers() -> None:
    own, strangers = np.full(40, 0.999, dtype=np.float32), np.linspace(0.0, 0.8, 41, dtype=np.float32)

    confidence = Confidence(own, strangers, lost=0.1)

    assert confidence.floor == pytest.approx(0.6)


def test_strangers_nearer_than_own_queries_make_no_confidence_that_falls() -> None:
    own, strangers = np.linspace(0.1, 0.5, 40, dtype=np.float32), np.linspace(0.4, 0.9, 40, dtype=np.float32)

    confidence = Confidence(own, strangers, lost=0.1)

    assert confidence.of(np.asarray([0.1, 0.9], dtype=np.float32)).tolist() == [0.5, 0.5]
    assert confidence.floor == own[4]


def test_of_equally_near_tasks_the_first_is_taken_by_argmax_and_by_sort() -> None:
    similarities = np.tile(np.asarray([0.1, 0.9, 0.9, 0.3] * 3, dtype=np.float32), (2, 1))

    few, many = weigh_tasks(similarities, 4, 0.2), weigh_tasks(similarities, 12, 0.2)

    assert few.tasks.tolist() == [[1, 2, 5, 6]] * 2
    assert many.tasks[:, :4].tolist() == few.tasks.tolist()


def test_an_ngram_of_one_text_alone_weighs_nothing() -> None:
    counts = count_ngrams(["red cat", "red dog"])
    words = TextForm(counts).weigh(counts)[0]

    assert (words @ words.T).toarray() == pytest.approx(
        np.full((2, 2), 0.5)
    )  # the share of the view: `red` alone is left


def test_of_a_long_text_both_ends_count_and_the_middle_does_not() -> None:
    long, other_middle, other_end = (
        count_ngrams(["a" * 3000 + middle * 3000 + end * 3000])[1] for middle, end in ("xb", "yb", "xc")
    )

    assert (long != other_middle).nnz == 0
    assert (long != other_end).nnz > 0
