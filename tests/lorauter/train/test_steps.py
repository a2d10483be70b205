"""The loop of fits: the same bytes twice, and also where it was killed; it ends in time and by held-out examples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from catalog.errors import SettingError
from lorauter.train.fit import PATIENCE, SECONDS, STEPS
from lorauter.train.steps import CHECKPOINT, Learned, Steps, train_steps

TRUTH = torch.tensor([[1.0, -2.0, 3.0]])
HOW = Steps(steps=30, learning_rate=0.1, warm_up=3, every=5, patience=3, checkpoint_seconds=0.0)


class Killed(Exception):
    pass


def train(
    folder: Path, how: Steps = HOW, seed: int = 0, dies_at: int = -1, seconds: float = 60.0, worse_from: int = 99
) -> Learned:
    """Learn TRUTH from drawn inputs; from a step on, held-out examples say that it gets worse."""
    weight = torch.nn.Parameter(torch.zeros(1, 3))
    steps = [0]

    def loss_of(step: int, generator: torch.Generator) -> torch.Tensor:
        if step == dies_at:
            raise Killed
        steps[0] = step
        x = torch.randn(8, 3, generator=generator)
        return ((x @ (weight - TRUTH).T) ** 2).mean()

    def held_out() -> float:
        return float((weight - TRUTH).norm()) + (steps[0] if steps[0] >= worse_from else 0)

    return train_steps({"w": weight}, loss_of, held_out, how, seed, seconds, lambda *_: None, folder)


def bits(learned: Learned) -> tuple[bytes, str]:
    return learned.tensors["w"].numpy().tobytes(), repr(learned.facts)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(tmp_path: Path) -> None:
    runs = [bits(train(tmp_path / str(number), seed=seed)) for number, seed in enumerate((0, 0, 1))]

    assert runs[0] == runs[1] != runs[2]


@pytest.mark.parametrize("dies_at", [1, 7, 10, 29])
def test_a_killed_run_goes_on_and_gives_the_bits_of_one_that_was_not(tmp_path: Path, dies_at: int) -> None:
    whole = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "killed", dies_at=dies_at)

    resumed = train(tmp_path / "killed")

    assert bits(resumed) == bits(whole)


def test_a_damaged_checkpoint_starts_anew(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole")
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / CHECKPOINT).write_bytes(b"half a file")

    assert bits(train(tmp_path / "damaged")) == bits(whole)


def test_training_ends_when_held_out_examples_say_so_and_the_best_is_kept(tmp_path: Path) -> None:
    ended = train(tmp_path / "a", worse_from=10).facts
    whole = train(tmp_path / "b").facts

    assert (ended["ended"], ended["steps"], ended["best_step"]) == (PATIENCE, 25, 10)
    assert (whole["ended"], whole["steps"]) == (STEPS, 30)
    assert [look[0] for look in whole["loss"]] == [5, 10, 15, 20, 25, 30]


def test_the_bound_in_seconds_ends_it_and_counts_what_was_spent_before(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        train(tmp_path, dies_at=6)

    spent = train(tmp_path, seconds=1e-9)

    assert (spent.facts["ended"], spent.facts["steps"], spent.facts["best_step"]) == (SECONDS, 6, 6)


def test_a_run_that_leaves_all_bounds_is_told(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="Training left all bounds at step 5"):
        train(tmp_path, Steps(steps=30, learning_rate=1e30, every=5))
