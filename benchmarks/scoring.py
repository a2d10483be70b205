"""Evaluations a second on the demo pool: ours against PEFT switching adapters, and against the bare base.

    python -m benchmarks.scoring [--adapters 8] [--repeats 3] [--examples 4] [--json OUT]

All cases answer the same prompts with the same dtype, batch size and bound on new tokens, in one process and in
turn. "base" is the plain model in our loop; it seldom ends an answer early, so adapters that do can pass it. "peft"
loads all adapters, calls set_adapter a group and the model library's generate; its rows end at end-of-text alone,
as its stop strings cost more than they save here.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from flows.demo.base import export_base
from flows.demo.world import POOL, demo_tasks
from lorauter.engine import MAX_ROWS, Engine
from lorauter.routing import Route

NEW_TOKENS = 8


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument("--examples", type=int, default=4, help="examples of every task for every adapter")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(export_base(Path(scratch) / "base"), args.adapters, args.examples, args.repeats)
    print(f"{'case':<8}{'evaluations/s':>15}{'of base':>10}")
    for case, rate in figures["evaluations_per_second"].items():
        print(f"{case:<8}{rate:>15.1f}{rate / figures['evaluations_per_second']['base']:>10.2f}")
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(base: Path, adapters: int, examples: int, repeats: int) -> dict[str, Any]:
    """Median rates of each case over interleaved repeats."""
    folders = _plain_adapters()[:adapters]
    prompts = [t.prompt(e.input) for t in demo_tasks(False) for e in t.validation[:examples]]
    engine = Engine(base, find_adapter=Path)
    peft = _peft(base, folders, engine)
    cases: dict[str, Callable[[], None]] = {
        "base": lambda: _ours(engine, prompts * len(folders), [()] * len(folders) * len(prompts)),
        "ours": lambda: _ours(engine, prompts * len(folders), [((str(f), 1.0),) for f in folders for _ in prompts]),
        "peft": lambda: peft(prompts),
    }
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, run in cases.items():
            began = time.monotonic()
            run()
            if turn:  # the first turn warms up
                seconds[name].append(time.monotonic() - began)
    rows = len(prompts) * len(folders)
    rates = {name: rows / sorted(times)[len(times) // 2] for name, times in seconds.items()}
    return {
        "evaluations_per_second": {name: round(rate, 2) for name, rate in rates.items()},
        "rows": rows,
        "adapters": len(folders),
        "dtype": engine.dtype,
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads",
    }


def _plain_adapters() -> list[Path]:
    """Root-level LoRA adapters of the pool without DoRA, which PEFT's loop serves as we do."""
    configs = sorted((POOL / "hub").glob("*/*/adapter_config.json"))
    return [path.parent for path in configs if not json.loads(path.read_text()).get("use_dora")]


def _ours(engine: Engine, prompts: Sequence[str], mixtures: Sequence[Any]) -> None:
    engine.answer(prompts, [Route(mixture) for mixture in mixtures], NEW_TOKENS)


def _peft(base: Path, folders: Sequence[Path], engine: Engine) -> Callable[[Sequence[str]], None]:
    """PEFT as people use it: all adapters loaded, one switched on at a time, the model library's own generate."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, engine.dtype)).eval()
    model: Any = None
    for folder in folders:
        if model is None:
            model = PeftModel.from_pretrained(plain, folder, adapter_name=folder.name)
        else:
            model.load_adapter(folder, adapter_name=folder.name)

    def run(prompts: Sequence[str]) -> None:
        ordered = sorted(prompts, key=len)
        for folder in folders:
            model.set_adapter(folder.name)
            for start in range(0, len(ordered), MAX_ROWS):
                batch = tokenizer(ordered[start : start + MAX_ROWS], return_tensors="pt", padding=True)
                with torch.inference_mode():
                    model.generate(
                        **batch,
                        max_new_tokens=NEW_TOKENS,
                        do_sample=False,
                        pad_token_id=tokenizer.pad_token_id,
                    )

    return run


if __name__ == "__main__":
    main()
