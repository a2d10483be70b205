"""Evaluations a second on the demo pool: ours against PEFT as people use it, and against the base with no adapter.

    make bench-score
    python -m benchmarks.scoring [--device cuda] [--adapters 10] [--examples 2] [--repeats 3] [--json OUT]

Every case makes the same answers' worth of tokens for the same prompts in one dtype, each adapter on each prompt:

- ours      `Engine.answer` with the product's stop rule; many adapters in a batch. It says how many tokens each
            answer took; all other cases are told, and look for no stop of their own.
- switched  (a) PEFT with all adapters loaded, `set_adapter`, and the model library's `generate`.
- loaded    (b) `PeftModel.from_pretrained`, `generate`, `unload`, an adapter at a time; the base stays loaded.
- mixed     (c) PEFT's mixed batch: `generate(adapter_names=…)`, all adapters loaded.
- base      (d) no adapter: `generate`, and our own loop, at several batch sizes; the fastest counts.

Rows go by length into batches in every case. Our loop gives a row exactly its tokens. `generate` cannot drop a row, so
it makes as many as the longest of the batch takes: the fewest with which it gives these answers.

"switched, mended" is (a) with our mend of the model library's output layer on the CPU (lorauter/engine), to show what
of our lead over (a) comes from that alone. "8 tokens" is a second run of ours and (d) where every row makes exactly 8,
so that no case gains from answers that end early. The last part holds evaluations fixed while the pool grows, and the
reverse. PEFT's mixed batch refuses DoRA, so the pool's DoRA adapter is left out of every case.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from benchmarks.pools import made_up_pool, pool_adapters
from benchmarks.turns import Run, conditions, interleaved, median
from flows.demo.base import export_base
from flows.demo.peak_memory import PeakMemory
from flows.demo.world import POOL, demo_tasks
from lorauter.engine.batches import RowSize, plan_batches
from lorauter.engine.engine import Engine
from lorauter.engine.memory_budget import Budget
from lorauter.routing.routes import Mixture, Route

TARGETS = {"base": 0.8, "switched": 1.2, "loaded": 1.5, "mixed": 1.5}
GPU_TARGETS = {"base": 0.7, "switched": 5.0}
NEW_TOKENS = 8
BATCH = 64  # rows of PEFT's cases; our own comes from the engine
POOLS = (16, 64, 256, 1024)
AMOUNTS = (256, 512, 1024)
CAPACITY = 64
ROUNDS = 2  # in the last part
NEAR_REPEATS = 2  # of ours and the base, whose ratio is near 1, for one of PEFT's cases


@dataclass(frozen=True)
class Job:
    """What is evaluated: each row's prompt, adapter, and the tokens of its answer."""

    prompts: Sequence[str]
    folders: Sequence[Path]
    tokens: Sequence[int]

    def of(self, folder: Path) -> Job:
        """One adapter's part."""
        return self.at([i for i, own in enumerate(self.folders) if own == folder])

    def at(self, rows: Sequence[int]) -> Job:
        """Some rows."""
        return Job([self.prompts[i] for i in rows], [self.folders[i] for i in rows], [self.tokens[i] for i in rows])


class CountingEngine(Engine):
    """The engine; it notes how many tokens an answer took, or with `told` gives each row just its bound."""

    told = False

    def _take(self, answer: Any, token: int, stopping: Any) -> None:
        if self.told:
            answer.tokens.append(token)
            answer.done = len(answer.tokens) >= answer.limit
        elif not answer.done:
            super()._take(answer, token, stopping)
            # An end-of-text token is computed as others are, but is no token of the answer.
            steps = len(answer.tokens) + (answer.done and token in self._ends)
            answer.text = f"{steps}" if self.counting and answer.done else answer.text

    counting = False


def main() -> None:
    """Measure, print, and say which targets are missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--adapters", type=int, default=10)
    parser.add_argument("--examples", type=int, default=2, help="examples of every task for every adapter")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", choices=("cases", "growth", "all"), default="all")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    with tempfile.TemporaryDirectory() as scratch:
        base = export_base(Path(scratch) / "base")
        engine = CountingEngine(base, device=args.device, capacity=CAPACITY, find_adapter=Path)
        figures: dict[str, Any] = {"conditions": conditions(engine)}
        if args.part != "growth":
            figures |= cases(engine, base, args.adapters, args.examples, args.repeats)
            _print_cases(figures)
        if args.part != "cases":
            figures["growth"] = growth(engine, Path(scratch))
            _print_growth(figures["growth"])
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


# -- against PEFT and the bare base -----------------------------------------------------------------


def cases(engine: CountingEngine, base: Path, adapters: int, examples: int, repeats: int) -> dict[str, Any]:
    """Median evaluations a second of every case over interleaved repeats, and ours over each."""
    folders = pool_adapters(adapters)
    prompts = [t.prompt(e.input) for t in demo_tasks(False) for e in t.validation[:examples]]
    job = _counted(engine, Job(prompts * len(folders), [f for f in folders for _ in prompts], []))
    fixed = Job(job.prompts, job.folders, [NEW_TOKENS] * len(job.prompts))
    ours: dict[str, Run] = {"ours": _answering(engine, job)}
    near: dict[str, Run] = {
        **ours,
        **{f"base, our loop, {n} rows": _bare(engine, job, n) for n in (64, 128)},
        "base, generate, 128 rows": _library(engine, job, 128),
        "ours, 8 tokens": lambda: _told(engine, fixed, adapters=True),
        **{f"base, 8 tokens, {n} rows": _bare(engine, fixed, n) for n in (64, 128)},
    }
    for run in near.values():  # the first answers of a process are slow
        run()
    close = interleaved(near, NEAR_REPEATS * repeats)
    far = interleaved(ours | _peft_cases(engine, base, job, folders), repeats)
    seconds = far | close
    rates = {name: len(job.prompts) / median(times) for name, times in seconds.items()}
    return {
        "evaluations_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "seconds": {name: [round(s, 2) for s in times] for name, times in seconds.items()},
        "ours_over": _ratios(close, far),
        "targets": TARGETS if engine.device == "cpu" else GPU_TARGETS,
        "rows": len(job.prompts),
        "adapters": len(folders),
        "tokens_of_answers": sum(job.tokens),
    }


def _ratios(close: dict[str, list[float]], far: dict[str, list[float]]) -> dict[str, float]:
    """Ours over each case: the median of the ratios within a turn. Cases of one turn lie seconds apart."""

    def over(turns: dict[str, list[float]], ours: str, name: str) -> float:
        return round(median([c / o for o, c in zip(turns[ours], turns[name], strict=True)]), 3)

    fixed = [name for name in close if name.startswith("base, 8 tokens")]
    bare = [name for name in close if name.startswith("base, ") and name not in fixed]
    return {
        "base": min(over(close, "ours", name) for name in bare),
        **{name: over(far, "ours", name) for name in far if name != "ours"},
        "base, 8 tokens": min(over(close, "ours, 8 tokens", name) for name in fixed),
    }


def _counted(engine: CountingEngine, job: Job) -> Job:
    """The job with the tokens that our answers took."""
    engine.counting = True
    counts = _ours(engine, job)
    engine.counting = False
    return Job(job.prompts, job.folders, [int(count) for count in counts])


def _ours(engine: CountingEngine, job: Job) -> list[str]:
    return engine.answer(job.prompts, [Route(((str(folder), 1.0),)) for folder in job.folders], NEW_TOKENS)


def _answering(engine: CountingEngine, job: Job) -> Run:
    def run() -> None:
        _ours(engine, job)

    return run


def _told(engine: CountingEngine, job: Job, adapters: bool, rows: int | None = None) -> None:
    """Our loop with the number of tokens given, in the batches it has when it does not know them."""
    mixtures: list[Mixture] = [((str(folder), 1.0),) if adapters else () for folder in job.folders]
    keys = [tuple(key for key, _ in mixture) for mixture in mixtures]
    lengths = engine.token_lengths(job.prompts)
    sizes = [RowSize(length, NEW_TOKENS, own) for length, own in zip(lengths, keys, strict=True)]
    budget = Budget(1 << 20, rows) if rows else engine.budget
    engine.told = True
    for batch in plan_batches(sizes, budget.tokens, budget.rows, CAPACITY):
        part = job.at(batch)
        engine.generate(part.prompts, [mixtures[i] for i in batch], part.tokens, stop="")
    engine.told = False


def _bare(engine: CountingEngine, job: Job, rows: int) -> Run:
    """The base in our loop."""
    return lambda: _told(engine, job, adapters=False, rows=rows)


def _library(engine: CountingEngine, job: Job, rows: int) -> Run:
    """The base in the model library's generate."""
    return lambda: _generate(engine.model, engine.tokenizer, job, rows)


def _peft_cases(engine: CountingEngine, base: Path, job: Job, folders: Sequence[Path]) -> dict[str, Run]:
    """PEFT's cases; each has a base of its own, loaded before the clock starts."""
    from peft import PeftModel

    plain, tokenizer = _load(base, engine), engine.tokenizer
    pool = PeftModel.from_pretrained(_load(base, engine), folders[0], adapter_name=_name(folders[0]))
    for folder in folders[1:]:
        pool.load_adapter(folder, adapter_name=_name(folder))
    parts = {folder: job.of(folder) for folder in folders}

    def switched() -> None:
        for folder in folders:
            pool.set_adapter(_name(folder))
            _generate(pool, tokenizer, parts[folder], BATCH)

    def switched_mended() -> None:
        head = pool.get_base_model().get_output_embeddings()
        hook = head.register_forward_pre_hook(lambda _, inputs: (inputs[0].contiguous(),))
        switched()
        hook.remove()

    def loaded() -> None:
        for folder in folders:
            model = PeftModel.from_pretrained(plain, folder).eval()
            _generate(model, tokenizer, parts[folder], BATCH)
            model.unload()

    def mixed() -> None:
        _generate(pool, tokenizer, job, BATCH, named=True)

    return {"switched": switched, "switched, mended": switched_mended, "loaded": loaded, "mixed": mixed}


def _generate(model: Any, tokenizer: Any, job: Job, rows: int, named: bool = False) -> None:
    """The model library's loop, rows by length; as many tokens a batch as its longest answer takes."""
    order = sorted(range(len(job.prompts)), key=lambda i: (len(tokenizer(job.prompts[i])["input_ids"]), job.tokens[i]))
    for start in range(0, len(order), rows):
        part = job.at(order[start : start + rows])
        batch = tokenizer(list(part.prompts), return_tensors="pt", padding=True, padding_side="left").to(model.device)
        names = {"adapter_names": [_name(folder) for folder in part.folders]} if named else {}
        most = max(part.tokens)
        with torch.inference_mode():
            model.generate(**batch, **names, max_new_tokens=most, min_new_tokens=most, do_sample=False)


def _load(base: Path, engine: Engine) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, engine.dtype)).to(engine.device).eval()


def _name(folder: Path) -> str:
    """A name that PEFT takes: without dots and slashes."""
    return "-".join(folder.relative_to(POOL / "hub").parts)


# -- growth -----------------------------------------------------------------------------------------


def growth(engine: CountingEngine, scratch: Path) -> dict[str, Any]:
    """Seconds, memory and adapters held while the pool grows, and while the evaluations do."""
    pool = made_up_pool(scratch / "pool", max(POOLS))
    prompts = [t.prompt(e.input) for t in demo_tasks(False) for e in t.validation]
    jobs = {f"{AMOUNTS[-1]} evaluations, {size} adapters": _spread(prompts, pool[:size], AMOUNTS[-1]) for size in POOLS}
    jobs |= {f"{n} evaluations, 64 adapters": _spread(prompts, pool[:64], n) for n in AMOUNTS[:-1]}
    memory: dict[str, float] = {}

    def timed(name: str, job: Job) -> Run:
        def run() -> None:
            gc.collect()
            with PeakMemory() as peak:
                _told(engine, job, adapters=True)
            memory[name] = max(memory.get(name, 0.0), peak.peak_mib)

        return run

    seconds = interleaved({name: timed(name, job) for name, job in jobs.items()}, ROUNDS)
    return {
        name: {"seconds": round(min(times), 2), "peak_rss_mib": round(memory[name]), "capacity": CAPACITY}
        for name, times in seconds.items()
    }


def _spread(prompts: Sequence[str], pool: Sequence[Path], rows: int) -> Job:
    """As many rows of each adapter, the same prompts whatever the pool."""
    return Job(
        [prompts[i % len(prompts)] for i in range(rows)],
        [pool[i % len(pool)] for i in range(rows)],
        [3] * rows,
    )


def _print_cases(figures: dict[str, Any]) -> None:
    print(f"{figures['rows']} evaluations of {figures['adapters']} adapters, {figures['tokens_of_answers']} tokens")
    for name, rate in figures["evaluations_per_second"].items():
        print(f"  {name:<30}{rate:>8.1f} a second", flush=True)
    for name, ratio in figures["ours_over"].items():
        target = figures["targets"].get(name)
        said = "" if target is None else f"  target {target}: {'met' if ratio >= target else 'MISSED'}"
        print(f"  ours over {name:<22}{ratio:>6.2f}{said}")


def _print_growth(figures: dict[str, Any]) -> None:
    for name, found in figures.items():
        print(f"  {name:<34}{found['seconds']:>7.1f} s  peak {found['peak_rss_mib']} MiB")


if __name__ == "__main__":
    main()
