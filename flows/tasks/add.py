"""Add tasks: from a file, a folder or a Hub data set into the task folder.

Knows: where a source is, when examples are clustered, what is told. Does not know: layouts of files
(warehouse/tasks/readers), the command line.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from catalog.adapters.safe_names import is_repo_id
from catalog.errors import HubError, TaskError
from catalog.formats.table import template_asked
from catalog.tasks.task import CHAT, Example, Task
from warehouse.storage.row_files import ENDINGS
from warehouse.tasks.folder import store_task
from warehouse.tasks.labelled_rows import SPLITS, Columns
from warehouse.tasks.readers import Layout, SourceTasks, data_files, read_files, read_source

if TYPE_CHECKING:
    from catalog.hub.client import Hub
    from lorauter.routing.encoder import Encoder, Vectors

Say = Callable[[str], None]
CLUSTER = "cluster"


@dataclass(frozen=True, slots=True)
class Source:
    """Where tasks come from.

    Args:
        name: a file, a folder, or a data set of the hub as org/name.
        layout: how its rows are read.
        revision: of a data set.
        clusters: how many tasks k-means makes of rows without labels; None where the rows tell their tasks.
    """

    name: str
    layout: Layout
    revision: str = "main"
    clusters: int | None = None


def add_tasks(
    folder: Path, source: Source, say: Say, open_hub: Callable[[], Hub], open_encoder: Callable[[], Encoder]
) -> list[Task]:
    """Store the tasks of a source in a folder. Nothing is stored unless all can be.

    Args:
        say: gets a line for whatever a person should know of the source's rows.
        open_hub: opened for data sets alone.
        open_encoder: opened for clusters alone.

    Raises TaskError or HubError.
    """
    layout = source.layout
    if source.clusters is not None:
        layout = replace(layout, fields={"name": CLUSTER, **layout.fields})
    read = _read(replace(source, layout=layout), open_hub)
    for note in read.notes:
        say(note)
    tasks = list(read.tasks)
    if source.clusters is not None:
        tasks = _cluster(open_encoder(), tasks[0], source.clusters)
    for task in tasks:
        store_task(folder, task)
    if source.clusters is not None:
        _tell_of_others(folder, tasks, layout.fields["name"], say)
    return tasks


def layout_of(flags: Mapping[str, Any]) -> Layout:
    """The layout that the command's flags describe; what was not given stays open.

    Raises SettingError where the template is neither a format's name, nor CHAT, nor a text with {input}.
    """
    columns = Columns(
        input=tuple(flags["input_column"]),
        target=flags["target_column"],
        options=tuple(flags["options_column"]),
        id=flags["id_column"],
        split=flags["split_column"],
    )
    asked = flags["template"]
    template = asked if asked in (None, CHAT) else template_asked(asked)
    fields = {name: flags[name] for name in ("name", "metric", "max_new_tokens", "domain", "adapter")}
    return Layout(
        columns,
        fields={name: value for name, value in {**fields, "template": template}.items() if value is not None},
        counts={split: flags[split] for split in SPLITS if flags[split] is not None},
        files=tuple(flags["files"]),
        keep=flags["keep"],
    )


def _read(source: Source, open_hub: Callable[[], Hub]) -> SourceTasks:
    if Path(source.name).exists():
        return read_source(Path(source.name), source.layout)
    if not is_repo_id(source.name) or Path(source.name).suffix in ENDINGS:
        told = "Name a file, a folder, or a data set of the hub as org/name."
        raise TaskError(f"{source.name} does not exist.", told)
    return _download(open_hub(), source)


def _download(hub: Hub, source: Source) -> SourceTasks:
    from catalog.hub.datasets import download_dataset

    repo, layout = source.name, source.layout
    choose = partial(data_files, patterns=layout.files)
    try:
        sha, folder, names = download_dataset(hub.options, repo, choose, source.revision)
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


def _cluster(encoder: Encoder, task: Task, k: int) -> list[Task]:
    from lorauter.train.task_clusters import cluster_tasks

    def embed(examples: Sequence[Example]) -> Vectors:
        return encoder.encode([example.input for example in examples])

    return cluster_tasks(task, embed(task.validation), k, test_embeddings=embed(task.test))


def _tell_of_others(folder: Path, tasks: Sequence[Task], name: str, say: Say) -> None:
    """Clusters of an earlier run that this one did not replace would be scored as well."""
    others = {path.parent.name for path in folder.glob(f"{name}-*/task.json")} - {task.name for task in tasks}
    if others:
        say(f"{', '.join(sorted(others))}: kept from an earlier run; delete what is not wanted in {folder}")
