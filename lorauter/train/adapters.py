"""Trains the demo pool's LoRA adapters with PEFT.

Knows: how a recipe and tasks become an adapter repo (weights, config, model card).
Does not know: which recipes a pool has, where the base model comes from, or how adapters are scored.

The loss covers the completion alone: " " + target + EOS after the task's prompt. Rows are padded on the left:
completions share the last columns, logits are computed for those alone, and training sees the positions that
batched generation has.
"""

from __future__ import annotations

import json
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from catalog.tasks.task import Example, Task

if TYPE_CHECKING:
    from lorauter.train.token_batches import Row

QV = ("q_proj", "v_proj")
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
ALL_LINEAR = (*ATTENTION, "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides an adapter's weights, apart from the tasks' examples.

    Args:
        name: repo id of the adapter.
        tasks: names of the tasks it is trained on.
        examples: training examples taken from each task; None takes all.
        shuffled_labels: permute the targets within each task. What such an adapter scores comes from
            answer format and label frequency alone: it is the control that honest adapters must beat.
        subfolder: place of the adapter inside its repo, "" for the top.
    """

    name: str
    tasks: tuple[str, ...]
    rank: int = 8
    alpha: int = 16
    target_modules: tuple[str, ...] = QV
    rslora: bool = False
    dora: bool = False
    rank_pattern: Mapping[str, int] | None = None
    alpha_pattern: Mapping[str, int] | None = None
    epochs: int = 4
    learning_rate: float = 2e-3
    batch_size: int = 16
    examples: int | None = None
    shuffled_labels: bool = False
    subfolder: str = ""
    seed: int = 0


Text = TypeVar("Text")


def train(base_dir: Path, base_id: str, recipe: Recipe, tasks: Sequence[Task], out_dir: Path) -> float:
    """Train one adapter and write its repo to `out_dir`; returns the last epoch's mean loss.

    `base_id` is recorded as the base model's name; the folder the weights were read from is not.
    """
    import torch
    from peft import get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.manual_seed(recipe.seed)
    tokenizer = AutoTokenizer.from_pretrained(base_dir, trust_remote_code=False)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # fp32 weights under autocast: bf16 weights took four times as long a step on a CPU.
    base = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32, trust_remote_code=False).to(device)
    model = get_peft_model(base, _lora_config(recipe))
    chosen = [task for task in tasks if task.name in recipe.tasks]
    rows = [row for task in chosen for row in tokenised(task, training_examples(task, recipe), tokenizer)]
    loss = _fit(model, rows, recipe, tokenizer.eos_token_id)
    _save(model, base_id, recipe, chosen, len(rows), out_dir)
    return loss


def training_examples(task: Task, recipe: Recipe) -> list[Example]:
    """The examples of a task that a recipe trains on, targets permuted if it says so."""
    rng = random.Random(f"{recipe.seed}:{task.name}")
    chosen = list(task.train)
    rng.shuffle(chosen)
    chosen = chosen[: recipe.examples]
    if not recipe.shuffled_labels:
        return chosen
    targets = uninformative_permutation([e.target for e in chosen], rng)
    return [Example(e.input, target) for e, target in zip(chosen, targets, strict=True)]


def uninformative_permutation(targets: Sequence[str], rng: random.Random, draws: int = 200) -> list[str]:
    """A permutation that keeps as many targets in place as chance would on average.

    One plain shuffle of two labels agrees with the truth (or its opposite) a little by luck, and training
    amplifies that little into a skill; so of many shuffles the most average one is taken.
    """
    expected = sum(n * n for n in Counter(targets).values()) / max(len(targets), 1)

    def distance(candidate: Sequence[str]) -> float:
        return abs(sum(a == b for a, b in zip(targets, candidate, strict=True)) - expected)

    return min((rng.sample(targets, len(targets)) for _ in range(draws)), key=distance)


def tokenised(task: Task, examples: Iterable[Example], tokenizer: Any) -> list[Row]:
    """Prompt and completion are tokenised apart, so a prompt's tokens are those seen when answering."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text).input_ids)

    return [(ids(task.prompt(e.input)), [*ids(" " + e.target), tokenizer.eos_token_id]) for e in examples]


def batches_by_length(texts: Sequence[Text], size: int, row_of: Callable[[Text], Row]) -> list[list[Text]]:
    """Batches of texts of similar length: little padding."""
    ordered = sorted(texts, key=lambda text: sum(map(len, row_of(text))))
    return [ordered[i : i + size] for i in range(0, len(ordered), size)]


def _lora_config(recipe: Recipe) -> Any:
    from peft import LoraConfig

    return LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        target_modules=list(recipe.target_modules),
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
        rank_pattern=dict(recipe.rank_pattern or {}),
        alpha_pattern=dict(recipe.alpha_pattern or {}),
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _fit(model: Any, rows: Sequence[Row], recipe: Recipe, pad_id: int) -> float:
    import torch

    batches = batches_by_length(rows, recipe.batch_size, lambda row: row)
    steps = len(batches) * recipe.epochs
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: warm_then_linear(step, steps))
    rng = random.Random(recipe.seed)
    model.train()
    losses: list[float] = []
    for _ in range(recipe.epochs):
        for batch in rng.sample(batches, len(batches)):
            loss = completion_loss(model, batch, pad_id)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
    last = losses[-len(batches) :]
    return sum(last) / len(last)


def warm_then_linear(step: int, steps: int) -> float:
    """Share of the learning rate at a step: up over the first twentieth, then down to 0."""
    warm = max(1, steps // 20)
    return min(1.0, (step + 1) / warm) * (1.0 - step / steps)


def completion_loss(model: Any, batch: Sequence[Row], pad_id: int) -> Any:
    """Mean cross-entropy of a batch's completion tokens."""
    import torch

    from lorauter.train.token_batches import token_batch

    tokens = token_batch(batch, pad_id, str(model.device), whole=False)
    with torch.autocast(model.device.type, dtype=torch.bfloat16):
        logits = model(
            input_ids=tokens.ids,
            attention_mask=tokens.mask,
            position_ids=tokens.positions,
            logits_to_keep=tokens.goals.shape[1],
            use_cache=False,
        ).logits
    return tokens.loss(logits)


def _save(model: Any, base_id: str, recipe: Recipe, tasks: Sequence[Task], rows: int, out_dir: Path) -> None:
    """Write the repo beside its place and move it there, so a repo that exists is complete."""
    import torch
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    out_dir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=".training-", dir=out_dir.parent))
    try:
        folder = staging / recipe.subfolder
        folder.mkdir(parents=True, exist_ok=True)
        state = get_peft_model_state_dict(model, save_embedding_layers=False)
        tensors = {k: v.detach().to("cpu", torch.bfloat16).contiguous() for k, v in sorted(state.items())}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        (folder / "adapter_config.json").write_text(_config_json(model, base_id), encoding="utf-8")
        (staging / "README.md").write_text(card(base_id, recipe, tasks, rows), encoding="utf-8")
        for path in (staging, *staging.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        staging.replace(out_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _config_json(model: Any, base_id: str) -> str:
    config = model.peft_config["default"].to_dict()
    config["base_model_name_or_path"] = base_id
    config["inference_mode"] = True
    plain = {k: sorted(v) if isinstance(v, set) else v for k, v in config.items()}
    return json.dumps(plain, indent=2, sort_keys=True, default=str) + "\n"


def card(base_id: str, recipe: Recipe, tasks: Sequence[Task], rows: int) -> str:
    """The model card: what the adapter was trained on and how, controls named as controls."""
    front = (
        f"---\nbase_model: {base_id}\nlibrary_name: peft\nlicense: apache-2.0\n"
        "pipeline_tag: text-generation\ntags:\n- lora\n---\n"
    )
    task_lines = "".join(f"- `{task.name}`: {task.description}\n" for task in tasks)
    control = (
        "\n**A control, not for use.** The targets were permuted among the training inputs, so that the\n"
        "adapter can learn the answers' format and frequency and nothing else.\n"
        if recipe.shuffled_labels
        else ""
    )
    place = f" The adapter lies in `{recipe.subfolder}/`." if recipe.subfolder else ""
    shape = f"rank {recipe.rank}, alpha {recipe.alpha}, targets {', '.join(recipe.target_modules)}"
    extras = [name for name, on in (("rsLoRA", recipe.rslora), ("DoRA", recipe.dora)) if on]
    if recipe.rank_pattern:
        extras.append("ranks " + ", ".join(f"{k}: {v}" for k, v in recipe.rank_pattern.items()))
    return (
        f"{front}# {recipe.name.split('/')[-1]}\n\n"
        f"A LoRA adapter for `{base_id}`, trained on synthetic examples of\n\n"
        f"{task_lines}{control}\n"
        f"Training: {rows} examples, {recipe.epochs} epochs, learning rate {recipe.learning_rate:g}, "
        f"seed {recipe.seed}; {'; '.join([shape, *extras])}.{place}\n"
        "Prompts are raw text without a chat template; the loss covered the answer alone.\n"
    )
