"""Ways to run a batch of rows, each telling how long its prefill and each of its decoding steps took.

Knows: our engine, the model library's loop, PEFT, the plain hooks. Does not know: which rows, what is compared.

Each makes the same number of tokens for every row and looks for no end. Seconds of prefill go from the call until the
first token is known, planning included; what is left, over the steps that are left, is a decoding step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.infer_adapters import Kind
from benchmarks.turns import median
from lorauter.adapters.weights import read_adapter
from lorauter.engine.engine import Engine
from lorauter.gates.protocol import Weighing

NEW_TOKENS = 17  # the first one comes out of the prefill


@dataclass(frozen=True)
class Timed:
    """Seconds of the prefill, and of a decoding step."""

    prefill: float
    step: float


Way = Callable[[], Timed]


class TimedEngine(Engine):
    """The engine, which never ends a text before its bound and notes when its first logits were there."""

    first = 0.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._ends = frozenset()

    def _forward(self, *args: Any, **options: Any) -> torch.Tensor:
        found = super()._forward(*args, **options)
        if not self.first:
            self.first = _now()
        return found


def ours(engine: TimedEngine, prompts: Sequence[str], mixtures: Callable[[], Sequence[Weighing]]) -> Way:
    """Our engine; `mixtures` may differ from call to call."""

    def run() -> Timed:
        chosen = mixtures()
        engine.first, began = 0.0, _now()
        engine.generate(prompts, chosen, NEW_TOKENS, stop="")
        return Timed(engine.first - began, (_now() - engine.first) / (NEW_TOKENS - 1))

    return run


def bare(engine: TimedEngine, prompts: Sequence[str]) -> Way:
    """Our loop with no adapter at all."""
    return ours(engine, prompts, lambda: [()] * len(prompts))


def plain(engine: TimedEngine, prompts: Sequence[str], folders: Sequence[Path]) -> Way:
    """Our loop with gather and bmm in a forward hook, an adapter a row, all gathered before the clock starts."""
    hooks = _plain_hooks(engine, folders)
    run = bare(engine, prompts)

    def hooked() -> Timed:
        with _hooked(engine.model, hooks):
            return run()

    return hooked


def rates(own: Sequence[Timed], bases: Sequence[Timed], tokens: int, rows: int) -> dict[str, float]:
    """Tokens a second, and the share of the base's speed in the same turn; medians over the turns.

    Args:
        own, bases: turn by turn; turns that only the base took part in come last. tokens: of all prompts together.
    """
    return {
        "prefill_tokens_s": round(tokens / median([t.prefill for t in own]), 1),
        "decode_tokens_s": round(rows / median([t.step for t in own]), 1),
        "prefill_share": round(median([b.prefill / t.prefill for b, t in zip(bases, own, strict=False)]), 3),
        "decode_share": round(median([b.step / t.step for b, t in zip(bases, own, strict=False)]), 3),
    }


def library(model: Any, tokenizer: Any, prompts: Sequence[str], names: Sequence[str] | None = None) -> Way:
    """The model library's `generate`; with `names`, PEFT's mixed batch."""
    batch = _batch(tokenizer, prompts, model.device)
    extra = {} if names is None else {"adapter_names": list(names)}
    return lambda: _generate(model, batch, extra)


def grouped(model: Any, tokenizer: Any, prompts: Sequence[str], names: Sequence[str]) -> Way:
    """PEFT one adapter at a time: `set_adapter`, then `generate` for the rows that want it."""
    rows = {name: [prompts[i] for i, own in enumerate(names) if own == name] for name in dict.fromkeys(names)}
    batches = {name: _batch(tokenizer, own, model.device) for name, own in rows.items()}

    def run() -> Timed:
        prefill = step = 0.0
        for name, batch in batches.items():
            began = _now()
            model.set_adapter(name)
            switched = _now() - began
            timed = _generate(model, batch, {})
            prefill, step = prefill + timed.prefill + switched, step + timed.step
        return Timed(prefill, step)

    return run


def peft_model(base: Path, engine: Engine, folders: Sequence[Path]) -> Any:
    """The base with all adapters loaded by PEFT, in the engine's dtype, named by their folders."""
    from peft import PeftModel

    options = {"autocast_adapter_dtype": False}  # PEFT's default makes adapters fp32, which would be slower
    model = PeftModel.from_pretrained(load_plain(base, engine), folders[0], adapter_name=folders[0].name, **options)
    for folder in folders[1:]:
        model.load_adapter(folder, adapter_name=folder.name, **options)
    return model.eval()


def load_plain(base: Path, engine: Engine) -> Any:
    """The base as the model library loads it, in the engine's dtype."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, engine.dtype)).to(engine.device).eval()


def _generate(model: Any, batch: Any, extra: dict[str, Any]) -> Timed:
    seen: list[float] = []

    def note(ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
        seen.append(_now())
        return ids.new_zeros(len(ids), dtype=torch.bool)

    began = _now()
    with torch.inference_mode():
        model.generate(
            **batch,
            **extra,
            max_new_tokens=NEW_TOKENS,
            min_new_tokens=NEW_TOKENS,
            do_sample=False,
            stopping_criteria=[note],
        )
    return Timed(seen[0] - began, (seen[-1] - seen[0]) / (len(seen) - 1))


def _batch(tokenizer: Any, prompts: Sequence[str], device: Any) -> Any:
    return tokenizer(list(prompts), return_tensors="pt", padding=True, padding_side="left").to(device)


def _plain_hooks(engine: Engine, folders: Sequence[Path]) -> dict[str, Callable[..., torch.Tensor]]:
    adapters = [read_adapter(folder).modules for folder in folders]

    def placed(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.stack(list(tensors)).to(engine.device, getattr(torch, engine.dtype)).contiguous()

    def hook_at(name: str) -> Callable[..., torch.Tensor]:
        a = placed([adapter[name].a for adapter in adapters])
        b = placed([adapter[name].b.T * adapter[name].scaling for adapter in adapters])

        def hook(_: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> torch.Tensor:
            return torch.baddbmm(output, torch.bmm(inputs[0], a.transpose(1, 2)), b)

        return hook

    return {name: hook_at(name) for name in adapters[0]}


@contextmanager
def _hooked(model: nn.Module, hooks: dict[str, Callable[..., torch.Tensor]]) -> Iterator[None]:
    handles = [model.get_submodule(name).register_forward_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def adapter_bytes(model: nn.Module, kind: Kind, dtype: torch.dtype) -> int:
    """What one adapter of a kind takes in memory."""
    return kind.numbers(model) * dtype.itemsize
