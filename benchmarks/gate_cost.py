"""What gates cost beside a mixture: seconds of a batch with trained gates, as shares of a plain mixture's.

    python -m benchmarks.gate_cost [--device cuda] [--repeats 7] [--json OUT]

32 rows of the demo's prompts, 17 tokens each, a pool of 63 random adapters (benchmarks/infer_adapters), q/v of rank 8
and all linear modules of rank 16. Trained states are random ones, which cost what trained ones cost:

- base                 no adapter.
- mixture of 3         three weighted adapters a row, other ones in every row: what the others are held against.
- ramole of 3          the same candidates, weighed by RAMoLE's gate.
- lora_flow of 3       the same, by LoRA-Flow's gates of eight tasks.
- meteora of 3         the same, by MeteoRA's gate, each row with three candidates of its own.
- meteora of 63        all candidates in every row.
- arrow of 63          likewise, without training.

A ratio is a case's time over the mixture's within a turn, where cases lie seconds apart; the median over the turns
counts, beside the lowest and the highest. The first turn, in which everything is new, does not count. The target is
1.5 for three candidates a row.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from benchmarks.infer import WEIGHTS, near_prompts
from benchmarks.infer_adapters import ALL16, QV8, Kind, write_adapters
from benchmarks.infer_ways import NEW_TOKENS, Timed, TimedEngine, Way, ours
from benchmarks.turns import conditions, in_turn, median
from flows.demo.base import export_base
from lorauter.gates.arrow import ArrowGate
from lorauter.gates.blocks import block_of
from lorauter.gates.lora_flow import LoraFlowGate, bias_name, start_of, weight_name
from lorauter.gates.meteora import MeteoraGate
from lorauter.gates.protocol import Weighing
from lorauter.gates.ramole import RamoleGate, key_name, query_name
from lorauter.gates.row_gates import OwnGate
from lorauter.gates.singular_rows import singular_rows_of

POOL, OWN, TASKS, RANK = 63, len(WEIGHTS), 8, 8
MIXTURE, TARGET = "mixture of 3", 1.5


def main() -> None:
    """Measure, print, and say which ratios miss the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        base = export_base(Path(scratch) / "base")
        for kind in (QV8, ALL16):
            engine = TimedEngine(base, device=args.device, capacity=POOL + 1, find_adapter=Path)
            figures.setdefault("conditions", conditions(engine))
            folders = write_adapters(Path(scratch) / kind.name.replace("/", ""), engine.model, kind, POOL)
            figures[kind.name] = measure(engine, kind, [str(folder) for folder in folders], args.repeats)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(engine: TimedEngine, kind: Kind, keys: Sequence[str], repeats: int) -> dict[str, Any]:
    """Ratios of one kind of adapters, printed as they come."""
    prompts = near_prompts(engine)
    engine.bank.ensure(keys, Path)
    cases: dict[str, Way] = {
        name: ours(engine, prompts, lambda rows=rows: rows)  # type: ignore[misc]
        for name, rows in _cases(engine, kind, keys, len(prompts)).items()
    }
    timed: dict[str, list[Timed]] = {name: [] for name in cases}
    for turn in range(repeats + 1):
        for name, way in in_turn(cases, turn):
            took = way()
            if turn:
                timed[name].append(took)
    found = {name: _ratios(own, timed[MIXTURE]) for name, own in timed.items()}
    print(f"{kind.name}, {len(keys)} adapters, {len(prompts)} rows")
    for name, ratio in found.items():
        missed = "  above the target" if name.endswith("of 3") and ratio["whole"][1] > TARGET else ""
        told = ", ".join(f"{part} {low:.2f} {middle:.2f} {high:.2f}" for part, (low, middle, high) in ratio.items())
        print(f"  {name:<16}{told}{missed}")
    return found


def _ratios(own: Sequence[Timed], mixture: Sequence[Timed]) -> dict[str, tuple[float, float, float]]:
    """Lowest, median and highest ratio to the mixture's time of the same turn."""
    parts: dict[str, Callable[[Timed], float]] = {
        "whole": lambda t: t.prefill + (NEW_TOKENS - 1) * t.step,
        "prefill": lambda t: t.prefill,
        "step": lambda t: t.step,
    }
    found = {}
    for name, part in parts.items():
        ratios = [part(one) / part(other) for one, other in zip(own, mixture, strict=True)]
        found[name] = (round(min(ratios), 3), round(median(ratios), 3), round(max(ratios), 3))
    return found


def _cases(engine: TimedEngine, kind: Kind, keys: Sequence[str], rows: int) -> dict[str, list[Weighing]]:
    """By case, what weighs each row."""
    sizes = {name: (m.in_features, m.out_features) for name, m in kind.modules(engine.model).items()}
    own = [tuple(keys[(OWN * row + n) % len(keys)] for n in range(OWN)) for row in range(rows)]
    meteora = MeteoraGate({name: _drawn(len(keys), d_in) for name, (d_in, _) in sizes.items()}, keys)
    factors = {query_name(name): _drawn(RANK, d_in) for name, (d_in, _) in sizes.items()}
    factors |= {key_name(name): _drawn(d_out, RANK) for name, (_, d_out) in sizes.items()}
    ramole, flow = RamoleGate(factors, engine.weights_of), _flow(engine, sizes, own)
    arrow = ArrowGate(keys, singular_rows_of(engine.weights_of))
    return {
        "base": [()] * rows,
        MIXTURE: [tuple(zip(chosen, WEIGHTS, strict=True)) for chosen in own],
        "ramole of 3": [OwnGate(ramole, chosen) for chosen in own],
        "lora_flow of 3": [OwnGate(flow, own[row % TASKS], str(row % TASKS)) for row in range(rows)],
        "meteora of 3": [OwnGate(meteora, chosen) for chosen in own],
        "meteora of 63": [OwnGate(meteora, tuple(keys))] * rows,
        "arrow of 63": [arrow] * rows,
    }


def _flow(engine: TimedEngine, modules: Sequence[str] | dict[str, Any], own: Sequence[tuple[str, ...]]) -> LoraFlowGate:
    width, blocks = engine.model.config.hidden_size, list(dict.fromkeys(map(block_of, modules)))
    tensors: dict[str, torch.Tensor] = {}
    for task in map(str, range(TASKS)):
        for block in blocks:
            tensors |= {weight_name(task, block): _drawn(OWN, width), bias_name(task, block): start_of(OWN)}
    return LoraFlowGate(tensors, {str(task): own[task] for task in range(TASKS)})


def _drawn(*shape: int) -> torch.Tensor:
    drawn: torch.Tensor = torch.randn(*shape) / shape[-1] ** 0.5
    return drawn


if __name__ == "__main__":
    main()
