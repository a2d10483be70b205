"""Forecast: what a refresh will take before anything starts: requests, bytes, evaluations, GPU hours, disk.

Knows: how counts and assumptions become figures. Does not know: where counts come from (flows/plan/counts), what is
assumed (flows.plan.assumptions), how figures are told (flows/plan/table). Makes no request and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from catalog.hub.budget import DOCUMENTED, WINDOW_S
from flows.plan.assumptions import Assumptions
from flows.plan.counts import Counts, tokens_of

MODEL_FILES = 10  # of a base or an encoder: config, tokenizer, a few shards
FORMAT_FILES = 2  # of an adapter, at most in the usual case: its card, and its chat template or tokenizer's config
OUTPUT_BYTES = 200  # of an answer in the ledger: 160 measured on 22,000 short ones
ADAPTER_ROW_BYTES = 16 * 1024  # of an adapter's rows; a header compresses well, norms take the most
BYTES_A_PARAMETER = 2  # bf16


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a forecast.

    Args:
        name: what is told.
        value: the expected amount.
        unit: of the amount.
        made_of: what it was computed from, in words.
        counted: whether nothing in it was assumed.
        low: the least amount, where there is a range.
        high: the largest.
    """

    name: str
    value: float
    unit: str
    made_of: str
    counted: bool
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class _Amount:
    """A number with where it is from."""

    value: float
    told: str
    counted: bool


@dataclass(frozen=True, slots=True)
class Way:
    """How the run goes that is forecast.

    Args:
        page_size: repos a listing page.
        has_token: whether requests carry a token: the hub grants more then.
        strategy: which evaluations scoring runs.
    """

    page_size: int
    has_token: bool
    strategy: str


def forecast(counts: Counts, assumed: Assumptions, way: Way) -> list[Figure]:
    """The figures of a base, in the order of the work."""
    return list(_Forecast(counts, assumed, way).figures())


class _Forecast:
    def __init__(self, counts: Counts, assumed: Assumptions, way: Way) -> None:
        self._counts, self._assumed, self._way = counts, assumed, way
        listed = counts.listed if counts.listed is not None else assumed.adapters
        self.listed = _Amount(listed, f"{listed:,} adapters", counts.listed is not None)
        admitted = counts.admitted if counts.admitted is not None else math.ceil(listed * assumed.admitted)
        share = "" if counts.admitted is not None else f" ({assumed.admitted:.0%} of those listed)"
        self.admitted = _Amount(admitted, f"{admitted:,} admitted{share}", counts.admitted is not None)
        tasks = len(counts.tasks) or assumed.tasks
        self.examples = counts.selection or assumed.tasks * assumed.examples
        told = f"{tasks:,} tasks of {self.examples:,} validation examples in all"
        self.tasks = _Amount(tasks, told, bool(counts.tasks))

    def figures(self) -> Iterator[Figure]:
        """Every line."""
        pages, files = self._listing(), self._files()
        yield pages
        yield files
        yield self._waiting(pages, files)
        yield self._bytes_read()
        weights, models = self._weights(), self._models()
        yield weights
        yield models
        exhaustive, evaluations = self._exhaustive(), self._evaluations()
        yield evaluations
        yield exhaustive
        tokens = self._tokens(evaluations)
        yield tokens
        yield self._hours(evaluations)
        yield self._disk(weights, models, evaluations)

    def _listing(self) -> Figure:
        pages = max(1, math.ceil(self.listed.value / self._way.page_size))
        return Figure(
            "listing requests",
            pages,
            "requests",
            f"{self.listed.told}, {self._way.page_size} a page; one page where nothing changed",
            self.listed.counted,
        )

    def _files(self) -> Figure:
        unread = self.listed.value - self._counts.read
        missing = self._missing()
        models = MODEL_FILES * (2 - self._counts.base_here - self._counts.encoder_here)
        formats, further = self._formats(), self._counts.further_formats
        value = 2 * unread + missing.value + formats.value + models
        return Figure(
            "file requests",
            value,
            "requests",
            f"config and header of {unread:,.0f} unread adapters, weights of {missing.value:,.0f},"
            f" {formats.told}, {models} of models",
            self.listed.counted and missing.counted,
            value if further else None,
            value + further if further else None,
        )

    def _formats(self) -> _Amount:
        """Requests for what tells the prompt format of those that race: the card, and most often one more file."""
        if self._counts.admitted is not None:
            files, further = self._counts.unread_formats, self._counts.further_formats
            more = f" and at most {further:,} more" if further else ""
            return _Amount(files, f"{files:,} cards and tokenizer files{more}", True)
        files = FORMAT_FILES * int(self.admitted.value)
        return _Amount(files, f"{files:,.0f} cards and tokenizer files", False)

    def _waiting(self, pages: Figure, files: Figure) -> Figure:
        plan = "free" if self._way.has_token else "anonymous"
        quota = DOCUMENTED[plan]
        windows = max(pages.value / quota["api"], files.value / quota["resolvers"])
        return Figure(
            "waiting for the hub",
            math.floor(windows) * WINDOW_S / 60,
            "minutes",
            f"{quota['api']:,} listing and {quota['resolvers']:,} file requests in 5 minutes ({plan} caller)",
            pages.counted and files.counted,
        )

    def _bytes_read(self) -> Figure:
        unread = self.listed.value - self._counts.read
        each = self._assumed.header_bytes
        return Figure(
            "configs and headers",
            unread * each,
            "bytes",
            f"{unread:,.0f} unread adapters × {each:,} bytes",
            self.listed.counted and not unread,
        )

    def _missing(self) -> _Amount:
        """Adapters whose weights are still to come."""
        if self._counts.admitted is not None:
            return _Amount(len(self._counts.sizes), "", True)
        return _Amount(self.admitted.value, "", False)

    def _weights(self) -> Figure:
        if self._counts.admitted is not None:
            told = f"sizes of {len(self._counts.sizes):,} admitted adapters that are not here yet"
            return Figure("adapter weights", sum(self._counts.sizes), "bytes", told, True)
        each = self._assumed.adapter_bytes
        return Figure(
            "adapter weights", self.admitted.value * each, "bytes", f"{self.admitted.told} × {each:,} bytes", False
        )

    def _models(self) -> Figure:
        base = 0 if self._counts.base_here else self._parameters().value * BYTES_A_PARAMETER
        encoder = 0 if self._counts.encoder_here else self._assumed.encoder_bytes
        told = f"base: {self._parameters().told} × {BYTES_A_PARAMETER} bytes" if base else "base: here"
        told += f"; encoder: {encoder:,} bytes" if encoder else "; encoder: here"
        return Figure("base and encoder", base + encoder, "bytes", told, not base and not encoder)

    def _parameters(self) -> _Amount:
        counted = self._counts.parameters
        value = float(counted or self._assumed.parameters)
        return _Amount(value, f"{value:.3g} parameters", counted is not None)

    def _exhaustive(self) -> Figure:
        return Figure(
            "exhaustive, for comparison",
            (self.admitted.value + 1) * self.examples,
            "evaluations",
            f"{self.admitted.told} and the base, {self.tasks.told}",
            self.admitted.counted and self.tasks.counted,
        )

    def _new_pairs(self) -> float:
        """Share of the pairs of task and adapter that no race has settled."""
        pairs = self.tasks.value * self.admitted.value
        return 1 - min(1.0, self._counts.raced / pairs) if pairs else 0.0

    def _evaluations(self) -> Figure:
        new, every = self._new_pairs(), self._exhaustive().value
        a, exhaustive = self._assumed, self._way.strategy == "exhaustive"
        low, share, high = (1.0, 1.0, 1.0) if exhaustive else (a.share_low, a.share, a.share_high)
        told = f"{new:.0%} of the pairs of task and adapter are new"
        told += "" if exhaustive or not new else f"; {self._way.strategy} runs {share:.0%} of all"
        return Figure(
            "evaluations",
            math.ceil(new * every * share),
            "evaluations",
            told,
            not new,
            math.ceil(new * every * low),
            math.ceil(new * every * high),
        )

    def _lengths(self) -> tuple[float, float, str]:
        """Mean tokens of a prompt and of an answer, and where they are from."""
        tasks = [task for task in self._counts.tasks if task.validation]
        if not tasks:
            a = self._assumed
            return a.prompt_tokens, a.new_tokens, "assumed"
        sizes = [(len(task.validation), *tokens_of(task)) for task in tasks]
        total = sum(size[0] for size in sizes)
        prompt, new = (sum(size[0] * size[place] for size in sizes) / total for place in (1, 2))
        return prompt, new, "four letters a token, answers to their bound"

    def _tokens(self, evaluations: Figure) -> Figure:
        prompt, new, told = self._lengths()
        made_of = f"{prompt:,.0f} of a prompt and {new:,.0f} of an answer: {told}"
        return Figure("tokens", evaluations.value * (prompt + new), "tokens", made_of, evaluations.counted)

    def _hours(self, evaluations: Figure) -> Figure:
        prompt, new = self._lengths()[:2]
        parameters, a = self._parameters(), self._assumed
        prefill = 2 * parameters.value * prompt / a.flops
        decode = new * parameters.value * BYTES_A_PARAMETER / a.bytes_per_second / a.batch_rows
        each = (prefill + decode) / 3600
        return Figure(
            "GPU hours",
            evaluations.value * each,
            "hours",
            f"{parameters.told}: prompts at {a.flops:.2g} operations a second, a step of {a.batch_rows} answers at"
            f" {a.bytes_per_second:.2g} bytes a second; nothing of it is measured",
            evaluations.counted,
            (evaluations.low or 0) * each,
            (evaluations.high or 0) * each,
        )

    def _disk(self, weights: Figure, models: Figure, evaluations: Figure) -> Figure:
        rows = self.listed.value * ADAPTER_ROW_BYTES + evaluations.value * OUTPUT_BYTES
        return Figure(
            "disk",
            weights.value + models.value + rows,
            "bytes",
            f"weights and models of above, and {rows:,.0f} bytes of ledger",
            weights.counted and models.counted and evaluations.counted,
        )
