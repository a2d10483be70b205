"""Adapters that a trained state makes, one a task: written as plain PEFT folders when first needed.

Knows: what a state of Poly or MHR holds, the folder and its card. Does not know: where states are kept, which query
goes to which task (lorauter/routers/polytropon).

A folder is named by its key, which holds the state's hash: it is made once on each machine, and is never out of date.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from catalog.errors import SettingError
from catalog.tasks.task import content_hash
from lorauter.adapters.skills import Skills, skills_of, task_adapter
from lorauter.adapters.weights import CONFIG_FILE
from lorauter.compositions.saving import save_merged
from lorauter.trained.state import ReadState, TrainedState
from lorauter.trained.task_adapters import read_task_key
from warehouse.storage.files import write_text

CARD_FILE = "README.md"
VERSION = 1  # raised when the same state would make other folders


class TaskAdapters:
    """The folders.

    Args:
        read_state: gives a trained state by its hash.
        root: where folders are made.
    """

    def __init__(self, read_state: ReadState, root: Path) -> None:
        self._root = root
        self._read = lru_cache(maxsize=2)(read_state)

    def folder(self, key: str) -> Path:
        """The folder of a key of `lorauter.trained.task_adapters.task_key`.

        Raises:
            SettingError: another key, no such state here, or one without this task.
        """
        asked = read_task_key(key)
        if asked is None:
            raise SettingError(f"{key!r} is no adapter of a trained state.", "Look for it on the hub.")
        folder = self._root / content_hash([key, VERSION], 32)
        if not (folder / CONFIG_FILE).exists():  # written last
            state = self._read(asked.sha)
            weights = task_adapter(skills_of_state(state), asked.path)
            write_text(folder / CARD_FILE, card(state, asked.path))
            save_merged(folder, weights, str(state.facts["base"]))
        return folder


def skills_of_state(state: TrainedState) -> Skills:
    """The skills that a state holds. Raises SettingError where it holds none."""
    tensors = {name: torch.from_numpy(tensor) for name, tensor in state.tensors.items()}
    outputs, scaling, base = (state.facts.get(name) for name in ("outputs", "scaling", "base"))
    if not isinstance(outputs, list) or not isinstance(scaling, int | float) or not isinstance(base, str):
        raise SettingError(
            f"The trained state of {state.router!r} names no tasks, no scaling or no base.",
            f"Train it again: lorauter fit {state.router}.",
        )
    return skills_of(tensors, [str(task) for task in outputs], float(scaling))


def card(state: TrainedState, task: str) -> str:
    """What the adapter is, and how it came about."""
    facts: Mapping[str, Any] = state.facts
    options, sources = (facts[name] if isinstance(facts.get(name), dict) else {} for name in ("options", "sources"))
    method = "MHR" if state.router == "mhr" else "Poly"
    return (
        f"---\nbase_model: {facts['base']}\nlibrary_name: peft\ntags:\n- lora\n- {state.router}\n---\n"
        f"# {task}\n\n"
        f"The adapter of the task `{task}` out of skills that {len(facts['outputs'])} tasks share ({method}, "
        f"arXiv 2211.03831): its logits weigh {options.get('skills')} skills in {options.get('heads')} heads, and "
        f"the weighed parameters were averaged before the product. It is a plain LoRA.\n\n"
        f"- base: {facts['base']} {facts.get('base_sha', '')}\n"
        f"- trained state: {state.router} {state.sha}\n"
        f"- trained on all tasks, seed {facts.get('seed')}; of this one (split, examples): {sources.get(task)}\n"
        f"- steps: {facts.get('steps')}, ended by: {facts.get('ended')}\n"
    )
