"""Which evaluations to run: one small file a strategy. See base for the protocol."""

from lorauter.racing.strategies.base import (
    Problem,
    Seen,
    Step,
    Strategy,
    evaluations,
    nothing_seen,
    with_scores,
    without,
)
from lorauter.racing.strategies.exhaustive import Exhaustive
from lorauter.racing.strategies.halving import Halving, paper_halving, product_halving
from lorauter.racing.strategies.racing import Racing

__all__ = [
    "Exhaustive",
    "Halving",
    "Problem",
    "Racing",
    "Seen",
    "Step",
    "Strategy",
    "evaluations",
    "nothing_seen",
    "paper_halving",
    "product_halving",
    "with_scores",
    "without",
]
