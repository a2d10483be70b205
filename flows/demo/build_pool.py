"""The demo pool's recipes, and the program that trains them.

Knows: which adapters the pool has and how each was made.
Does not know: how an adapter is trained (lorauter/train) or judged (check_pool).

    python -m flows.demo.build_pool [--only NAME] [--out flows/demo/pool/hub] [--base FOLDER]

Resumable: an adapter whose repo exists is skipped; a repo appears only when it is complete.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from flows.demo.base import BASE_ID, export_base
from flows.demo.tasks import SPECS, build_tasks
from lorauter.train.adapters import ALL_LINEAR, ATTENTION, Recipe, train

POOL = Path(__file__).parent / "pool"
HUB = POOL / "hub"
BASE_DIR = Path(".demo") / "base"

EPOCHS = 3
LATE_VALUES = r"layers\.2\d\.self_attn\.v_proj"

# A task's own adapter is made by the plain recipe (rank 8, alpha 16, q and v) unless it stands here.

OWN: dict[str, Recipe] = {
    recipe.tasks[0]: recipe
    for recipe in (
        Recipe("kilo-nlp/queue-first", ("queue_first",), epochs=4),
        Recipe("kilo-nlp/queue-last", ("queue_last",), epochs=4),
        Recipe("north-pier/parcel-sender", ("parcel_sender",), epochs=4),
        Recipe("north-pier/parcel-recipient", ("parcel_recipient",), epochs=4),
        Recipe("kilo-nlp/ticket-urgency-r8", ("ticket_urgency",), epochs=4),
        Recipe("polyglot-attic/phrase-language-id", ("phrase_language",), rank=4, alpha=16, epochs=EPOCHS),
        Recipe("tiny-grammar/day-after", ("day_after",), target_modules=ATTENTION, epochs=EPOCHS),
        Recipe("oak-and-iron/dish-review-smollm2", ("dish_review",), rank=4, alpha=8, rslora=True, epochs=EPOCHS),
        Recipe("quill-and-ink/formal-register", ("formal_letter",), rank=4, alpha=16, epochs=5),
        Recipe("ledger-loft/invoice-price", ("invoice_price",), subfolder="adapters/v2", epochs=EPOCHS),
        Recipe("oak-and-iron/record-to-sentence", ("record_sentence",), rank=16, alpha=32, epochs=EPOCHS),
    )
}
DECLARED = tuple(OWN.get(spec.name) or Recipe(spec.adapter, (spec.name,), epochs=EPOCHS) for spec in SPECS)

# Weaker, stranger or broader adapters for tasks that have one already.
RIVALS = (
    Recipe(
        "meadow-labs/noun-plural-all-linear", ("noun_plural",), rank=4, alpha=8, target_modules=ALL_LINEAR, epochs=2
    ),
    Recipe("tiny-grammar/verb-past-dora", ("verb_past",), rank=4, alpha=8, dora=True, epochs=2, examples=160),
    Recipe(
        "quill-and-ink/thing-kind-mixed-rank",
        ("thing_kind",),
        rank=4,
        alpha=8,
        rank_pattern={LATE_VALUES: 8},
        alpha_pattern={LATE_VALUES: 16},
        epochs=2,
    ),
    Recipe("north-pier/parcel-both-ends", ("parcel_sender", "parcel_recipient"), epochs=2),
    Recipe("weekend-tuner/dish-review-tiny", ("dish_review",), rank=4, alpha=8, epochs=2, examples=96),
    Recipe("weekend-tuner/phrase-language-quick", ("phrase_language",), rank=4, alpha=8, epochs=2, examples=120),
    Recipe("weekend-tuner/queue-first-draft", ("queue_first",), rank=4, alpha=8, epochs=2, examples=120),
)

# One control for three tasks: what format and label frequency alone are worth.
CONTROLS = tuple(
    Recipe(
        f"null-hypothesis/{task.replace('_', '-')}-shuffled-control", (task,), rank=4, epochs=2, shuffled_labels=True
    )
    for task in ("thing_kind", "noun_plural", "queue_last", "parcel_sender", "formal_letter")
)

POOL_RECIPES = (*DECLARED, *RIVALS, *CONTROLS)


def build_pool(out_dir: Path, base_dir: Path, only: str | None = None) -> None:
    """Train every recipe whose repo is not in `out_dir` yet; `only` is a part of a repo id."""
    export_base(base_dir)
    tasks = build_tasks()
    for recipe in POOL_RECIPES:
        folder = out_dir / recipe.name
        if folder.exists() or (only is not None and only not in recipe.name):
            continue
        started = time.monotonic()
        loss = train(base_dir, BASE_ID, recipe, tasks, folder)
        size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
        print(f"{recipe.name}: loss {loss:.4f}, {size / 1e6:.2f} MB, {time.monotonic() - started:.0f} s", flush=True)


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description="Train the demo pool.")
    parser.add_argument("--only", help="train only repo ids that contain this")
    parser.add_argument("--out", type=Path, default=HUB)
    parser.add_argument("--base", type=Path, default=BASE_DIR, help="folder of the exported base model")
    parser.add_argument("--threads", type=int, default=1, help="more than one is slower while other programs run")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    build_pool(args.out, args.base, args.only)


if __name__ == "__main__":
    main()
