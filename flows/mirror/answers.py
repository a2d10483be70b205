"""Answers: a repo in the Hub's JSON, for a listing, a model's page and a tree.

Knows: which field goes where. Does not know: who may see it, how it is sent. An empty field is left out.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from flows.mirror.card import RELATIONS
from flows.mirror.disk import HubFile
from flows.mirror.repo import Repo, inner_id
from flows.mirror.xet import xet_hash

Json = dict[str, Any]

EXPANDABLE = frozenset(
    {
        "author",
        "baseModels",
        "cardData",
        "childrenModelCount",
        "config",
        "createdAt",
        "disabled",
        "downloads",
        "downloadsAllTime",
        "evalResults",
        "gated",
        "gguf",
        "inference",
        "inferenceProviderMapping",
        "lastModified",
        "library_name",
        "likes",
        "mask_token",
        "model-index",
        "pipeline_tag",
        "private",
        "resourceGroup",
        "safetensors",
        "sha",
        "siblings",
        "spaces",
        "tags",
        "transformersInfo",
        "trendingScore",
        "usedStorage",
        "widgetData",
    }
)
ON_A_PAGE_ONLY = frozenset({"baseModels", "childrenModelCount", "usedStorage"})  # a listing refuses them
_LISTED = (
    "likes",
    "trendingScore",
    "private",
    "downloads",
    "tags",
    "pipeline_tag",
    "library_name",
    "createdAt",
)
_FULL = ("author", "gated", "disabled", "sha", "lastModified", "siblings")
_PAGE = ("cardData", "config", "model-index", "spaces", "usedStorage")


def stamp(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def listed(repo: Repo, expand: Iterable[str], *, nulls: bool, full: bool, card: bool, config: bool) -> Json:
    """One row of a listing: what `expand` names and nothing else, or the Hub's own choice."""
    if expand := tuple(expand):
        return _named(repo, expand, nulls=nulls)
    wanted = (
        *_LISTED,
        *(_FULL if full else ()),
        *(("cardData",) if card else ()),
        *(("config",) if config else ()),
    )
    return _named(repo, wanted) | {"modelId": repo.id}


def page(repo: Repo, expand: Iterable[str], *, nulls: bool, blobs: bool) -> Json:
    """A model's own answer; `blobs` adds sizes and hashes to its files."""
    if expand := tuple(expand):
        return _named(repo, expand, nulls=nulls)
    told = _named(repo, (*_LISTED, *_FULL, *_PAGE)) | {"modelId": repo.id}
    told |= {"siblings": [_sibling(file, blobs=blobs) for file in repo.files]}
    return told | {"model-index": None}  # the one field that was seen as null


def children(repo_id: str, tags: Iterable[Iterable[str]]) -> Json:
    """How many repos say that they are made from this one, by the way they were."""
    wanted = {f"base_model:{relation}:{repo_id}": relation for relation in RELATIONS}
    found = Counter(wanted[tag] for several in tags for tag in several if tag in wanted)
    return {relation: found[relation] for relation in RELATIONS}


def tree_entry(path: str, repo: Repo, *, xet: bool, expand: bool) -> Json | None:
    """A file or a folder of the repo as `tree` and `paths-info` tell of it; None when neither is there."""
    file = repo.file(path)
    told = _file(file, xet=xet) if file else _folder(path, repo)
    if told and expand:
        told["lastCommit"] = {"id": repo.sha, "title": "Upload files", "date": stamp(repo.modified)}
    return told


def folders_of(names: Iterable[str]) -> set[str]:
    """Every folder above the given file names."""
    parts = (name.split("/")[:-1] for name in names)
    return {"/".join(words[:depth]) for words in parts for depth in range(1, len(words) + 1)}


def refs(repo: Repo, *, pull_requests: bool) -> Json:
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.sha}
    return {"branches": [main], "converts": [], "tags": []} | ({"pullRequests": []} if pull_requests else {})


def _named(repo: Repo, fields: Iterable[str], *, nulls: bool = False) -> Json:
    known = ((name, _FIELDS[name](repo)) for name in fields if name in _FIELDS)
    told = {name: value for name, value in known if nulls or value is not None}
    return {"_id": inner_id(repo.first_id), "id": repo.id} | told


def _base_models(repo: Repo) -> Json | None:
    models = [{"_id": inner_id(name), "id": name} for name in repo.facts.base_models]
    return {"relation": repo.facts.relation, "models": models} if models else None


def _sibling(file: HubFile, *, blobs: bool) -> Json:
    told: Json = {"rfilename": file.name}
    if blobs:
        told |= {"blobId": file.oid, "size": file.size}
    if blobs and file.lfs:
        told["lfs"] = {"sha256": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    return told


def _file(file: HubFile, *, xet: bool) -> Json:
    told: Json = {"type": "file", "oid": file.oid, "size": file.size, "path": file.name}
    if file.lfs:
        told["lfs"] = {"oid": file.sha256, "size": file.size, "pointerSize": file.pointer_size}
    if file.lfs and xet:
        told["xetHash"] = xet_hash(file)
    return told


def _folder(path: str, repo: Repo) -> Json | None:
    inside = [file for file in repo.files if file.name.startswith(f"{path}/")]
    if not inside:
        return None
    oid = hashlib.sha1("".join(f"{file.name}\0{file.oid}\n" for file in inside).encode(), usedforsecurity=False)
    return {"type": "directory", "oid": oid.hexdigest(), "size": 0, "path": path}


# A table of questions, so that a row of a listing costs what it was asked for and no more.
_FIELDS: dict[str, Callable[[Repo], Any]] = {
    "author": lambda repo: repo.namespace,
    "baseModels": _base_models,
    "cardData": lambda repo: repo.facts.card or None,
    "config": lambda repo: repo.facts.config or None,
    "createdAt": lambda repo: stamp(repo.created),
    "disabled": lambda repo: repo.sidecar.disabled,
    "downloads": lambda repo: repo.sidecar.downloads,
    "downloadsAllTime": lambda repo: repo.sidecar.downloads,
    "gated": lambda repo: repo.gated,
    "lastModified": lambda repo: stamp(repo.modified),
    "library_name": lambda repo: repo.facts.library,
    "likes": lambda repo: repo.sidecar.likes,
    "pipeline_tag": lambda repo: repo.facts.pipeline,
    "private": lambda repo: repo.sidecar.private,
    "sha": lambda repo: repo.sha,
    "siblings": lambda repo: [_sibling(file, blobs=False) for file in repo.files],
    "spaces": lambda repo: [],
    "tags": lambda repo: list(repo.tags),
    "trendingScore": lambda repo: 0,
    "usedStorage": lambda repo: sum(file.size for file in repo.files),
}
