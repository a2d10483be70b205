"""Add tasks: from a file, a folder or a Hub data set into the home.

Knows: where a source is, when examples are clustered, what is told. Does not know: layouts of files
(warehouse/tasks/readers), the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.adapters.safe_names import is_repo_id
from catalog.errors import HubError, TaskError
from catalog.tasks.task import TEMPLATES, Example, Task
from flows.home.home import Home
from warehouse.storage.row_files import ENDINGS
from warehouse.tasks.folder import store_task
from warehouse.tasks.labelled_rows import SPLITS, Columns
from warehouse.tasks.readers import Found, Layout, data_files, read_files, read_source

if TYPE_CHECKING:
    from lorauter.routing.encoder import Vectors

Say = Callable[[str], None]
CLUSTER = "cluster"


def add_tasks(
    home: Home, source: str, layout: Layout, say: Say, revision: str = "main", clusters: int | None = None
) -> list[Task]:
    """Store the tasks of a source; `say` gets a line for whatever a person should know of its rows.

    Nothing is stored unless all can be. Raises TaskError or HubError.
    """
    if clusters is not None:
        layout = replace(layout, fields={"name": CLUSTER, **layout.fields})
    found = _find(home, source, layout, revision)
    for note in found.notes:
        say(note)
    tasks = list(found.tasks) if clusters is None else _cluster(home, found.tasks[0], clusters)
    for task in tasks:
        store_task(home.task_folder, task)
    if clusters is not None:
        _tell_of_others(home, tasks, layout.fields["name"], say)
    return tasks


def layout_of(flags: Mapping[str, Any]) -> Layout:
    """The layout that the command's flags describe; what was not given stays open."""
    columns = Columns(
        input=tuple(flags["input_column"]),
        target=flags["target_column"],
        options=tuple(flags["options_column"]),
        id=flags["id_column"],
        split=flags["split_column"],
    )
    template = TEMPLATES.get(flags["template"], flags["template"])
    fields = {name: flags[name] for name in ("name", "metric", "max_new_tokens", "domain", "adapter")}
    return Layout(
        columns,
        fields={name: value for name, value in {**fields, "template": template}.items() if value is not None},
        counts={split: flags[split] for split in SPLITS if flags[split] is not None},
        files=tuple(flags["files"]),
        keep=flags["keep"],
    )


def _find(home: Home, source: str, layout: Layout, revision: str) -> Found:
    if Path(source).exists():
        return read_source(Path(source), layout)
    if not is_repo_id(source) or Path(source).suffix in ENDINGS:
        raise TaskError(f"{source} does not exist.", "Name a file, a folder, or a data set of the hub as org/name.")
    return _download(home, source, layout, revision)


def _download(home: Home, repo: str, layout: Layout, revision: str) -> Found:
    from catalog.hub.datasets import download_dataset

    choose = partial(data_files, patterns=layout.files)
    try:
        sha, folder, names = download_dataset(home.hub.options, repo, choose, revision)
    except HubError as error:
        raise type(error)(
            f"There is no file or folder {repo} here. On the hub: {error.cause}", error.next_step
        ) from error
    if not names:
        raise TaskError(
            f"Data set {repo} has no .jsonl, .json, .csv or .parquet files that were asked for.",
            "Check --files, or try --revision refs/convert/parquet: the public Hub keeps converted files there.",
        )
    fields = {"description": f"Data set {repo} at {sha}.", **layout.fields}
    return read_files(folder, names, replace(layout, fields=fields), called=repo.partition("/")[2])


def _cluster(home: Home, task: Task, k: int) -> list[Task]:
    from lorauter.train.task_clusters import cluster_tasks

    settings = home.settings
    sha, _ = home.hub.repo_files(settings.encoder, settings.encoder_revision)
    encoder = home.encoder(sha)

    def embed(examples: Sequence[Example]) -> Vectors:
        return encoder.encode([example.input for example in examples])

    return cluster_tasks(task, embed(task.validation), k, test_embeddings=embed(task.test))


def _tell_of_others(home: Home, tasks: Sequence[Task], name: str, say: Say) -> None:
    """Clusters of an earlier run that this one did not replace would be scored as well."""
    others = {path.parent.name for path in home.task_folder.glob(f"{name}-*/task.json")} - {t.name for t in tasks}
    if others:
        say(f"{', '.join(sorted(others))}: kept from an earlier run; delete what is not wanted in {home.task_folder}")
