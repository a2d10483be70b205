"""What embedding queries costs: sentence-transformers in float32 as people use it, and the encoder's own ways.

    python -m benchmarks.embed_cost [--texts FILE]… [--rows N] [--repeats N] [--encoder DIR] [--json OUT]

Texts are the validation inputs of the demo's tasks, and of files whose lines hold inputs or input. Ways take turns in
one process and the best of the repeats counts, so `ratio`, to sentence-transformers' default of 32 texts a batch, holds
on a machine that does other things besides; texts a second hold on a quiet one only. cosine is to those vectors.
Threads are torch's: set OMP_NUM_THREADS.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.routing import _texts, packaged_encoder
from lorauter.routing.encoder import Encoder, Vectors

DEMO = Path(__file__).parent.parent / "flows/demo/pool/tasks"
Embed = Callable[[Sequence[str]], Vectors]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=Path, action="append", default=[])
    parser.add_argument("--rows", type=int, default=256, help="texts of each file, evenly spaced")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--encoder", type=Path, help="folder of a sentence-transformers model")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    folder = args.encoder or packaged_encoder()
    ways = open_ways(folder)
    found = []
    print(f"{'texts':24}{'tokens':>8}  {'way':24}{'texts/s':>9}{'ratio':>8}{'cosine: least':>15}{'mean':>10}")
    for name, texts in _sources(args.texts):
        spaced = texts[:: max(1, len(texts) // args.rows)][: args.rows]
        tokens = _mean_tokens(folder, spaced)
        for row in measure(ways, spaced, args.repeats):
            found.append({"texts": name, "rows": len(spaced), "mean_tokens": tokens, **row})
            print(
                f"{name:24}{tokens:8}  {row['way']:24}{row['texts_per_second']:9.1f}{row['ratio']:8.2f}"
                f"{row['least_cosine']:15.6f}{row['mean_cosine']:10.6f}",
                flush=True,
            )
    if args.json:
        told = {"threads": torch.get_num_threads(), "cores": "shared with other programs", "measured": found}
        args.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


def open_ways(folder: Path) -> dict[str, Embed]:
    """What is compared, by name; the first is what the others are compared with."""
    from sentence_transformers import SentenceTransformer

    plain = SentenceTransformer(str(folder), local_files_only=True)
    halved = SentenceTransformer(str(folder), local_files_only=True).bfloat16()
    return {
        "sentence-transformers": lambda texts: _unit(plain.encode(list(texts), show_progress_bar=False)),
        "the same in bfloat16": lambda texts: _unit(
            halved.encode(list(texts), show_progress_bar=False, convert_to_tensor=True).float().cpu().numpy()
        ),
        "ours, float32": Encoder(folder).encode,
        "ours, bfloat16": Encoder(folder, dtype="bfloat16").encode,
    }


def measure(ways: dict[str, Embed], texts: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """A row a way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    vectors = {}
    for _ in range(repeats):
        for name, embed in ways.items():
            began = time.perf_counter()
            vectors[name] = embed(texts)
            seconds[name].append(time.perf_counter() - began)
    first = next(iter(ways))
    cosines = {name: (found * vectors[first]).sum(axis=1, dtype=np.float64) for name, found in vectors.items()}
    return [
        {
            "way": name,
            "texts_per_second": round(len(texts) / min(seconds[name]), 1),
            "ratio": round(min(seconds[first]) / min(seconds[name]), 2),
            "least_cosine": round(float(cosines[name].min()), 6),
            "mean_cosine": round(float(cosines[name].mean()), 6),
        }
        for name in ways
    ]


def _sources(files: Sequence[Path]) -> list[tuple[str, tuple[str, ...]]]:
    demo = [text for path in sorted(DEMO.glob("*/validation.jsonl")) for text in _texts(path)]
    return [("demo", tuple(demo)), *((path.stem, _texts(path)) for path in files)]


def _mean_tokens(folder: Path, texts: Sequence[str]) -> int:
    from transformers import AutoTokenizer

    read = AutoTokenizer.from_pretrained(folder)(list(texts), truncation=True, max_length=256)["input_ids"]
    return round(float(np.mean([len(ids) for ids in read])))


def _unit(vectors: Vectors) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


if __name__ == "__main__":
    main()
