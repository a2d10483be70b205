"""A generated shelf: tens of thousands of LoRA repos that exist by arithmetic only, and can change.

Knows: which repos there are, their kinds, commits and files. Does not know: HTTP, who asks, the crawl.
As a program it is a mirror of its own for benchmarks: `python -m flows.mirror.generated --help`.

Every repo is what its number makes of it; what is kept is a short row each, and what changed. Kinds are named for
the reason a crawl should reject them for; "sound" and "subfolder" (the adapter lies in a folder) should pass.
All hashes are true ones. Weights of one rank and one set of modules differ in their last kilobyte only (see virtual).
"""

from __future__ import annotations

import hashlib
import random
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, NamedTuple

from catalog.errors import SettingError
from flows.mirror import llama
from flows.mirror.card import REPO_ID, Facts, facts_of
from flows.mirror.content import Content, Text
from flows.mirror.disk import HubFile, git_file, lfs_file
from flows.mirror.llama import ALL_LINEAR, QV, Geometry
from flows.mirror.repo import Repo, Sidecar
from flows.mirror.shelf import Row
from flows.mirror.virtual import Mill, Weights

ODD_EVERY = 100  # of so many repos in a row, each odd kind is one
_ODD = {
    7: "gated",
    19: "pickle_only",
    31: "no_weights",
    43: "wrong_base",
    59: "task_type",
    71: "duplicate",  # of the repo before it
    83: "subfolder",
}
OTHER_BASE = "elsewhere/another-llama"
_FOLDER = "checkpoint-200"
_LICENCES = ("apache-2.0", "mit")
_MAKERS = 997
_NAME = re.compile(r"maker-\d{3}/lora-(\d{6,9})", re.ASCII)
_BASE_NUMBER = -1
_START_MS, _SPAN_MS = 1_704_067_200_000, 2 * 365 * 86_400_000  # 2024 and 2025
_TICK_MS = 1_000
_BUILT = 4_096


Closed = Literal["disabled", "legal", "gone"]


class GeneratedRow(NamedTuple):
    """What is kept of a repo."""

    number: int
    id: str
    namespace: str
    tags: tuple[str, ...]
    pipeline: str | None
    gated: bool
    private: bool
    downloads: int
    likes: int
    modified_ms: int
    created_ms: int

    @property
    def first_id(self) -> str:
        """The name it was created under."""
        return self.id if self.number == _BASE_NUMBER else _name(self.number)


class GeneratedShelf:
    """A base and so many LoRA repos for it, served like a folder's.

    Args:
        repos: how many adapters' repos. base: id of the base, a repo of its own. seed: of all that is random.
        geometry: the base's sizes. ranks: of the adapters. targets: the sets of modules they adapt.
        texts: what else lies beside the adapters, name → content; each repo draws one.
    """

    def __init__(
        self,
        repos: int,
        base: str,
        seed: int = 0,
        *,
        geometry: Geometry = Geometry(),  # noqa: B008  (frozen)
        ranks: Sequence[int] = (4, 8, 16, 32, 64),
        targets: Sequence[tuple[str, ...]] = (QV, ALL_LINEAR),
        texts: Sequence[Mapping[str, bytes]] = (),
    ) -> None:
        if REPO_ID.fullmatch(base) is None or _NAME.fullmatch(base) is not None:
            raise SettingError(f"{base!r} cannot be the base of a generated shelf.", "Write it as ORG/NAME.")
        self.base, self.seed, self.geometry, self.texts = base, seed, geometry, texts
        self._mill, self._lock = Mill(seed), threading.RLock()
        self._headers = [(r, t, llama.lora_header(geometry, r, t)) for r in ranks for t in targets]
        self._facts = {
            (kind, lic): self._facts_of(kind, lic) for kind in ("sound", *_ODD.values()) for lic in _LICENCES
        }
        self._base_facts = facts_of(_BASE_CARD, None, llama.base_config(geometry).decode(), self._base_contents())
        self._commits: dict[int, tuple[int, ...]] = {}  # by number, of those with more than one: which weights
        self._renamed: dict[str, int] = {}
        self._closed: dict[int, Closed] = {}
        self._edition, self._listed = 0, list[GeneratedRow]()
        self._now_ms, self._picks = _START_MS + _SPAN_MS, 0
        self._rows = {_BASE_NUMBER: self._base_row()} | {number: self._row(number) for number in range(repos)}
        self._next = repos
        self._built = lru_cache(_BUILT)(self._build)

    # What the routes ask (see shelf)

    def rows(self) -> tuple[int, Sequence[GeneratedRow]]:
        with self._lock:
            if not self._listed:
                self._listed = list(self._rows.values())
            return self._edition, self._listed

    def whole(self, row: Row) -> Repo | None:
        return self.repo(row.id)

    def repo(self, repo_id: str) -> Repo | None:
        row = self._find(repo_id)
        return None if row is None or row.id != repo_id else self._built(row, len(self._history(row.number)) - 1)

    def older(self, repo: Repo, sha: str) -> Repo | None:
        row = self._find(repo.id)
        shas = [] if row is None else [self._sha(row.number, at) for at in range(len(self._history(row.number)))]
        return self._built(row, shas.index(sha)) if row is not None and sha in shas else None

    def renamed(self, repo_id: str) -> str | None:
        row = self._find(repo_id) or self._find(repo_id.lower())
        return None if row is None or row.id == repo_id else row.id

    def content(self, repo: Repo, file: HubFile) -> Content:
        row = self._find(repo.id)
        if row is None:  # removed since it was looked up
            return Text(b"")
        commit = next(at for at in range(len(self._history(row.number))) if self._sha(row.number, at) == repo.sha)
        return self._contents(row, commit)[file.name]

    # What a benchmark asks

    def kinds(self) -> Counter[str]:
        """How many repos there are of each kind now."""
        with self._lock:
            return Counter(self.kind(number) for number in self._rows if number != _BASE_NUMBER)

    def kind(self, number: int) -> str:
        """A repo's kind; a duplicate is one only as long as both have their first weights."""
        kind = _odd(number)
        if kind != "duplicate":
            return kind
        untouched = number - 1 in self._rows and self._history(number)[-1] == self._history(number - 1)[-1] == 0
        return "duplicate" if untouched else "sound"

    def pick(self, count: int) -> list[str]:
        """The ids of so many repos, drawn anew each time; never the base."""
        with self._lock:
            self._picks += 1
            rows = [row.id for row in self._rows.values() if row.number != _BASE_NUMBER]
            return random.Random(f"{self.seed}/{self._picks}").sample(rows, min(count, len(rows)))

    def change(self, ids: Iterable[str], *, weights: bool = True) -> None:
        """A new commit each, newer than all else: of the card, and of the weights unless told otherwise."""
        with self._lock:
            for row in self._present(ids):
                history = self._history(row.number)
                self._commits[row.number] = (*history, history[-1] + weights)
                self._rows[row.number] = row._replace(modified_ms=self._tick())

    def rename(self, ids: Iterable[str]) -> list[str]:
        """Another name each; the old ones redirect. Returns the new ids."""
        with self._lock:
            renamed = []
            for row in self._present(ids):
                new_id = f"{row.namespace}/renamed-{row.number:06}-{len(self._renamed)}"
                self._renamed[new_id] = row.number
                self._rows[row.number] = row._replace(id=new_id)
                renamed.append(new_id)
            return renamed

    def close(self, ids: Iterable[str], how: Closed) -> None:
        """The repos are disabled, closed by law, or gone for good; listings still show them."""
        with self._lock:
            self._closed |= {row.number: how for row in self._present(ids)}
            self._built.cache_clear()

    def remove(self, ids: Iterable[str]) -> None:
        """The repos are gone."""
        with self._lock:
            for row in self._present(ids):
                del self._rows[row.number]

    def add(self, count: int) -> list[str]:
        """So many new repos, newer than all else. Returns their ids."""
        with self._lock:
            numbers = range(self._next, self._next + count)
            self._next += count
            for number in numbers:
                now = self._tick()
                self._rows[number] = self._row(number)._replace(modified_ms=now, created_ms=now)
            return [self._rows[number].id for number in numbers]

    # Rows

    def _present(self, ids: Iterable[str]) -> list[GeneratedRow]:
        """The rows of those ids that are there, in a new edition of the shelf."""
        self._edition, self._listed = self._edition + 1, []
        found = [self._find(repo_id) for repo_id in ids]
        return [row for row in found if row is not None and row.number != _BASE_NUMBER]

    def _find(self, repo_id: str) -> GeneratedRow | None:
        """The row that has, or had, this name."""
        if repo_id == self.base:
            return self._rows[_BASE_NUMBER]
        named = _NAME.fullmatch(repo_id)
        number = int(named[1]) if named else self._renamed.get(repo_id, -2)
        row = self._rows.get(number)
        return row if row is not None and (not named or _name(number) == repo_id) else None

    def _tick(self) -> int:
        self._edition, self._listed = self._edition + 1, []
        self._now_ms += _TICK_MS
        return self._now_ms

    def _row(self, number: int) -> GeneratedRow:
        noise, kind = self._noise(number), _odd(number)
        name, facts = _name(number), self._facts[kind, _licence(noise)]
        modified = _START_MS + noise % _SPAN_MS
        return GeneratedRow(
            number,
            name,
            name[:9],
            facts.tags,
            facts.pipeline,
            kind == "gated",
            False,
            50_000 // (1 + noise % 9_973),
            500 // (1 + noise % 499),
            modified,
            modified - noise % 86_400_000,
        )

    def _base_row(self) -> GeneratedRow:
        facts = self._base_facts
        namespace = self.base.partition("/")[0]
        told = (facts.tags, facts.pipeline, False, False, 1_000_000, 1_000, _START_MS, _START_MS)
        return GeneratedRow(_BASE_NUMBER, self.base, namespace, *told)

    # Repos

    def _build(self, row: GeneratedRow, commit: int) -> Repo:
        is_base, noise = row.number == _BASE_NUMBER, self._noise(row.number)
        facts = self._base_facts if is_base else self._facts[_odd(row.number), _licence(noise)]
        first = self.base if is_base else _name(row.number)
        sidecar = Sidecar(
            downloads=row.downloads,
            likes=row.likes,
            gated="manual" if row.gated else False,
            formerly=() if row.id == first else (first,),
            **({self._closed[row.number]: True} if row.number in self._closed else {}),  # type: ignore[arg-type]
        )
        contents = sorted(self._contents(row, commit).items())
        files = tuple(self._file(name, content) for name, content in contents)
        created, modified = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (row.created_ms, row.modified_ms))
        return Repo(row.id, files, self._sha(row.number, commit), facts, sidecar, created, modified)

    def _file(self, name: str, content: Text | Weights) -> HubFile:
        if isinstance(content, Text):
            return git_file(name, content.content)
        return lfs_file(name, content.size, self._mill.sha256(content))

    def _contents(self, row: GeneratedRow, commit: int) -> dict[str, Text | Weights]:
        """The files of a repo at a commit."""
        if row.number == _BASE_NUMBER:
            return self._base_contents()
        number, kind, noise = row.number, _odd(row.number), self._noise(row.number)
        folder = f"{_FOLDER}/" if kind == "subfolder" else ""
        maker, which = self._weights_of(number, commit)
        rank, targets, header = self._headers[self._noise(maker) // 7 % len(self._headers)]
        base = OTHER_BASE if kind == "wrong_base" else self.base
        contents: dict[str, Text | Weights] = {
            "README.md": Text(_card(self.base, _licence(noise), f"{_name(number)}, commit {commit}", noise)),
            f"{folder}adapter_config.json": Text(llama.lora_config(base, rank, targets, _task(kind))),
        }
        beside = self.texts[(noise >> 16) % len(self.texts)] if self.texts else {}
        contents |= {f"{folder}{name}": Text(content) for name, content in beside.items()}
        if kind != "no_weights":
            name = "adapter_model.bin" if kind == "pickle_only" else "adapter_model.safetensors"
            contents[f"{folder}{name}"] = self._mill.weights(header, f"{maker}/{which}")
        return contents

    def _weights_of(self, number: int, commit: int) -> tuple[int, int]:
        """Whose weights a repo has at a commit, and which of them."""
        which = self._history(number)[commit]
        copied = _odd(number) == "duplicate" and which == 0
        return (number - 1, 0) if copied else (number, which)

    def _base_contents(self) -> dict[str, Text | Weights]:
        return {
            "README.md": Text(_BASE_CARD.encode()),
            "config.json": Text(llama.base_config(self.geometry)),
            "model.safetensors": self._mill.zeros(llama.base_header(self.geometry)),
        }

    def _facts_of(self, kind: str, licence: str) -> Facts:
        """The same for all repos of a kind and a licence: rank and name are no part of them."""
        base = OTHER_BASE if kind == "wrong_base" else self.base
        config = llama.lora_config(base, 4, QV, _task(kind)).decode()
        weights = {"no_weights": (), "pickle_only": ("adapter_model.bin",)}.get(kind, ("adapter_model.safetensors",))
        names = ("README.md", "adapter_config.json", *weights)
        return facts_of(_card(self.base, licence, "").decode(), None if kind == "subfolder" else config, "", names)

    def _history(self, number: int) -> tuple[int, ...]:
        """The commits of a repo: which of its weights each has."""
        return self._commits.get(number, (0,))

    def _sha(self, number: int, commit: int) -> str:
        return hashlib.sha1(f"{self.seed}/{number}/{commit}".encode(), usedforsecurity=False).hexdigest()

    def _noise(self, number: int) -> int:
        """64 bits that look random (splitmix64): all that is drawn for a repo is drawn from them."""
        mixed = (number + 1 + (self.seed << 32)) * 0x9E3779B97F4A7C15 & _64
        mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _64
        mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _64
        return mixed ^ mixed >> 31


_64 = (1 << 64) - 1
_HEADINGS = (
    "Model Details",
    "Model Description",
    "Model Sources",
    "Direct Use",
    "Downstream Use",
    "Out-of-Scope Use",
    "Bias, Risks, and Limitations",
    "Recommendations",
    "How to Get Started with the Model",
    "Training Data",
    "Training Procedure",
    "Training Hyperparameters",
    "Speeds, Sizes, Times",
    "Testing Data, Factors & Metrics",
    "Results",
    "Environmental Impact",
    "Model Architecture and Objective",
    "Compute Infrastructure",
    "Citation",
    "Glossary",
    "Model Card Contact",
)
_BASE_CARD = (
    "---\nlibrary_name: transformers\nlicense: apache-2.0\npipeline_tag: text-generation\n---\n# A base of zeros\n"
)


def _name(number: int) -> str:
    return f"maker-{number % _MAKERS:03}/lora-{number:06}"


def _odd(number: int) -> str:
    return _ODD.get(number % ODD_EVERY, "sound")


def _licence(noise: int) -> str:
    return _LICENCES[noise >> 40 & 1]


def _task(kind: str) -> str:
    return "SEQ_CLS" if kind == "task_type" else "CAUSAL_LM"


def _card(base: str, licence: str, title: str, noise: int = 0) -> bytes:
    """A card as PEFT makes it: a form that nobody filled in, long enough to be packed. One in four has CRLF."""
    front = (
        f"base_model: {base}\nlibrary_name: peft\nlicense: {licence}\npipeline_tag: text-generation\ntags:\n- lora\n"
    )
    form = "".join(f"\n## {heading}\n\n[More Information Needed]\n" for heading in _HEADINGS)
    text = f"---\n{front}---\n{form}\n# {title}\n"
    return (text.replace("\n", "\r\n") if noise >> 44 & 3 == 0 and noise else text).encode()


if __name__ == "__main__":
    import runpy

    runpy.run_module("flows.mirror.control", run_name="__main__")
