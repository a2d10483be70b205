"""Texts of a mixed batch against the same rows one by one.

Knows: our engine alone. Does not know: speed. In fp32 all must be equal; in bf16 rounding follows the batch's shape,
and where two texts part, fp32 must hold both tokens within EPSILON of the top one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from lorauter.engine import Engine
from lorauter.routing import Mixture

EPSILON = 0.75  # logits, as in tests/lorauter/test_engine_pool.py
NEW_TOKENS = 8


class NotingEngine(Engine):
    """The engine; it keeps the tokens of its last batch and never ends a text before its bound."""

    noted: list[list[int]]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ends = frozenset()

    def _take(self, answer: Any, token: int, stop: Any) -> None:
        answer.tokens.append(token)
        answer.done = len(answer.tokens) >= answer.limit

    def _decode(self, *args: Any, **options: Any) -> None:
        super()._decode(*args, **options)
        self.noted = [answer.tokens for value in args if _is_answers(value) for answer in value]


def _is_answers(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and hasattr(value[0], "tokens")


def compare_texts(
    base: Path, device: str, prompts: Sequence[str], mixtures: Mapping[str, Sequence[Mixture]]
) -> dict[str, dict[str, Any]]:
    """For each set of mixtures: rows whose texts are the same in a batch and alone, in fp32 and bf16, and the largest
    distance from the top logit where bf16 texts part."""
    exact, half = (
        NotingEngine(base, device=device, dtype=dtype, find_adapter=Path) for dtype in ("float32", "bfloat16")
    )
    return {name: _compare(exact, half, prompts, wanted) for name, wanted in mixtures.items()}


def _compare(exact: NotingEngine, half: NotingEngine, prompts: Sequence[str], mixtures: Sequence[Mixture]) -> Any:
    together, alone = _both(exact, prompts, mixtures)
    rough, rough_alone = _both(half, prompts, mixtures)
    gaps = [
        _gap(exact, prompts[row], mixtures[row], rough[row], rough_alone[row])
        for row in range(len(prompts))
        if rough[row] != rough_alone[row]
    ]
    return {
        "rows": len(prompts),
        "equal_fp32": sum(one == other for one, other in zip(together, alone, strict=True)),
        "equal_bf16": len(prompts) - len(gaps),
        "largest_gap_bf16": round(max(gaps, default=0.0), 3),
        "epsilon": EPSILON,
    }


def _both(
    engine: NotingEngine, prompts: Sequence[str], mixtures: Sequence[Mixture]
) -> tuple[list[list[int]], list[list[int]]]:
    """Tokens of all rows in one batch, and of each row in a batch of its own."""
    alone = []
    for prompt, mixture in zip(prompts, mixtures, strict=True):
        engine.generate([prompt], [mixture], NEW_TOKENS, stop="")
        alone += engine.noted
    engine.generate(prompts, mixtures, NEW_TOKENS, stop="")
    return engine.noted, alone


def _gap(exact: Engine, prompt: str, mixture: Mixture, one: list[int], other: list[int]) -> float:
    """How far below the top logit fp32 holds the lower of the two tokens where the texts part."""
    place = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    text = prompt + exact.tokenizer.decode(one[:place])
    logits = torch.as_tensor(exact.next_logits([text], [mixture])[0])
    return float(logits.max() - logits[[one[place], other[place]]].min())
