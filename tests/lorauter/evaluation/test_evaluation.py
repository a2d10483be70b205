"""The judge of routers: systems, settings, shares and intervals, worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from catalog.errors import SettingError
from lorauter.compositions import COMPOSITIONS
from lorauter.evaluation.figures import figures_of
from lorauter.evaluation.intervals import drawn_means, interval
from lorauter.evaluation.published_compositions import PUBLISHED_COMPOSITIONS, published_compositions
from lorauter.evaluation.remembering import Remembering
from lorauter.evaluation.settings import own_adapters
from lorauter.evaluation.shares import average, domain_shares, domains_of, share, task_means
from lorauter.evaluation.systems import System, reference_of, systems_of
from lorauter.routing.task_index import EncoderId, TaskIndex

TASKS = ("a", "b", "c")
DOMAINS = domains_of(TASKS, ("nli", "nli", None))
SCORES = [np.array([[1.0, 1.0], [1.0, 0.0]]), np.array([[0.5], [0.25]]), np.array([[0.4, 0.2, 0.0], [0.6, 0.0, 0.3]])]
ORACLE, METHOD = 0, 1


def test_a_share_is_the_mean_over_domains_of_method_by_oracle() -> None:
    means = task_means(SCORES)

    assert np.allclose(means, [[1.0, 0.5, 0.2], [0.5, 0.25, 0.3]])
    assert np.allclose(average(means), [1.7 / 3, 1.05 / 3])
    assert np.allclose(domain_shares(means, DOMAINS, ORACLE), [[1, 1], [0.375 / 0.75, 1.5]])
    assert np.allclose(share(means, DOMAINS, ORACLE), [1, 1])


def test_without_domains_a_share_is_the_mean_over_tasks() -> None:
    alone = domains_of(TASKS, (None, "", None))

    assert alone.names == TASKS
    assert np.allclose(share(task_means(SCORES), alone, ORACLE), [1, (0.5 + 0.5 + 1.5) / 3])


def test_a_task_without_a_domain_is_not_of_the_domain_that_has_its_name() -> None:
    assert domains_of(("x", "nli"), ("nli", None)).places == ((0,), (1,))


def test_a_domain_in_which_the_oracle_scores_nothing_is_left_out() -> None:
    means = np.array([[0.0, 0.0, 0.5], [0.9, 0.9, 0.4]])

    assert np.allclose(share(means, DOMAINS, ORACLE), [1, 0.8])
    assert np.isnan(share(np.zeros((2, 3)), DOMAINS, ORACLE)).all()


def test_a_draw_takes_the_same_items_for_every_system() -> None:
    """The second system scores one less on every item: in every draw, so is its mean."""
    rng = np.random.default_rng(1)
    scores = [np.stack([one, one - 1]) for one in (rng.random(9), rng.random(4))]

    drawn = drawn_means(scores, draws=50)

    assert drawn.shape == (2, 2, 50)
    assert np.allclose(drawn[0] - drawn[1], 1)
    assert drawn[0].std() > 0.01
    assert np.allclose(interval(drawn[0] - drawn[1]), 1)


def test_intervals_are_those_of_scipys_bootstrap() -> None:
    rng = np.random.default_rng(2)
    scores = [rng.random((2, 40)), rng.random((2, 25))]

    low, high = interval(average(drawn_means(scores, draws=20_000)))

    def statistic(*drawn: np.ndarray, axis: int) -> np.ndarray:
        return np.mean([one.mean(axis=axis) for one in drawn], axis=0)

    found = stats.bootstrap(scores, statistic, n_resamples=20_000, axis=1, method="percentile", rng=3)
    assert np.allclose([low, high], found.confidence_interval, atol=0.005)


def test_figures_compare_with_the_reference_item_by_item() -> None:
    scores = [np.array([[1.0, 0.0, 1.0], [0.5, -0.5, 0.5]]), np.array([[1.0, 1.0], [0.5, 0.5]])]

    oracle, method = figures_of(scores, domains_of(("a", "b"), (None, None)), 0, [None, 0], draws=100)

    assert (oracle.share.low, oracle.share.high, oracle.difference) == (1.0, 1.0, None)
    assert method.difference
    found = (method.difference.value, method.difference.low, method.difference.high)
    assert np.allclose(found, -0.5)  # the same on every item: nothing is left to chance
    assert method.average.low < method.average.high  # type: ignore[operator]
    assert method.tasks == pytest.approx((1 / 6, 0.5))


def test_a_figure_that_cannot_be_known_is_none() -> None:
    zeros = figures_of([np.zeros((1, 3))], domains_of(("a",), (None,)), 0, [None], draws=10)[0]

    assert (zeros.share.value, zeros.share.low, zeros.domain_shares) == (None, None, (None,))


def test_own_compositions_are_each_routers_and_controls_have_the_mixture_alone() -> None:
    found = systems_of(["lorauter", "base", "oracle"], ["own", "cat", "mixture"], ["non-ood", "ood"])

    assert found == (
        System("non-ood", "oracle", "mixture"),
        System("non-ood", "lorauter", "mixture"),
        System("non-ood", "lorauter", "cat"),
        System("non-ood", "base", "mixture"),
        System("ood", "lorauter", "mixture"),
        System("ood", "lorauter", "cat"),
        System("ood", "base", "mixture"),
    )


def test_a_router_published_with_compositions_has_those_whether_or_not_it_exists() -> None:
    assert published_compositions("loraretriever") == ("selection", "mixture", "fusion")
    assert {name for names in PUBLISHED_COMPOSITIONS.values() for name in names} <= {*COMPOSITIONS}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ((["nobody"], ["own"], ["ood"]), "no router 'nobody'. Choose from: .*lorauter"),
        ((["base"], ["blend"], ["ood"]), "no composition 'blend'. Choose from: mixture, .*, own"),
        ((["base"], ["own"], ["far"]), "no setting 'far'. Choose from: non-ood, semi-ood, ood"),
        (([], ["own"], ["ood"]), "No router is named"),
    ],
)
def test_what_does_not_exist_is_told_with_what_does(asked: tuple[list[str], ...], said: str) -> None:
    with pytest.raises(SettingError, match=said):
        systems_of(*asked)


def test_the_reference_is_named_by_router_or_with_its_composition() -> None:
    systems = systems_of(["lorauter", "base"], ["mixture", "cat"], ["ood"])

    assert reference_of(systems, None) == ("lorauter", "mixture")
    assert reference_of(systems[-1:], None) is None
    assert reference_of(systems, "base") == ("base", "mixture")
    assert reference_of(systems, "lorauter + cat") == ("lorauter", "cat")
    with pytest.raises(SettingError, match=r"'uniform' is not among what is evaluated. Choose one of: oracle\+mixture"):
        reference_of(systems, "uniform")


def test_a_tasks_own_adapters_are_the_declared_and_the_published_one() -> None:
    nothing = np.zeros((3, 1), dtype=np.float32)
    index = TaskIndex("", "", TASKS, nothing, ("x@1", "y@1", ""), ("x@1", "z@1", None), EncoderId("", "", ""))

    assert [own_adapters(index, task) for task in TASKS] == [{"x@1"}, {"y@1", "z@1"}, set()]


class Counting:
    """An encoder that notes what it is asked."""

    path, prompt, hash = Path("counting"), "", ""
    dimension = 1

    def __init__(self) -> None:
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[len(text)] for text in texts], dtype=np.float32)


def test_a_text_is_embedded_once_and_its_seconds_are_owed_ever_after() -> None:
    counting = Counting()
    encoder = Remembering(counting)  # type: ignore[arg-type]

    first, owed = encoder.encode(["ab", "c", "ab"]), encoder.owed
    again = encoder.encode(["c"])

    assert counting.asked == ["ab", "c"]
    assert (first.tolist(), again.tolist()) == ([[2], [1], [2]], [[1]])
    assert encoder.owed > owed > 0
    assert encoder.encode([]).shape == (0, 1)
