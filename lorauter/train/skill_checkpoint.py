"""Checkpoints of skills in training: one file, whole or absent, that a stopped run goes on from.

Knows: what a run's state is, how it lies in a safetensors file. Does not know: how a step is made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from catalog.errors import SettingError
from warehouse.storage.files import write_atomically

TOLD = "lorauter"  # the header's entry
Tensors = dict[str, torch.Tensor]


@dataclass(slots=True)
class Progress:
    """How far a run has come.

    Args:
        run: hash of all that decides its result.
        step: steps made.
        best: lowest watched loss so far.
        since_best: looks since then.
        seconds: spent, earlier sittings included.
    """

    run: str
    step: int = 0
    best: float = float("inf")
    since_best: int = 0
    seconds: float = 0.0


class Checkpoint:
    """A file of what is trained, the best of it so far, and AdamW's two moments."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def save(
        self, progress: Progress, now: Mapping[str, torch.Tensor], best: Tensors, optimizer: torch.optim.Optimizer
    ) -> None:
        """Writes all of it. `now` holds the optimizer's own parameters."""
        tensors = {f"now {name}": tensor.detach() for name, tensor in now.items()}
        tensors |= {f"best {name}": tensor for name, tensor in best.items()}
        for name, tensor in now.items():
            state = optimizer.state[tensor]
            tensors |= {f"m {name}": state["exp_avg"], f"v {name}": state["exp_avg_sq"]}
        whole = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
        told = {TOLD: json.dumps(asdict(progress))}
        write_atomically(self._path, lambda part: save_file(whole, part, metadata=told))

    def load(
        self, run: str, now: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer
    ) -> tuple[Progress, Tensors]:
        """Puts a run's state back and says how far it was; a run without a checkpoint begins.

        Raises:
            SettingError: the file is damaged, or of another run.
        """
        if not self._path.exists():
            return Progress(run), {}
        told, tensors = self._read()
        progress = Progress(**told)
        if progress.run != run:
            raise SettingError(
                f"{self._path} is the checkpoint of another run: other tasks, base or settings.",
                "Delete it, or name another file.",
            )
        with torch.no_grad():
            for name, tensor in now.items():
                tensor.copy_(tensors[f"now {name}"])
                moments = {"exp_avg": f"m {name}", "exp_avg_sq": f"v {name}"}
                optimizer.state[tensor] = {
                    "step": torch.tensor(float(progress.step)),
                    **{moment: tensors[key].to(tensor.device) for moment, key in moments.items()},
                }
        return progress, {name: tensors[f"best {name}"] for name in now if f"best {name}" in tensors}

    def _read(self) -> tuple[dict[str, Any], Tensors]:
        try:
            with safe_open(self._path, framework="pt") as file:
                told = json.loads((file.metadata() or {})[TOLD])
                return told, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (no mapping)
        except (SafetensorError, KeyError, ValueError) as error:
            raise SettingError(
                f"{self._path} is no checkpoint of skills ({error}).", "Delete it, or name another file."
            ) from error
