"""LORAUTER's constants one at a time: K, τ, how many validation inputs a task, which encoder.

    python -m benchmarks.sweeps --home HOME [--router lorauter] [--items N] [--json OUT]

HOME is one with a published snapshot and tasks with test items; answers are kept in its ledger, so a second run makes
none. Each line changes one constant and leaves the others as published (K 3, τ 0.2, all inputs, the snapshot's
encoder). Encoders beside the snapshot's: the base model itself, its last layer's states averaged over the tokens, and
nothing but the length of a text, a control. Choosing by these figures would be choosing on the test items: they show
how much a constant matters.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from flows.evaluate.evaluate import Alter, EvaluateOptions
from flows.evaluate.figures import report_of
from flows.home.home import Home, open_home
from flows.home.parts import model_folder
from flows.stages import evaluate
from lorauter.evaluation.settings import SETTINGS
from lorauter.routers import RouterParts
from lorauter.routing.encoder import Encoder
from lorauter.routing.task_index import TaskInputs

TOP_K = (1, 2, 3, 5, 100)
TEMPERATURES = (0.05, 0.1, 0.2, 0.5, 1.0)
SIZES = (2, 5, 10, 20)
Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Point:
    """One line of a sweep. `altered`: see `flows.evaluate.evaluate`."""

    sweep: str
    value: str
    routing: dict[str, Any] = field(default_factory=dict)
    altered: Alter | None = None


def points(home: Home) -> Iterator[Point]:
    """Every line."""
    for k in TOP_K:
        yield Point("K", "all" if k == TOP_K[-1] else str(k), {"top_k": k})
    for temperature in TEMPERATURES:
        yield Point("temperature", str(temperature), {"temperature": temperature})
    for size in SIZES:
        yield Point("inputs", str(size), altered=lambda parts, size=size: with_inputs(parts, size))  # type: ignore[misc]
    yield Point("encoder", "snapshot's")
    yield Point("encoder", "base model", altered=lambda parts: with_encoder(parts, lambda: base_encoder(home, parts)))
    yield Point("encoder", "length", altered=lambda parts: with_encoder(parts, Length))


def with_inputs(parts: RouterParts, size: int) -> RouterParts:
    """The parts with the first `size` validation inputs of each task."""
    inputs = parts.inputs()
    kept = np.concatenate([np.flatnonzero(inputs.owners == task)[:size] for task in range(len(parts.index.tasks))])
    fewer = TaskInputs(tuple(inputs.texts[row] for row in kept.tolist()), inputs.owners[kept], inputs.embeddings[kept])
    return _with(parts, fewer)


def with_encoder(parts: RouterParts, encoder: Callable[[], Any]) -> RouterParts:
    """The parts with all validation inputs embedded by another encoder, and queries too."""
    loaded, inputs = cache(encoder), parts.inputs()
    other = replace(inputs, embeddings=loaded().encode(inputs.texts))
    return replace(_with(parts, other), encoder=loaded)


def _with(parts: RouterParts, inputs: TaskInputs) -> RouterParts:
    means = np.stack([inputs.embeddings[inputs.owners == task].mean(axis=0) for task in range(len(parts.index.tasks))])
    return replace(parts, index=replace(parts.index, embeddings=means), inputs=lambda: inputs, fits={})


def base_encoder(home: Home, parts: RouterParts) -> Encoder:
    """The base model as a sentence encoder, written beside the home's embeddings once."""
    folder = home.root / "embeddings" / "base-model"
    if not (folder / "modules.json").exists():
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer import modules

        source = str(model_folder(home, parts.index.base, parts.index.base_sha))
        states = modules.Transformer(source, max_seq_length=256)
        states.tokenizer.pad_token = states.tokenizer.pad_token or states.tokenizer.eos_token
        pooled = modules.Pooling(states.get_embedding_dimension(), "mean")
        SentenceTransformer(modules=[states, pooled], device="cpu").save(str(folder))
    return Encoder(folder, device="cpu")


class Length:
    """Embeds how long a text is: on a quarter of a circle, as long as 1,000 characters or more at its end."""

    path, prompt, hash = Path(), "", "length"

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32 (n, 2)."""
        angles = np.asarray([min(len(text) / 1000, 1.0) * np.pi / 2 for text in texts])
        return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def swept(home: Home, router: str, items: int | None) -> Iterator[dict[str, Any]]:
    """A line's score and share of the oracle by setting."""
    for point in points(home):
        opened = open_home(home=home.root, routing=point.routing)
        options = EvaluateOptions((router,), settings=SETTINGS, items=items)
        report = asdict(report_of(evaluate(opened, options, point.altered)))
        found = {s["setting"]: s for s in report["systems"] if s["router"] == router}
        yield {
            "sweep": point.sweep,
            "value": point.value,
            **{name: {"score": s["average"], "share": s["share"]} for name, s in found.items()},
        }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--router", default="lorauter")
    parser.add_argument("--items", type=int)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    home, lines = open_home(home=args.home), []
    print(f"{'':24}" + "".join(f"{setting:>26}" for setting in SETTINGS))
    for line in swept(home, args.router, args.items):
        cells = [f"{line[s]['score']['value']:.3f} ({100 * line[s]['share']['value']:.1f}%)" for s in SETTINGS]
        print(f"{line['sweep']:12}{line['value']:12}" + "".join(f"{cell:>26}" for cell in cells), flush=True)
        lines.append(line)
    if args.json:
        args.json.write_text(json.dumps({"router": args.router, "items": args.items, "lines": lines}, indent=2) + "\n")


if __name__ == "__main__":
    main()
