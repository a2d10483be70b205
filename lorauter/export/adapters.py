"""Adapters that another engine has to load for a batch: each named, and in a folder that it reads as PEFT would.

Knows: what makes a folder plain enough for engines that read one rank and one alpha, and how to write one that is.
Does not know: requests, or which engine (export/vllm, export/lorax).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import torch

from catalog.errors import UnsupportedAdapter
from catalog.task import content_hash
from lorauter.adapter_weights import CONFIG_FILE, AdapterWeights
from lorauter.compositions.base import Composition
from lorauter.compositions.cat import cat
from lorauter.compositions.reading import reader
from lorauter.compositions.saving import save_merged
from lorauter.routing import Mixture


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """One adapter for another engine.

    Args:
        name: how requests call it: the adapter's key, or that of a merge. folder: absolute, a PEFT folder.
        rank: its `r`.
    """

    name: str
    folder: Path
    rank: int


class ServedAdapters:
    """Collects the adapters of a batch; each is written at most once, into a folder named by its content.

    An adapter that is served alone keeps its own folder if every engine reads that alike; one with patterns, or
    with a bias option, is written anew. Several become the composition's merge, `cat` where it makes none (mixture).

    Args:
        composition: what is asked for; selection makes it top-1. find: gives the folder of an adapter's key.
        out: where new folders go; one that is there already is used again. base_id: for their configs.
        dtype: of new folders' tensors. passing: reasons that reading lets pass, as of `read_adapter`.
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
        rank = plain_rank(folder, weights)
        if rank is None:
            return self._written(key, lambda: weights)
        return ServedAdapter(key, folder.resolve(), rank)

    def _written(self, name: str, make: Callable[[], AdapterWeights]) -> ServedAdapter:
        folder = self._out / content_hash([name, self._base_id, str(self._dtype)])
        if (folder / CONFIG_FILE).exists():  # written last
            rank = int(json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))["r"])
        else:
            rank = save_merged(folder, make(), self._base_id, self._dtype)
        return ServedAdapter(name, folder, rank)


def plain_rank(folder: Path, weights: AdapterWeights) -> int | None:
    """The one rank of a folder that every engine reads alike; None where some would not.

    Then all its modules have one scaling too: no pattern gives any of them another.
    """
    config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
    ranks = {pair.a.shape[0] for pair in weights.modules.values()}
    if config.get("rank_pattern") or config.get("alpha_pattern") or config.get("bias", "none") != "none":
        return None
    return ranks.pop() if ranks == {config.get("r", 8)} else None
