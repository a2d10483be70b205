"""Duplicates: which of several adapters with the same weights is the original."""

from __future__ import annotations

from catalog.duplicates import Sound, find_originals

FIRST, LATER = "2023-01-01T00:00:00.000Z", "2024-01-01T00:00:00.000Z"


def sound(adapter: str, created: str = FIRST, downloads: int = 0, sha256: str | None = "f" * 64) -> Sound:
    return Sound(("org/base", "a" * 40, adapter), sha256, downloads, created)


def found(*among: Sound, barred: tuple[str, ...] = ()) -> dict[str, str | None]:
    keys = {one.key for one in among if one.key[2] in barred}
    return {key[2]: original for key, original in find_originals(among, keys).items()}


def test_the_oldest_is_the_original_then_the_most_downloaded_then_the_first_by_name() -> None:
    older = found(sound("b/old@1", FIRST), sound("a/new@1", LATER, downloads=9))
    more = found(sound("a/few@1"), sound("b/many@1", downloads=9))
    named = found(sound("b/x@1"), sound("a/x@1"))

    assert older == {"b/old@1": None, "a/new@1": "b/old@1"}
    assert more == {"b/many@1": None, "a/few@1": "b/many@1"}
    assert named == {"a/x@1": None, "b/x@1": "a/x@1"}


def test_one_whose_date_was_not_kept_was_known_before_the_others() -> None:
    assert found(sound("a/new@1", LATER), sound("b/old@1", "")) == {"b/old@1": None, "a/new@1": "b/old@1"}


def test_without_a_hash_nothing_is_a_duplicate() -> None:
    assert found(sound("a/x@1", sha256=None), sound("b/x@1", sha256=None)) == {"a/x@1": None, "b/x@1": None}


def test_one_that_is_barred_is_no_original_and_what_it_would_have_been_is_no_duplicate() -> None:
    three = sound("a/x@1"), sound("b/x@1", LATER), sound("c/x@1", LATER)

    assert found(*three, barred=("a/x@1",)) == {"a/x@1": None, "b/x@1": None, "c/x@1": "b/x@1"}
    assert found(*three, barred=("b/x@1",)) == {"a/x@1": None, "b/x@1": "a/x@1", "c/x@1": "a/x@1"}
    assert found(*three, barred=("a/x@1", "b/x@1", "c/x@1")) == {"a/x@1": None, "b/x@1": "a/x@1", "c/x@1": "a/x@1"}
