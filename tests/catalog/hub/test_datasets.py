"""Data sets of a hub: the unmodified client against a few routes of a small server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from catalog.errors import HubError
from catalog.hub.client import HubOptions
from catalog.hub.datasets import download_dataset

SHA = "5" * 40
FILES = {
    "README.md": b"# qa",
    "data/validation.jsonl": b'{"input": "a"}\n',
    "data/train.jsonl": b"x" * 3000,
}


@pytest.fixture
def asked() -> list[str]:
    """What the hub was asked, in order."""
    return []


@pytest.fixture
def options(tmp_path: Path, asked: list[str], dataset_hub: Callable[..., str]) -> HubOptions:
    for name, data in FILES.items():
        (tmp_path / "qa" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "qa" / name).write_bytes(data)
    return HubOptions(dataset_hub(tmp_path / "qa", asked), tmp_path / "hub", attempts=1)


def ending(suffix: str) -> Callable[[list[str]], list[str]]:
    return lambda names: [name for name in names if name.endswith(suffix)]


def test_the_chosen_files_of_a_commit_come_down_once(options: HubOptions, asked: list[str]) -> None:
    sha, folder, names = download_dataset(options, "org/qa", ending("validation.jsonl"))
    download_dataset(options, "org/qa", ending("validation.jsonl"))

    assert (sha, names, (folder / names[0]).read_bytes()) == (SHA, ["data/validation.jsonl"], FILES[names[0]])
    resolve = f"/datasets/org/qa/resolve/{SHA}/data/validation.jsonl"
    cached = f"/api/resolve-cache/datasets/org/qa/{SHA}/data/validation.jsonl"
    assert [line for line in asked if "resolve" in line] == [f"HEAD {resolve}", f"HEAD {cached}", f"GET {cached}"]


def test_names_that_lead_out_of_the_folder_are_never_offered(options: HubOptions) -> None:
    _, _, offered = download_dataset(options, "org/qa", list)

    assert offered == ["README.md", "data/train.jsonl", "data/validation.jsonl"]


def test_too_much_is_refused_before_a_byte_comes_down(options: HubOptions, asked: list[str]) -> None:
    with pytest.raises(HubError) as caught:
        download_dataset(options, "org/qa", ending(".jsonl"), max_bytes=2000)

    assert str(caught.value) == "Data set org/qa: 2 files have 0 MiB, the limit is 0. Choose fewer with --files."
    assert not [line for line in asked if "resolve" in line]


def test_a_data_set_that_is_not_there_is_told(options: HubOptions) -> None:
    with pytest.raises(HubError) as caught:
        download_dataset(options, "org/none", ending(".jsonl"))

    assert str(caught.value) == (
        f"data set org/none is not on {options.endpoint}, or is private or gated. "
        "Check the name, or set LORAUTER_TOKEN to a token that may read it."
    )


def test_what_is_no_id_is_not_asked_for(options: HubOptions, asked: list[str]) -> None:
    with pytest.raises(HubError, match="is no data set id"):
        download_dataset(options, "../qa", ending(".jsonl"))

    assert asked == []
