"""The judge of routers, by hand on four tasks of two domains."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.routing import ROUTERS, Judge, read_judged, remembering
from benchmarks.text_routers import VectorDatabase
from catalog.errors import TaskError
from lorauter.routing.task_index import TaskInputs

FORMS = {
    ("likes", "mood"): "Does the critic like the {0}?\nOPTIONS:\n- yes\n- no",
    ("hates", "mood"): "Does the critic hate the {0}?\nOPTIONS:\n- yes\n- no",
    ("czech", "translation"): "Translate to Czech:\n\nthe {0}",
    ("welsh", "translation"): "Translate to Welsh:\n\nthe {0}",
}
KNOWN, ASKED = ("otter", "kettle", "violin", "comet"), ("tractor", "walnut")


def write(path: Path, things: Sequence[str]) -> Path:
    rows = [
        {"task": task, "domain": domain, "inputs": form.format(thing)}
        for (task, domain), form in FORMS.items()
        for thing in things
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def by_length(texts: Sequence[str]) -> npt.NDArray[np.float32]:
    """An embedding that tells long texts from short ones and nothing else."""
    angle = np.asarray([len(text) for text in texts]) / 100
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    known, asked = (read_judged(write(tmp_path / f"{n}.jsonl", things)) for n, things in enumerate((KNOWN, ASKED)))
    return Judge(known, asked, {"strange": ("1 2 3 4",)}, by_length)


@pytest.mark.parametrize("name", ["discriminant", "ngram_regression", "tfidf_centroids"])
def test_routers_that_see_the_form_find_every_task_and_its_domain(judge: Judge, name: str) -> None:
    figures = judge.figures(ROUTERS[name])

    wanted = {"top1": 1.0, "top3": 1.0, "domain_when_removed": 1.0, "domain_when_masked": 1.0}
    assert {figure: figures[figure] for figure in wanted} == wanted


@pytest.mark.parametrize("name", ["lorauter", "loraretriever", "vector_database"])
def test_routers_that_see_a_poor_embedding_alone_do_not(judge: Judge, name: str) -> None:
    assert judge.figures(ROUTERS[name])["top1"] < 1.0


def test_only_ours_leaves_queries_to_the_base_and_says_how_many_of_each_file(judge: Judge) -> None:
    trained = {"dlp_lora", "two_stage"}  # they leave none, by their kind; training takes a minute
    figures = {name: judge.figures(make) for name, make in ROUTERS.items() if name not in trained}

    assert {name for name, found in figures.items() if "to_base" in found} == {"discriminant"}
    assert figures["discriminant"]["to_base"]["strange"] == 1.0


class Fixed:
    """A router that says the same of every query."""

    def __init__(self, inputs: TaskInputs, scores: Sequence[float]) -> None:
        self._scores = scores[: int(inputs.owners.max()) + 1]

    def similarities(self, queries: Sequence[str]) -> npt.NDArray[np.float64]:
        return np.tile(np.asarray(self._scores), (len(queries), 1))


def test_figures_are_shares_of_queries(judge: Judge) -> None:
    # in the order of names: czech, hates, likes, welsh
    figures = judge.figures(lambda inputs, embed: Fixed(inputs, (0.9, 0.2, 0.1, 0.3)))

    # removed: hates, likes → czech; czech → hates is first of three now; welsh → czech. Masked: czech → welsh
    assert figures == {"top1": 0.25, "top3": 0.75, "domain_when_removed": 0.25, "domain_when_masked": 0.5}


def test_the_nucleus_keeps_the_nearest_inputs_and_adds_up_their_mass_by_task() -> None:
    vectors = np.asarray([(1, 0), (1, 0), (0, 1)], dtype=np.float32)
    inputs = TaskInputs(("a", "b", "c"), np.asarray([0, 1, 2]), vectors)

    mass = VectorDatabase(inputs, lambda texts: np.asarray([(1, 0)] * len(texts), dtype=np.float32)).similarities(["q"])

    assert mass.tolist() == [[0.5, 0.5, 0.0]]


def test_a_text_is_embedded_once() -> None:
    seen: list[str] = []

    def embed(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        seen.extend(texts)
        return by_length(texts)

    remembered = remembering(embed)
    remembered(["a", "bb", "a"])

    assert remembered(["bb", "ccc"]).tolist() == by_length(["bb", "ccc"]).tolist()
    assert seen == ["a", "bb", "ccc"]


def test_a_row_without_a_domain_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"task": "likes", "inputs": "x"}\n')

    with pytest.raises(TaskError, match="row 1: field domain must be text"):
        read_judged(path)


def test_a_query_of_an_unknown_task_is_named(tmp_path: Path) -> None:
    known = read_judged(write(tmp_path / "known.jsonl", KNOWN))
    path = tmp_path / "asked.jsonl"
    path.write_text('{"task": "sums", "domain": "maths", "inputs": "1 + 1"}\n')

    with pytest.raises(TaskError, match="without validation inputs: sums"):
        Judge(known, read_judged(path), {}, by_length)
