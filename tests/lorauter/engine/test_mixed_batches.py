"""A mixed batch against its rows one by one, on real weights: weighted mixtures and every composition at once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from flows.demo.world import POOL, demo_tasks
from lorauter.compositions import COMPOSITIONS, open_composition
from lorauter.compositions.base import Composed, compose_all
from lorauter.compositions.reading import reader
from lorauter.engine.decoding import GREEDY, Decoding
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Mixture

NEW_TOKENS = 6
EPSILON = 0.75
"""Logits, as in test_engine_pool: where a bf16 text leaves that of its row alone, both tokens lie so near the top."""

pytestmark = [pytest.mark.timeout(300), pytest.mark.usefixtures("one_thread")]


def plain_folders() -> list[Path]:
    """Adapters of one rank and the same modules, which every composition can merge."""
    found = []
    for file in sorted((POOL / "hub").rglob("adapter_config.json")):
        config = json.loads(file.read_text())
        if (config["r"], sorted(config["target_modules"])) == (8, ["q_proj", "v_proj"]):
            found.append(file.parent)
    return found


def odd_folders() -> list[Path]:
    """Three that only a mixture of outputs serves together: all-linear, a DoRA, one with ranks by layer."""
    names = ("meadow-labs/noun-plural-all-linear", "tiny-grammar/verb-past-dora", "quill-and-ink/thing-kind-mixed-rank")
    return [POOL / "hub" / name for name in names]


def mixture_of(folders: Sequence[Path], weights: Sequence[float]) -> Mixture:
    return tuple((str(folder), weight) for folder, weight in zip(folders, weights, strict=True))


PLAIN = plain_folders()
ROWS: list[tuple[str, Mixture]] = [
    *((name, mixture_of(PLAIN[:3], (0.5, 0.3, 0.2))) for name in COMPOSITIONS),
    *((name, mixture_of(PLAIN[2:5], (0.4, 0.35, 0.25))) for name in ("mixture", "cat", "selection")),
    ("mixture", mixture_of(odd_folders(), (0.4, 0.4, 0.2))),
    ("mixture", mixture_of([PLAIN[0], *odd_folders()[:2]], (0.6, 0.3, 0.1))),
    ("mixture", mixture_of(PLAIN[:1], (0.7,))),
    ("mixture", ()),
]
PROMPTS = [task.prompt(task.validation[0].input) for task in demo_tasks(small=False)]
ASKED = [PROMPTS[row % len(PROMPTS)] for row in range(len(ROWS))]


class Noting(Engine):
    """The engine, with what the rows are composed to; it keeps the tokens of its last batch."""

    noted: list[list[int]]

    def __init__(self, base: Path, dtype: str) -> None:
        super().__init__(base, device="cpu", dtype=dtype, find_adapter=Path)
        merges = compose_rows()[1]
        self._made = {key: partial(merge.weights, reader(Path)) for key, merge in merges.items()}

    def _decode(self, ids: Any, mask: Any, plan: Any, answers: Any, *rest: Any) -> None:
        super()._decode(ids, mask, plan, answers, *rest)
        self.noted = [answer.tokens for answer in answers]

    def tokens(self, rows: Sequence[int], decoding: Decoding = GREEDY) -> list[list[int]]:
        """Of some of the rows in one batch."""
        mixtures = compose_rows()[0]
        names = [str(row) for row in rows]
        asked = [ASKED[row] for row in rows], [mixtures[row] for row in rows]
        self.generate(*asked, NEW_TOKENS, "", decoding, names)
        return self.noted

    def logits(self, row: int, tokens: list[int]) -> torch.Tensor:
        """Of the token after a row's prompt and some tokens of its answer, alone: (vocabulary,)."""
        ids = torch.tensor([self.tokenizer(ASKED[row])["input_ids"] + tokens])
        mixture = compose_rows()[0][row]
        self.bank.ensure([key for key, _ in mixture], self._find)
        with torch.inference_mode(), self.bank.serving(self.bank.plan([mixture])):
            logits: torch.Tensor = self.model(input_ids=ids).logits[0, -1].float()
        return logits


def compose_rows() -> tuple[list[Mixture], dict[str, Any]]:
    """What the engine serves for every row, and the merges."""
    composed: list[Composed] = [open_composition(name).compose(mixture) for name, mixture in ROWS]
    merges = {one.merge.key: one.merge for one in composed if one.merge is not None}
    return [one.mixture for one in composed], merges


@pytest.fixture(scope="module")
def exact(smollm2: Path) -> Iterator[Noting]:
    yield Noting(smollm2, "float32")


EVERY = range(len(ROWS))


def test_the_batch_holds_every_composition_and_three_adapters_a_row() -> None:
    mixtures, merges = compose_rows()

    assert len(PLAIN) >= 5
    assert len(merges) == len(COMPOSITIONS) - 2 + 1  # mixture and selection make none; cat has a second
    assert max(len(mixture) for mixture in mixtures) == 3
    assert [compose_all(open_composition(n), [m]).mixtures[0] for n, m in ROWS] == mixtures


def test_in_fp32_a_mixed_batch_writes_what_each_row_writes_alone(exact: Noting) -> None:
    together = exact.tokens(EVERY)

    assert together == [exact.tokens([row])[0] for row in EVERY]
    assert len({tuple(tokens) for tokens in together}) > len(PROMPTS) // 2


def test_in_fp32_a_mixed_batch_draws_what_each_row_draws_alone(exact: Noting) -> None:
    decoding = Decoding(temperature=0.8, top_p=0.95, seed=1)
    rows = list(EVERY)[::3]

    together = exact.tokens(rows, decoding)

    assert together == [exact.tokens([row], decoding)[0] for row in rows]
    assert together != exact.tokens(rows)


def test_cat_writes_what_the_mixture_writes(exact: Noting) -> None:
    names = [name for name, _ in ROWS]
    cat = compose_rows()[0][names.index("cat")]

    exact.generate([ASKED[names.index("mixture")]], [cat], NEW_TOKENS, "")

    merged = exact.noted
    assert merged == exact.tokens([names.index("mixture")])


def test_in_bf16_rows_part_from_the_batch_only_where_two_tokens_are_as_good(smollm2: Path, exact: Noting) -> None:
    rough = Noting(smollm2, "bfloat16")

    together = rough.tokens(EVERY)

    alone = [rough.tokens([row])[0] for row in EVERY]
    pairs = enumerate(zip(together, alone, strict=True))
    gaps = [gap_of(exact, row, one, other) for row, (one, other) in pairs if one != other]
    assert max(gaps, default=0.0) <= EPSILON
    assert len(gaps) <= len(ROWS) // 4


def gap_of(exact: Noting, row: int, one: list[int], other: list[int]) -> float:
    """How far the worse of the two tokens lies below the top one, in fp32, where two answers first part."""
    end = exact.tokenizer.eos_token_id
    pairs = list(zip([*one, end], [*other, end], strict=False))
    place = next(i for i, (ours, theirs) in enumerate(pairs) if ours != theirs)
    logits = exact.logits(row, one[:place])
    return float(logits.max() - logits[list(pairs[place])].min())
