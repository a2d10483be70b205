"""Names that a disk, an eye or the hub's client could be tricked by."""

from __future__ import annotations

import pytest

from catalog.adapters.safe_names import is_repo_id, is_safe_path


@pytest.mark.parametrize("name", ["a", "a/b.json", ".gitattributes", "..a/b..", "with space", "é/ü", "x" * 255])
def test_a_plain_path_is_safe(name: str) -> None:
    assert is_safe_path(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/etc/passwd",
        "~/x",
        "..",
        "a/../b",
        "a//b",
        "a/",
        "./a",
        "a\\b",
        "a%2fb",
        "C:x",
        "a\0",
        "a\nb",
        "\x1b[31m",
        "a\u202eb",
        "a\u2028b",
        "<b>",
        "a|b",
        "a?",
        "x" * 256,
        "é" * 128,
        "a/" * 256 + "a",
        "\ud800",
    ],
)
def test_a_path_that_could_trick_disk_or_eye_is_not_safe(name: str) -> None:
    assert not is_safe_path(name)


@pytest.mark.parametrize("name", ["ann/x", "a_1/b-2.3", "a" * 96 + "/x", "a/gpt.2"])
def test_a_repo_id_is_an_org_and_a_name(name: str) -> None:
    assert is_repo_id(name)


@pytest.mark.parametrize(
    "name",
    ["x", "a/b/c", "a/", "/b", "a/b\n", "a/.b", "a/b-", "-a/b", "a/b--c", "a/b..c", "a/b.git", "a/é", "a" * 97 + "/x"],
)
def test_what_the_hubs_client_refuses_is_no_repo_id(name: str) -> None:
    assert not is_repo_id(name)
