"""Texts of a mixed batch against the same rows one by one.

Knows: our engine alone. Does not know: speed. In fp32 all must be equal; in bf16 rounding follows the batch's shape,
and where two texts part, fp32 must hold both tokens within EPSILON of the top one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lorauter.engine.engine import Engine
from lorauter.routing.routes import Mixture

EPSILON = 0.75  # logits, as in tests/lorauter/engine/test_engine_pool.py
NEW_TOKENS = 8


@dataclass(frozen=True)
class Rows:
    """Prompts, each with its mixture."""

    prompts: Sequence[str]
    mixtures: Sequence[Mixture]


class NotingEngine(Engine):
    """The engine; it never ends a text before its bound, and tells tokens where the engine tells texts."""

    noted: list[Any]

    def tokens(self, rows: Rows) -> list[list[int]]:
        """Tokens of one batch's answers."""
        self.noted = []
        self.generate(rows.prompts, rows.mixtures, NEW_TOKENS, stop="")
        return [answer.tokens for answer in self.noted]

    def logits_after(self, prompt: str, mixture: Mixture, tokens: Sequence[int]) -> torch.Tensor:
        """Of the token after a prompt and some tokens of its answer: (vocabulary,), fp32."""
        ids = torch.tensor([[*self.prompt_tokens.of([prompt])[0], *tokens]], device=self.device)
        plan = self._plan([mixture])
        with torch.inference_mode(), self.bank.serving(plan):
            positions = torch.arange(ids.shape[1], device=self.device)[None]
            return self._forward(ids, torch.ones_like(ids), positions, None)[0].float()

    def _take(self, answer: Any, token: int, *rest: Any) -> None:
        if not answer.tokens:  # rows take their first tokens in their order
            self.noted.append(answer)
        answer.tokens.append(token)
        answer.done = len(answer.tokens) >= answer.limit


def compare_texts(base: Path, device: str, cases: Mapping[str, Rows]) -> dict[str, dict[str, Any]]:
    """For each case: how many rows have the same text in the batch and alone, in fp32 and bf16, how many another one
    than the base's, and the largest distance from the top logit where bf16 texts part."""
    exact, half = (
        NotingEngine(base, device=device, dtype=dtype, find_adapter=Path) for dtype in ("float32", "bfloat16")
    )
    return {name: _compare(exact, half, rows) for name, rows in cases.items()}


def _compare(exact: NotingEngine, half: NotingEngine, rows: Rows) -> dict[str, Any]:
    together, rough, rough_alone = exact.tokens(rows), half.tokens(rows), _alone(half, rows)
    bare = exact.tokens(Rows(rows.prompts, [()] * len(rows.prompts)))
    parted = [row for row in range(len(together)) if rough[row] != rough_alone[row]]
    gaps = [_gap(exact, rows, row, rough[row], rough_alone[row]) for row in parted]
    return {
        "rows": len(together),
        "equal_fp32": _equal(together, _alone(exact, rows)),
        "unlike_base_fp32": len(together) - _equal(together, bare),
        "equal_bf16": _equal(rough, rough_alone),
        "largest_gap_bf16": round(max(gaps, default=0.0), 3),
        "epsilon": EPSILON,
    }


def _alone(engine: NotingEngine, rows: Rows) -> list[list[int]]:
    """Tokens of each row in a batch of its own."""
    pairs = zip(rows.prompts, rows.mixtures, strict=True)
    return [engine.tokens(Rows([prompt], [mixture]))[0] for prompt, mixture in pairs]


def _equal(some: Sequence[list[int]], others: Sequence[list[int]]) -> int:
    return sum(one == other for one, other in zip(some, others, strict=True))


def _gap(exact: NotingEngine, rows: Rows, row: int, one: list[int], other: list[int]) -> float:
    """How far below the top logit fp32 holds the lower of the two tokens where two texts part."""
    place = next(i for i, (a, b) in enumerate(zip(one, other, strict=True)) if a != b)
    logits = exact.logits_after(rows.prompts[row], rows.mixtures[row], one[:place])
    return float(logits.max() - logits[[one[place], other[place]]].min())
