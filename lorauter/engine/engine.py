"""Engine: answers for a batch whose rows each carry their own mixture of adapters, or a gate.

Knows: prompts, left padding, decoding with a cache, when an answer ends. Does not know: how a token is chosen
(lorauter/engine/sampling), which rows share a batch (lorauter/engine/batches), why a row has its mixture
(lorauter/routers), what an answer is worth (catalog/tasks/metrics), or where texts are kept (warehouse/ledger).

In float32 a row's text depends on the row and the decoding alone, drawn texts too. In bfloat16
rounding differs with the batch's shape and near-ties may fall the other way: `fingerprint` says
which engine, dtype and device gave a text.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, DynamicCache
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING

from catalog.errors import SettingError
from catalog.tasks.option_metrics import OptionLogprobs
from lorauter.adapters.weights import AdapterWeights
from lorauter.device import DTYPES, choose_device, choose_dtype
from lorauter.engine.attention import CPU_ATTENTION
from lorauter.engine.bank.bank import AdapterBank, BatchPlan, FindAdapter, naming, weights_found
from lorauter.engine.batches import RowSize, halving_out_of_memory, plan_batches
from lorauter.engine.decoding import GREEDY, STOPS, Decoding, row_key, stops_of
from lorauter.engine.memory_budget import Budget, budget_for
from lorauter.engine.option_scores import PromptState, option_logprobs
from lorauter.engine.sampling import Choose, Draws, most_probable
from lorauter.engine.stopping import Stopping
from lorauter.engine.version import ENGINE_VERSION
from lorauter.gates.named import NamedGate
from lorauter.gates.opening import gates_of
from lorauter.gates.protocol import Weighing, WithMixture, taking_part, weighing_of

LOG = logging.getLogger(__name__)
KEPT_STOPS = 16


class Engine:
    """One frozen base causal LM, its tokenizer, and a bank of adapters.

    Args:
        base_dir: a folder that transformers' `from_pretrained` reads, tokenizer included.
        device: see `choose_device`. dtype: see `choose_dtype`.
        capacity: how many adapters are held at a time, and so may be in one batch.
        find_adapter: gives the folder, or the weights, of an adapter's key; without it, only adapters put into
            `bank` by hand are served.
        budget: bounds of a batch; without it, what `budget_for` finds room for.
        passing: reasons that reading an adapter lets pass, as of `read_adapter`.

    Attributes:
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
    ) -> None:
        self.device = choose_device(device)
        self.dtype = choose_dtype(dtype, self.device)
        self.find_adapter = find_adapter
        self._made: Mapping[str, Callable[[], AdapterWeights]] = {}
        self._checked: set[str] = set()
        self.model, self.tokenizer = _load(base_dir, self.device, DTYPES[self.dtype])
        _refuse_states(self.model)
        self.bank = AdapterBank(self.model, self.device, DTYPES[self.dtype], capacity, passing)
        self.budget = budget or budget_for(self.model, self.device)
        self.halved: list[int] = []
        self._opened = gates_of(self.weights_of, capacity)
        self._stoppings: dict[tuple[str, ...], Stopping] = {}
        self._ends = _end_tokens(self.model, self.tokenizer)
        self._context = int(getattr(self.model.config, "max_position_embeddings", 0) or 1 << 30)

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
        return [len(ids) for ids in self._tokenise(prompts)]

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
        names = _samples(samples, len(prompts))
        limits = _limits(max_new_tokens, len(prompts))
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
        known = {*self._checked, *self._made, *self.bank.keys}
        for key in dict.fromkeys(keys):
            if key not in known:
                self.bank.check(key, self._find)
                self._checked.add(key)

    def _in_batches(
        self, sizes: Sequence[RowSize], run: Callable[[Sequence[int]], None], budget: Budget | None
    ) -> None:
        bounds = budget or self.budget
        self.check(key for size in sizes for key in size.adapters)
        for batch in plan_batches(sizes, bounds.tokens, bounds.rows, self.bank.capacity):
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

        A row ends at an end-of-text token, at its bound, or where `cut_at_stop` says that its text
        (its tokens without special ones) has reached a stop; its answer is what that returns.

        Args:
            prompts: texts, used as they are (no chat template). One longer than the base's context
                less the row's bound is cut from the left, its begin-of-text token included.
            mixtures: one a prompt, or a gate in its place, or a gate's name and candidates.
            max_new_tokens: one bound for all rows, or one a row; at least 1.
            stop: one or several, see `cut_at_stop`. decoding: greedy, or how tokens are drawn.
            samples: of drawn answers, what tells rows of one prompt and the same adapters apart; one a row. Left out,
                such rows draw the same tokens. No draw depends on the other rows of the batch.

        Raises:
            SettingError: more distinct adapters than the bank holds, or a bound below 1.
            UnsupportedAdapter: an adapter cannot be served exactly.
        """
        limits = _limits(max_new_tokens, len(prompts))
        answers = [_Answer(limit) for limit in limits]
        names, stopping = _samples(samples, len(prompts)), self._stopping(stops_of(stop))
        if not prompts:
            return []
        choose = _chooser(decoding, prompts, mixtures, names, max(limits))
        plan = self._plan(mixtures)
        ids, mask = self._padded(prompts, limits)
        with torch.inference_mode(), self.bank.serving(plan):
            self._decode(ids, mask, plan, answers, stopping, choose)
        return [answer.text for answer in answers]

    def score_options(
        self,
        prompts: Sequence[str],
        options: Sequence[Sequence[str]],
        routes: Sequence[WithMixture],
        budget: Budget | None = None,
    ) -> list[OptionLogprobs]:
        """Log-probabilities of each prompt's options, in the order of the prompts; a prompt is computed once.

        Args:
            options: at least one a prompt. An option continues the prompt after a space; its tokens are those of
                " option" alone. budget: as `answer`; a row's options count as its answer.

        Raises:
            SettingError: a prompt has no option. UnsupportedAdapter: an adapter cannot be served exactly.
        """
        tokens = [[self._continuation(option) for option in given] for given in options]
        if not all(tokens):
            raise SettingError("A prompt has no options.", "Give each at least one, or generate a text.")
        weighings = [weighing_of(route) for route in routes]
        sizes = [
            RowSize(length, sum(map(len, given)), tuple(sorted(set(taking_part(weighing)))))
            for length, given, weighing in zip(self.token_lengths(prompts), tokens, weighings, strict=True)
        ]
        found: dict[int, OptionLogprobs] = {}

        def run(batch: Sequence[int]) -> None:
            state = [prompts[i] for i in batch], [weighings[i] for i in batch]
            found.update(zip(batch, self._score_batch(*state, [tokens[i] for i in batch]), strict=True))

        self._in_batches(sizes, run, budget)
        return [found[row] for row in range(len(prompts))]

    def _score_batch(
        self, prompts: Sequence[str], mixtures: Sequence[Weighing], options: Sequence[Sequence[Sequence[int]]]
    ) -> list[OptionLogprobs]:
        plan = self._plan(mixtures)
        ids, mask = self._padded(prompts, [max(map(len, given)) for given in options])
        cache, positions = DynamicCache(config=self.model.config), _positions(mask)
        with torch.inference_mode(), self.bank.serving(plan):
            logits = self._forward(ids, mask, positions, cache)
            state = PromptState(cache, mask, positions[:, -1] + 1, logits, plan)
            return option_logprobs(self.model, state, options)

    def _continuation(self, option: str) -> list[int]:
        """Token ids of an option as it continues a prompt."""
        found: list[int] = self.tokenizer(f" {option}", add_special_tokens=False)["input_ids"]
        return found or [self._blank]

    def next_logits(self, prompts: Sequence[str], mixtures: Sequence[Weighing]) -> torch.Tensor:
        """Logits of the token after each prompt: (rows, vocabulary), fp32, on the CPU."""
        plan = self._plan(mixtures)
        ids, mask = self._padded(prompts, [1] * len(prompts))
        with torch.inference_mode(), self.bank.serving(plan):
            return self._forward(ids, mask, _positions(mask), None).float().cpu()

    def probe(
        self, prompts: Sequence[str], module: str, most_tokens: int = 2048, budget: Budget | None = None
    ) -> torch.Tensor:
        """What the bare base hands to one of its modules at each prompt's last token: (rows, d_in), fp32, on the CPU.

        One forward pass over the prompts, in the batches of `plan_batches`; a row does not depend on the others.

        Args:
            module: dotted name of a Linear or Conv1D. most_tokens: longer prompts keep their end. budget: as `answer`.

        Raises:
            UnsupportedAdapter: an adapter could not be served at that module, see `AdapterBank.linear`.
        """
        linear = self.bank.linear(module)
        found: dict[int, torch.Tensor] = {}
        bound = max(1, self._context - most_tokens)

        def run(batch: Sequence[int]) -> None:
            ids, mask = self._padded([prompts[i] for i in batch], [bound] * len(batch))

            def take(_: Any, inputs: tuple[torch.Tensor]) -> None:
                x = inputs[0]
                found.update(zip(batch, x.reshape(len(batch), -1, x.shape[-1])[:, -1].float().cpu(), strict=True))

            hook = linear.register_forward_pre_hook(take)
            try:
                with torch.inference_mode():
                    self._forward(ids, mask, _positions(mask), None)
            finally:
                hook.remove()

        sizes = [RowSize(min(length, most_tokens), 1) for length in self.token_lengths(prompts)]
        self._in_batches(sizes, run, budget)
        return torch.stack([found[row] for row in range(len(prompts))]) if prompts else torch.empty(0, 0)

    def weights_of(self, key: str) -> AdapterWeights:
        """An adapter as it is stored, on the CPU; it is not held for that.

        Raises:
            UnsupportedAdapter: as `read_adapter`; the cause names the key. SettingError: there is no `find_adapter`.
        """
        with naming(key):
            return weights_found(key, self._find, self.bank.passing)

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
        answers: list[_Answer],
        stopping: Stopping,
        choose: Choose,
    ) -> None:
        cache = DynamicCache(config=self.model.config)
        positions = _positions(mask)
        rows = list(range(len(answers)))
        while True:
            tokens = choose(self._forward(ids, mask, positions, cache), rows)
            for row, token in zip(rows, tokens.tolist(), strict=True):
                self._take(answers[row], token, stopping)
            keep = [i for i, row in enumerate(rows) if not answers[row].done]
            if not keep:
                return
            positions = positions[:, -1:] + 1
            if _dropping_pays(len(keep), len(rows)):
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

    def _take(self, answer: _Answer, token: int, stopping: Stopping) -> None:
        """Adds a token to an unfinished answer, and ends the answer where the rule says so."""
        if answer.done:
            return
        ended = token in self._ends
        if not ended:
            answer.tokens.append(token)
        full = len(answer.tokens) >= answer.limit
        if ended or full or stopping.may_complete(token):
            answer.text, stopped = stopping.cut(answer.tokens)
            answer.done = ended or full or stopped

    def _stopping(self, stops: tuple[str, ...]) -> Stopping:
        """Kept from batch to batch: it learns the tokens. The last few sets of stops are."""
        if stops not in self._stoppings:
            if len(self._stoppings) >= KEPT_STOPS:
                self._stoppings.clear()
            self._stoppings[stops] = Stopping(self.tokenizer, stops)
        return self._stoppings[stops]

    def _tokenise(self, prompts: Sequence[str]) -> list[list[int]]:
        found: list[list[int]] = self.tokenizer(list(prompts))["input_ids"] if prompts else []
        return [ids or [self._blank] for ids in found]

    @property
    def _blank(self) -> int:
        """A token that stands for an empty prompt, and that fills the padding."""
        known = (self.tokenizer.bos_token_id, self.tokenizer.eos_token_id, self.tokenizer.pad_token_id)
        return next((int(token) for token in known if token is not None), 0)

    def _padded(self, prompts: Sequence[str], limits: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Token ids and mask, both (rows, longest), int64, padded on the left."""
        cut = [
            ids[-max(1, self._context - limit) :] for ids, limit in zip(self._tokenise(prompts), limits, strict=True)
        ]
        longest = max(map(len, cut))
        ids = torch.tensor([[self._blank] * (longest - len(row)) + row for row in cut])
        mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in cut])
        return ids.to(self.device), mask.to(self.device)


@dataclass(slots=True)
class _Answer:
    limit: int
    tokens: list[int] = field(default_factory=list)
    text: str = ""
    done: bool = False


def _limits(max_new_tokens: int | Sequence[int], rows: int) -> list[int]:
    limits = [max_new_tokens] * rows if isinstance(max_new_tokens, int) else list(max_new_tokens)
    if len(limits) != rows or any(limit < 1 for limit in limits):
        raise SettingError("max_new_tokens is wrong.", "Give one bound of at least 1, or one a row.")
    return limits


def _samples(samples: Sequence[str] | None, rows: int) -> Sequence[str]:
    if samples is not None and len(samples) != rows:
        raise SettingError(f"There are {len(samples)} samples for {rows} prompts.", "Give one a row, or none.")
    return [""] * rows if samples is None else samples


def _chooser(
    decoding: Decoding, prompts: Sequence[str], mixtures: Sequence[Weighing], samples: Sequence[str], steps: int
) -> Choose:
    """How the tokens of one batch are chosen."""
    if decoding.greedy:
        return most_probable
    # Of a gate the candidates are known, and no weight is part of a row's key.
    named = [tuple((key, 1.0) for key in taking_part(mixture)) for mixture in mixtures]
    rows = zip(prompts, named, samples, strict=True)
    return Draws(decoding, [row_key(decoding, *row) for row in rows], steps)


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return (mask.cumsum(1) - 1).clamp(min=0)


def _dropping_pays(kept: int, rows: int) -> bool:
    """Dropping copies the cache, about as dear as an eighth of a step's rows."""
    return rows - kept >= max(1, rows // 8)


def _load(base_dir: Path, device: str, dtype: torch.dtype) -> tuple[Any, Any]:
    try:
        tokenizer = AutoTokenizer.from_pretrained(base_dir)
        model: Any = AutoModelForCausalLM.from_pretrained(
            base_dir, config=_config(base_dir, device), dtype=dtype, use_safetensors=True
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise SettingError(f"The base in {base_dir} cannot be read ({error}).", "Check the folder.") from error
    # transformers slices the last positions out of the hidden states. On a slice that is not contiguous
    # torch's CPU linear becomes a bmm with the head's matrix copied for every row: 3 times the prefill.
    model.get_output_embeddings().register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
    return model.to(device).eval().requires_grad_(False), tokenizer


def _refuse_states(model: Any) -> None:
    """Padding on the left would enter a recurrent state, and its rows could not be dropped."""
    layers = DynamicCache(config=model.config).layers
    if getattr(model, "_is_stateful", False) or not all(hasattr(layer, "batch_select_indices") for layer in layers):
        raise SettingError(
            f"The base is a {type(model).__name__}, which keeps a state and not only keys and values.",
            "Choose a base whose every layer is attention.",
        )


def _config(base_dir: Path, device: str) -> Any:
    """The base's config with torch's attention, or ours on a CPU, whatever it asks for; "eager" where those would leave
    out softcapping."""
    config = AutoConfig.from_pretrained(base_dir)
    kind = MODEL_FOR_CAUSAL_LM_MAPPING.get(type(config), None)
    plain = CPU_ATTENTION if device == "cpu" else "sdpa"
    config._attn_implementation = plain if getattr(kind, "_supports_sdpa", True) else "eager"
    return config


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    found = getattr(model.generation_config, "eos_token_id", None)
    listed = found if isinstance(found, list) else [found]
    return frozenset(int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None)
