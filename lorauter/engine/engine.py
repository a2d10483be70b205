"""Engine: answers for a batch whose rows each carry their own mixture of adapters, or a gate.

Knows: which adapters a batch needs, decoding with a cache, options, probes. Does not know: how a base is loaded
(lorauter/engine/base_model), how texts become tokens (lorauter/engine/prompt_tokens) and a token is chosen
(lorauter/engine/sampling), when an answer is done (lorauter/engine/answers), which rows share a batch
(lorauter/engine/batches), why a row has its mixture (lorauter/routers), what an answer is worth
(catalog/tasks/metrics), or where texts are kept (warehouse/ledger).

In float32 a row's text depends on the row and the decoding alone, drawn texts too. In bfloat16
rounding differs with the batch's shape and near-ties may fall the other way: `fingerprint` says
which engine, dtype and device gave a text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import DynamicCache

from catalog.errors import SettingError
from catalog.tasks.answer import Text
from catalog.tasks.option_metrics import OptionLogprobs
from lorauter.adapters.weights import AdapterWeights
from lorauter.device import DTYPES, choose_device, choose_dtype
from lorauter.engine.answers import Answer, dropping_pays, limits_of, samples_of
from lorauter.engine.bank.bank import AdapterBank
from lorauter.engine.bank.batch_plan import BatchPlan
from lorauter.engine.bank.finding import FindAdapter, naming, weights_of
from lorauter.engine.base_model import end_tokens, load_base
from lorauter.engine.batches import RowSize, halving_out_of_memory, plan_batches
from lorauter.engine.decoding import GREEDY, STOPS, Decoding, stops_of
from lorauter.engine.memory_budget import Budget, budget_for
from lorauter.engine.option_scores import PromptState, option_logprobs
from lorauter.engine.prompt_tokens import PromptTokens, positions_of
from lorauter.engine.sampling import Choose, chooser_of
from lorauter.engine.stopping import Stopping, Stoppings
from lorauter.engine.version import ENGINE_VERSION
from lorauter.gates.opening import gates_of
from lorauter.gates.protocol import NamedGate, Weighing, WithMixture, taking_part, weighing_of
from lorauter.trained.state import ReadState, no_state_here

LOG = logging.getLogger(__name__)


class Engine:
    """One frozen base causal LM, its tokenizer, and a bank of adapters.

    Args:
        base_dir: a folder that transformers' `from_pretrained` reads, tokenizer included.
        device: see `choose_device`.
        dtype: see `choose_dtype`.
        capacity: how many adapters are held at a time, and so may be in one batch.
        find_adapter: gives the folder, or the weights, of an adapter's key; without it, only adapters put into `bank`
            by hand are served.
        budget: bounds of a batch; without it, what `budget_for` finds room for.
        passing: reasons that reading an adapter lets pass, as of `read_adapter`.
        read_state: gives the trained states of named gates, by their hash.

    Attributes:
        model: the base.
        tokenizer: its tokenizer.
        bank: the adapters that are held.
        prompt_tokens: texts as the base's tokens.
        halved: rows of each batch that memory had no room for and that was computed in halves.

    Raises:
        SettingError: the base cannot be read or served, or the device or dtype is wrong.
    """

    def __init__(
        self,
        base_dir: Path,
        *,
        device: str = "auto",
        dtype: str = "auto",
        capacity: int = 64,
        find_adapter: FindAdapter | None = None,
        budget: Budget | None = None,
        passing: Collection[str] = (),
        read_state: ReadState = no_state_here,
    ) -> None:
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.find_adapter = find_adapter
        self._made: Mapping[str, Callable[[], AdapterWeights]] = {}
        self._checked: set[str] = set()
        self.model, self.tokenizer = load_base(base_dir, self.device, DTYPES[self.dtype])
        self.bank = AdapterBank(self.model, self.device, DTYPES[self.dtype], capacity, passing)
        self.budget = budget or budget_for(self.model, self.device)
        self.halved: list[int] = []
        self._opened = gates_of(self.weights_of, capacity, read_state)
        self._stoppings = Stoppings(self.tokenizer)
        self._ends = end_tokens(self.model, self.tokenizer)
        context = int(getattr(self.model.config, "max_position_embeddings", 0) or 1 << 30)
        self.prompt_tokens = PromptTokens(self.tokenizer, context, self.device)

    @property
    def fingerprint(self) -> dict[str, str]:
        """What, besides base, adapters, prompts and decoding, a text depends on."""
        return {
            "engine": ENGINE_VERSION,
            "dtype": self.dtype,
            "device": self.device.partition(":")[0],
            "torch": str(torch.__version__),
            "batches": f"{self.budget.tokens} tokens, {self.budget.rows} rows",
        }

    def token_lengths(self, prompts: Sequence[str]) -> list[int]:
        """Tokens of each prompt, before any cut."""
        return [len(ids) for ids in self.prompt_tokens.of(prompts)]

    def answer(
        self,
        prompts: Sequence[str],
        routes: Sequence[WithMixture],
        max_new_tokens: int | Sequence[int] = 8,
        stop: str | Sequence[str] = STOPS,
        budget: Budget | None = None,
        decoding: Decoding = GREEDY,
        samples: Sequence[str] | None = None,
    ) -> list[str]:
        """Texts in the order of the prompts, computed in the batches of `plan_batches`.

        A batch that memory has no room for is halved (see `halved`). `budget` stands in for the engine's.

        Args and errors: as `generate`; each route's mixture or gate is its row's.
        """
        names = samples_of(samples, len(prompts))
        limits = limits_of(max_new_tokens, len(prompts))
        weighings = [weighing_of(route) for route in routes]
        sizes = [
            RowSize(length, limit, tuple(sorted(set(taking_part(weighing)))))
            for length, limit, weighing in zip(self.token_lengths(prompts), limits, weighings, strict=True)
        ]
        texts = [""] * len(prompts)

        def run(batch: Sequence[int]) -> None:
            mixtures = [weighings[i] for i in batch]
            asked, bounds = [prompts[i] for i in batch], [limits[i] for i in batch]
            answers = self.generate(asked, mixtures, bounds, stop, decoding, [names[i] for i in batch])
            for index, text in zip(batch, answers, strict=True):
                texts[index] = text

        self._in_batches(sizes, run, budget)
        return texts

    def check(self, keys: Iterable[str]) -> None:
        """Refuses adapters that cannot be served on this base, before anything is computed.

        Configs and safetensors headers are read, no weights; each adapter once. Held ones, and those made by
        `knowing`, are taken as they are. `answer` and `score_options` ask this of all their adapters.

        Raises:
            UnsupportedAdapter: the cause names the first such adapter, the module and its class.
            SettingError: one is not held, and there is no `find_adapter`.
        """
        sound = {*self._checked, *self._made, *self.bank.keys}
        for key in dict.fromkeys(keys):
            if key not in sound:
                self.bank.check(key, self._find)
                self._checked.add(key)

    def _in_batches(
        self, sizes: Sequence[RowSize], run: Callable[[Sequence[int]], None], budget: Budget | None
    ) -> None:
        bounds = budget or self.budget
        self.check(key for size in sizes for key in size.adapters)
        pinned = self.bank.pinned
        if pinned:  # those have places of their own
            sizes = [replace(s, adapters=tuple(key for key in s.adapters if key not in pinned)) for s in sizes]
        for batch in plan_batches(sizes, bounds.tokens, bounds.rows, self.bank.free):
            halving_out_of_memory(batch, run, self._note_halved)

    def _note_halved(self, rows: int) -> None:
        self.halved.append(rows)
        LOG.warning("A batch of %d rows found no room in memory; computing its halves.", rows)
        if self.device.startswith("cuda"):
            torch.cuda.empty_cache()

    def generate(
        self,
        prompts: Sequence[str],
        mixtures: Sequence[Weighing],
        max_new_tokens: int | Sequence[int],
        stop: str | Sequence[str] = STOPS,
        decoding: Decoding = GREEDY,
        samples: Sequence[str] | None = None,
    ) -> list[str]:
        """Answers of ONE batch.

        A row ends at an end-of-text token, at a stop that begins with a special token, at its bound, or where
        `cut_at_stop` says that its text (its tokens without special ones) has reached a stop; its answer is what that
        returns.

        Args:
            prompts: texts, used as they are (no chat template). One longer than the base's context less the row's bound
                is cut from the left, its begin-of-text token included.
            mixtures: one a prompt, or a gate in its place, or a gate's name and candidates.
            max_new_tokens: one bound for all rows, or one a row; at least 1.
            stop: one or several, see `cut_at_stop`.
            decoding: greedy, or how tokens are drawn.
            samples: of drawn answers, what tells rows of one prompt and the same adapters apart; one a row. Left out,
                such rows draw the same tokens. No draw depends on the other rows of the batch.

        Raises:
            SettingError: more distinct adapters than the bank holds, or a bound below 1.
            UnsupportedAdapter: an adapter cannot be served exactly.
        """
        limits = limits_of(max_new_tokens, len(prompts))
        answers = [Answer(limit) for limit in limits]
        names, stopping = samples_of(samples, len(prompts)), self._stoppings.of(stops_of(stop))
        if not prompts:
            return []
        choose = chooser_of(decoding, prompts, list(map(taking_part, mixtures)), names, max(limits))
        plan = self._plan(mixtures)
        ids, mask = self.prompt_tokens.padded(prompts, limits)
        with torch.inference_mode(), self.bank.serving(plan):
            self._decode(ids, mask, plan, answers, stopping, choose)
        return [Text(answer.text, answer.cut) for answer in answers]

    def score_options(
        self,
        prompts: Sequence[str],
        options: Sequence[Sequence[str]],
        routes: Sequence[WithMixture],
        budget: Budget | None = None,
    ) -> list[OptionLogprobs]:
        """Log-probabilities of each prompt's options, in the order of the prompts; a prompt is computed once.

        Args:
            options: at least one a prompt. An option continues the prompt after a space; its tokens are
                those of " option" alone.
            budget: as `answer`; a row's options count as its answer.

        Raises:
            SettingError: a prompt has no option.
            UnsupportedAdapter: an adapter cannot be served exactly.
        """
        tokens = [[self.prompt_tokens.continuation(option) for option in given] for given in options]
        if not all(tokens):
            raise SettingError("A prompt has no options.", "Give each at least one, or generate a text.")
        weighings = [weighing_of(route) for route in routes]
        sizes = [
            RowSize(length, sum(map(len, given)), tuple(sorted(set(taking_part(weighing)))))
            for length, given, weighing in zip(self.token_lengths(prompts), tokens, weighings, strict=True)
        ]
        scores: dict[int, OptionLogprobs] = {}

        def run(batch: Sequence[int]) -> None:
            asked, mixtures = [prompts[i] for i in batch], [weighings[i] for i in batch]
            scores.update(zip(batch, self._score_batch(asked, mixtures, [tokens[i] for i in batch]), strict=True))

        self._in_batches(sizes, run, budget)
        return [scores[row] for row in range(len(prompts))]

    def _score_batch(
        self, prompts: Sequence[str], mixtures: Sequence[Weighing], options: Sequence[Sequence[Sequence[int]]]
    ) -> list[OptionLogprobs]:
        plan = self._plan(mixtures)
        ids, mask = self.prompt_tokens.padded(prompts, [max(map(len, given)) for given in options])
        cache, positions = DynamicCache(config=self.model.config), positions_of(mask)
        with torch.inference_mode(), self.bank.serving(plan):
            logits = self._forward(ids, mask, positions, cache)
            state = PromptState(cache, mask, positions[:, -1] + 1, logits, plan)
            return option_logprobs(self.model, state, options)

    def next_logits(self, prompts: Sequence[str], mixtures: Sequence[Weighing]) -> torch.Tensor:
        """Logits of the token after each prompt: (rows, vocabulary), fp32, on the CPU."""
        plan = self._plan(mixtures)
        ids, mask = self.prompt_tokens.padded(prompts, [1] * len(prompts))
        with torch.inference_mode(), self.bank.serving(plan):
            return self._forward(ids, mask, positions_of(mask), None).float().cpu()

    def probe(
        self, prompts: Sequence[str], module: str, most_tokens: int = 2048, budget: Budget | None = None
    ) -> torch.Tensor:
        """What the bare base hands to one of its modules at each prompt's last token: (rows, d_in), fp32, on the CPU.

        One forward pass over the prompts, in the batches of `plan_batches`; a row does not depend on the others.

        Args:
            module: dotted name of a Linear or Conv1D.
            most_tokens: longer prompts keep their end.
            budget: as `answer`.

        Raises:
            UnsupportedAdapter: an adapter could not be served at that module, see `AdapterBank.linear`.
        """
        linear = self.bank.linear(module)
        handed: dict[int, torch.Tensor] = {}
        bound = max(1, self.prompt_tokens.context - most_tokens)

        def run(batch: Sequence[int]) -> None:
            ids, mask = self.prompt_tokens.padded([prompts[i] for i in batch], [bound] * len(batch))

            def take(_module: Any, inputs: tuple[torch.Tensor]) -> None:
                x = inputs[0]
                handed.update(zip(batch, x.reshape(len(batch), -1, x.shape[-1])[:, -1].float().cpu(), strict=True))

            hook = linear.register_forward_pre_hook(take)
            try:
                with torch.inference_mode():
                    self._forward(ids, mask, positions_of(mask), None)
            finally:
                hook.remove()

        sizes = [RowSize(min(length, most_tokens), 1) for length in self.token_lengths(prompts)]
        self._in_batches(sizes, run, budget)
        return torch.stack([handed[row] for row in range(len(prompts))]) if prompts else torch.empty(0, 0)

    def weights_of(self, key: str) -> AdapterWeights:
        """An adapter as it is stored, on the CPU; it is not held for that.

        Raises:
            UnsupportedAdapter: as `read_adapter`; the cause names the key.
            SettingError: there is no `find_adapter`.
        """
        with naming(key):
            return weights_of(key, self._find, self.bank.passing)

    def _plan(self, mixtures: Sequence[Weighing]) -> BatchPlan:
        find = self._find if self._made else self.find_adapter
        self.bank.ensure([key for mixture in mixtures for key in taking_part(mixture)], find)
        named = dict.fromkeys(one for one in mixtures if isinstance(one, NamedGate))
        gates = {gate: self._opened(gate) for gate in named}
        return self.bank.plan([gates[one] if isinstance(one, NamedGate) else one for one in mixtures])

    @contextmanager
    def knowing(self, made: Mapping[str, Callable[[], AdapterWeights]]) -> Iterator[None]:
        """Within it, adapters of these keys come from a call when they are needed: merges, say."""
        before, self._made = self._made, made
        try:
            yield
        finally:
            self._made = before

    def _find(self, key: str) -> Path | AdapterWeights:
        if key in self._made:
            return self._made[key]()
        if self.find_adapter is None:
            raise SettingError(f"Adapter {key!r} is not held.", "Give the engine a find_adapter.")
        return self.find_adapter(key)

    def _decode(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        plan: BatchPlan,
        answers: list[Answer],
        stopping: Stopping,
        choose: Choose,
    ) -> None:
        cache = DynamicCache(config=self.model.config)
        positions = positions_of(mask)
        rows = list(range(len(answers)))
        while True:
            tokens = choose(self._forward(ids, mask, positions, cache), rows)
            for row, token in zip(rows, tokens.tolist(), strict=True):
                self._take(answers[row], token, stopping)
            keep = [i for i, row in enumerate(rows) if not answers[row].done]
            if not keep:
                return
            positions = positions[:, -1:] + 1
            if dropping_pays(len(keep), len(rows)):
                kept = torch.tensor(keep, device=ids.device)
                rows = [rows[i] for i in keep]
                tokens, mask, positions = tokens[kept], mask[kept], positions[kept]
                cache.batch_select_indices(kept)
                plan.select(kept)
            ids = tokens[:, None]
            mask = torch.cat([mask, mask.new_ones(len(rows), 1)], dim=1)

    def _forward(
        self, ids: torch.Tensor, mask: torch.Tensor, positions: torch.Tensor, cache: DynamicCache | None
    ) -> torch.Tensor:
        """Logits of the last position: (rows, vocabulary)."""
        output = self.model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=1,
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _take(self, answer: Answer, token: int, stopping: Stopping) -> None:
        answer.take(token, self._ends, stopping)
