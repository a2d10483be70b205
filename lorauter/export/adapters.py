"""Adapters that another engine has to load for a batch: each named, and in a folder that it reads as PEFT would.

Knows: what makes a folder plain enough for engines that read one rank and one alpha, and how to write one that is.
Does not know: requests, or which engine (export/vllm, export/lorax).

Every engine reads `lora_alpha / r`; not every one reads `use_rslora`, by which it is `lora_alpha / √r`. So a folder
that is handed on says its scaling by alpha alone.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from catalog.errors import UnsupportedAdapter
from catalog.tasks.task import content_hash
from lorauter.adapters.weights import CONFIG_FILE, WEIGHTS_FILE, AdapterWeights
from lorauter.compositions.base import Composition
from lorauter.compositions.cat import cat
from lorauter.compositions.reading import reader
from lorauter.compositions.saving import save_merged
from lorauter.routing.routes import Mixture
from warehouse.storage.files import write_atomically, write_text


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """One adapter for another engine.

    Args:
        name: how requests call it: the adapter's key, or that of a merge.
        folder: absolute, a PEFT folder.
        rank: its `r`.
    """

    name: str
    folder: Path
    rank: int


class ServedAdapters:
    """Collects the adapters of a batch; each is written at most once, into a folder named by its content.

    An adapter that is served alone keeps its own folder if every engine reads that alike. An rsLoRA gets one with its
    own tensors and another alpha; one with patterns, or with a bias option, is written anew. Several become the
    composition's merge, `cat` where it makes none (mixture).

    Args:
        composition: what is asked for; selection makes it top-1.
        find: gives the folder of an adapter's key.
        out: where new folders go; one that is there already is used again.
        base_id: for their configs.
        dtype: of new folders' tensors.
        passing: reasons that reading lets pass, as of `read_adapter`.
    """

    def __init__(
        self,
        composition: Composition,
        find: Callable[[str], Path],
        out: Path,
        base_id: str,
        dtype: torch.dtype = torch.float32,
        passing: Collection[str] = (),
    ) -> None:
        self._composition = composition
        self._find = find
        self._read = reader(find, passing=passing)
        self._out = out.resolve()
        self._base_id = base_id
        self._dtype = dtype
        self._served: dict[str, ServedAdapter] = {}

    @property
    def all(self) -> tuple[ServedAdapter, ...]:
        """Those that the batches so far need, in the order in which they came up."""
        return tuple(self._served.values())

    def of(self, mixture: Mixture) -> ServedAdapter | None:
        """The adapter that serves a row; None is the base.

        Raises:
            UnsupportedAdapter: a DoRA, which neither engine serves, or members that cannot be merged.
        """
        composed = self._composition.compose(mixture)
        if not composed.mixture:
            return None
        if composed.merge is None and len(composed.mixture) == 1 and composed.mixture[0][1] == 1:
            key = composed.mixture[0][0]
            return self._known(key, lambda: self._alone(key))
        merge = composed.merge or cat().merge(composed.mixture)
        return self._known(merge.key, lambda: self._written(merge.key, lambda: merge.weights(self._read)))

    def _known(self, name: str, make: Callable[[], ServedAdapter]) -> ServedAdapter:
        if name not in self._served:
            self._served[name] = make()
        return self._served[name]

    def _alone(self, key: str) -> ServedAdapter:
        weights, folder = self._read(key), self._find(key)
        if any(pair.magnitude is not None for pair in weights.modules.values()):
            raise UnsupportedAdapter(
                f"{key} is a DoRA, which vLLM and LoRAX do not serve.", "Leave it out of the pool, or answer it here."
            )
        config = _config_of(folder)
        rank = _one_rank(config, weights)
        if rank is None:
            return self._written(key, lambda: weights)
        if config.get("use_rslora"):
            return ServedAdapter(key, self._with_plain_alpha(key, config, weights, rank), rank)
        return ServedAdapter(key, folder.resolve(), rank)

    def _with_plain_alpha(self, key: str, config: dict[str, Any], weights: AdapterWeights, rank: int) -> Path:
        """A folder of the adapter's own tensors whose alpha gives its scaling to those who pass over use_rslora."""
        folder = self._out / content_hash([key, "plain alpha"])
        if not (folder / CONFIG_FILE).exists():  # written last
            scaling = next(iter(weights.modules.values())).scaling
            told = {**config, "lora_alpha": plain_alpha(scaling, rank), "use_rslora": False}
            write_atomically(folder / WEIGHTS_FILE, lambda part: _copy(self._find(key) / WEIGHTS_FILE, part))
            write_text(folder / CONFIG_FILE, json.dumps(told, indent=2) + "\n")
        return folder

    def _written(self, name: str, make: Callable[[], AdapterWeights]) -> ServedAdapter:
        folder = self._out / content_hash([name, self._base_id, str(self._dtype)])
        if (folder / CONFIG_FILE).exists():  # written last
            rank = int(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["r"])
        else:
            rank = save_merged(folder, make(), self._base_id, self._dtype)
        return ServedAdapter(name, folder, rank)


def plain_rank(folder: Path, weights: AdapterWeights) -> int | None:
    """The one rank of a folder that every engine reads alike; None where some would not.

    Then all its modules have one scaling too, lora_alpha / r: no pattern gives any of them another.
    """
    config = _config_of(folder)
    return None if config.get("use_rslora") else _one_rank(config, weights)


def plain_alpha(scaling: float, rank: int) -> float:
    """The alpha whose alpha / r is the scaling, to the last bit where a float64 has one; whole where it is whole."""
    product = scaling * rank
    near = (product, math.nextafter(product, math.inf), math.nextafter(product, -math.inf))
    alpha = next((one for one in near if one / rank == scaling), product)
    return int(alpha) if alpha.is_integer() else alpha


def _config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    return config


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)


def _one_rank(config: Mapping[str, Any], weights: AdapterWeights) -> int | None:
    """The rank that the config gives to all modules; None where a pattern or a bias option makes some differ."""
    ranks = {pair.a.shape[0] for pair in weights.modules.values()}
    if config.get("rank_pattern") or config.get("alpha_pattern") or config.get("bias", "none") != "none":
        return None
    return ranks.pop() if ranks == {config.get("r", 8)} else None
