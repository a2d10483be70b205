"""The plan of the noisy pool: which adapters there are in a pool of any size, and what spoils each.

Knows: the twenty honest adapters, the five kinds of noise, names. Does not know: how an adapter is made (noisy_pool).

A pool of N is the fourteen declared adapters of the demo, six of its rivals, and the first N − 20 of one endless list
of noisy adapters, whose kinds take turns: a larger pool holds the smaller one. Names are drawn alike for all kinds; a
noisy adapter is named after the task that its card claims.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flows.demo.build_pool import DECLARED, RIVALS
from flows.demo.tasks import SPECS
from lorauter.train.adapters import Recipe

SEED = 20260121
KINDS = ("shuffled", "perturbed", "interpolated", "off-task", "undertrained")
HONEST = (*DECLARED, *RIVALS[:6])
OWN: Mapping[str, Recipe] = {spec.name: recipe for spec, recipe in zip(SPECS, DECLARED, strict=True)}
"""Task → the recipe of its declared adapter."""

STRENGTHS = (0.5, 1.0, 2.0)
ALPHAS = (0.5, 0.6, 0.7)
FEW = (16, 32, 48)
RANKS = (2, 4, 8)
OFF_TASK_STEP = 0.1  # noise on an off-task adapter that is taken a second time, twice that on the third, …

OWNERS = (
    "amber-works", "birch-lab", "cobalt-shop", "delta-foundry", "ember-nlp", "fjord-models", "granite-ai", "harbour-ml",
    "indigo-loom", "juniper-tunes", "kestrel-data", "lantern-hub",
)  # fmt: skip
STYLES = ("lora", "v2", "tuned", "ft", "small", "adapter")


@dataclass(frozen=True, slots=True)
class Noisy:
    """One noisy adapter.

    Args:
        name: repo id. kind: of KINDS. task: the task that its card claims. source: repo id of the adapter that it is
            made from, "" for one that is trained. other: task of the second adapter of an interpolation.
        amount: shuffled and undertrained: training examples; perturbed: norm of the noise as a share of each tensor's;
            interpolated: the share α of the first; off-task: as perturbed, 0 for a plain copy.
        rank: of one that is trained. seed: of training or noise.
    """

    name: str
    kind: str
    task: str
    source: str = ""
    other: str = ""
    amount: float = 0.0
    rank: int = 0
    seed: int = 0


def plan(count: int, off_task: Mapping[str, str]) -> list[Noisy]:
    """The first `count` noisy adapters; equal arguments give equal plans, and a longer plan begins with a shorter one.

    Args:
        off_task: name of an adapter for none of the demo's tasks → the task that it was trained on.
    """
    strangers = sorted(off_task)
    random.Random(SEED).shuffle(strangers)
    return [_noisy(number, strangers, off_task) for number in range(count)]


def _noisy(number: int, strangers: Sequence[str], off_task: Mapping[str, str]) -> Noisy:
    rng = random.Random(f"{SEED}:{number}")  # a string seed goes through SHA-512, not hash()
    round_, turn = divmod(number, len(KINDS))
    kind, seed = KINDS[turn], 1000 + number
    if kind == "off-task":
        again, place = divmod(round_, len(strangers))
        source = strangers[place]
        task = off_task[source]
        return Noisy(_name(task, rng), kind, task, source, amount=again * OFF_TASK_STEP, seed=seed)
    tasks = _alike() if kind == "interpolated" else list(OWN)
    task = tasks[(round_ + 3 * turn) % len(tasks)]  # each kind begins with another task
    name = _name(task, rng)
    if kind == "perturbed":
        return Noisy(name, kind, task, OWN[task].name, amount=STRENGTHS[round_ % len(STRENGTHS)], seed=seed)
    if kind == "interpolated":
        other = rng.choice([one for one in tasks if one != task])
        return Noisy(name, kind, task, OWN[task].name, other, rng.choice(ALPHAS), seed=seed)
    amount = 96 if kind == "shuffled" else FEW[round_ % len(FEW)]
    return Noisy(name, kind, task, amount=amount, rank=rng.choice(RANKS), seed=seed)


def _alike() -> list[str]:
    """Tasks whose adapters have the plain target modules: any two of them can be interpolated."""
    return [task for task, recipe in OWN.items() if recipe.target_modules == Recipe("", ()).target_modules]


def _name(task: str, rng: random.Random) -> str:
    words = task.replace("_", "-")
    return f"{rng.choice(OWNERS)}/{words}-{rng.choice(STYLES)}-{rng.randrange(16**4):04x}"
