"""Drawing the next token: the distribution, the cuts, and that a draw is the row's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, kstest

from lorauter.engine.decoding import Decoding, row_key
from lorauter.engine.sampling import Draws, draw, most_probable, probabilities, uniforms

DRAWS = 20_000
LOGITS = torch.tensor([2.0, 1.0, 0.0, -1.0, 1.5, 0.5, -2.0, 0.25])
WHOLE = Decoding(temperature=1.0)


def drawn(logits: torch.Tensor, decoding: Decoding, draws: int = DRAWS) -> torch.Tensor:
    """How often each token is drawn from one row of logits, by as many rows."""
    keys = [row_key(decoding, "prompt", (), str(n)) for n in range(draws)]
    tokens = Draws(decoding, keys, 1)(logits.expand(draws, -1), range(draws))
    return torch.bincount(tokens, minlength=len(logits))


def exact(decoding: Decoding, kept: list[int]) -> torch.Tensor:
    shares = torch.zeros(len(LOGITS), dtype=torch.float64)
    shares[kept] = torch.softmax(LOGITS.double() / decoding.temperature, -1)[kept]
    return shares / shares.sum()


@pytest.mark.parametrize(
    ("decoding", "kept"),
    [
        (WHOLE, list(range(8))),
        (Decoding(temperature=0.5, seed=1), list(range(8))),
        (Decoding(temperature=3.0, seed=2), list(range(8))),
        (Decoding(temperature=1.0, top_k=3), [0, 4, 1]),
        (Decoding(temperature=1.0, top_p=0.6), [0, 4]),
        (Decoding(temperature=1.0, top_p=0.7), [0, 4, 1]),
        (Decoding(temperature=1.0, top_k=3, top_p=0.75), [0, 4]),
    ],
)
def test_tokens_come_as_often_as_softmax_says(decoding: Decoding, kept: list[int]) -> None:
    counts = drawn(LOGITS, decoding).double()

    expected = exact(decoding, kept) * DRAWS
    assert counts[expected == 0].sum() == 0
    assert chisquare(counts[expected > 0], expected[expected > 0]).pvalue > 0.001


def test_draws_follow_neither_each_other_nor_the_steps_before() -> None:
    numbers = uniforms([row_key(WHOLE, "prompt", (), str(n)) for n in range(200)], 100)

    assert kstest(numbers.ravel(), "uniform").pvalue > 0.001
    assert abs(torch.corrcoef(torch.from_numpy(numbers[:, :2].T))[0, 1]) < 0.25
    assert len(set(numbers.ravel())) == numbers.size


def test_a_seeds_draws_stay_from_version_to_version() -> None:
    numbers = uniforms([row_key(Decoding(temperature=1.0, seed=5), "Why?", (("a", 1.0),), "7")], 3)

    assert numbers.tolist() == PINNED
    assert uniforms([1, 2], 2).tolist() == uniforms([1, 2], 9)[:, :2].tolist()


PINNED = [[0.8007311798352773, 0.2507474845872534, 0.4261899519553388]]


@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=300),
    st.floats(0.01, 0.999),
    st.sampled_from([0.5, 1.0, 4.0]),
)
def test_a_nucleus_is_the_least_set_that_reaches_top_p_ties_together(
    tenths: list[int], top_p: float, temperature: float
) -> None:
    logits = torch.tensor([tenths]) / 10
    whole = probabilities(logits, Decoding(temperature=temperature))[0].double()

    cut = probabilities(logits, Decoding(temperature=temperature, top_p=top_p))[0].double()

    ordered = whole.sort(descending=True).values
    mass = ordered.cumsum(-1)
    least = ordered[min(int((mass < top_p * whole.sum()).sum()), len(ordered) - 1)]
    assert cut.tolist() == torch.where(whole >= least, whole, 0).tolist()


def test_a_large_vocabulary_is_cut_as_a_sorted_one() -> None:
    torch.manual_seed(0)
    logits = torch.stack([torch.randn(5000), 12 * torch.randn(5000), torch.zeros(5000)])

    cut = probabilities(logits, Decoding(temperature=1.0, top_p=0.95))

    whole = torch.softmax(logits.double(), -1)
    ordered, places = whole.sort(descending=True)
    before = ordered.cumsum(-1) - ordered
    expected = torch.zeros_like(whole).scatter(-1, places, (before < 0.95).double()) > 0
    expected[2] = True  # all are as probable as the last one
    assert torch.equal(cut > 0, expected)


@given(st.floats(0, 1, exclude_max=True), st.sampled_from([1e-3, 1.0, 1e3]))
def test_a_cut_token_is_never_drawn(uniform: float, temperature: float) -> None:
    logits = torch.tensor([[-3.0, 5.0, -3.0, 5.0, 4.0]], dtype=torch.bfloat16)
    decoding = Decoding(temperature=temperature, top_k=2)

    token = draw(logits, torch.tensor([uniform], dtype=torch.float64), decoding)

    assert token.item() in (1, 3)


def test_logits_that_are_no_numbers_name_a_token_that_exists() -> None:
    logits = torch.full((2, 4), float("nan"))

    tokens = draw(logits, torch.tensor([0.1, 0.9], dtype=torch.float64), Decoding(temperature=1.0, top_p=0.5))

    assert [0 <= token < 4 for token in tokens.tolist()] == [True, True]


def test_rows_that_leave_the_batch_change_no_other_draw() -> None:
    torch.manual_seed(0)
    logits, keys = torch.randn(3, 4, 50), [11, 22, 33, 44]
    whole = Draws(WHOLE, keys, 3)
    expected = [whole(step, range(4)).tolist() for step in logits]
    shrinking = Draws(WHOLE, keys, 3)

    found = [
        shrinking(step[rows], rows).tolist() for step, rows in zip(logits, ([0, 1, 2, 3], [1, 3], [3]), strict=True)
    ]

    assert found == [expected[0], [expected[1][1], expected[1][3]], [expected[2][3]]]


def test_greedy_is_the_first_of_the_largest() -> None:
    assert most_probable(torch.tensor([[1.0, 3.0, 3.0], [2.0, 1.0, 0.0]]), range(2)).tolist() == [1, 0]
