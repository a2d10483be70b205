"""Config and header bytes: what is read from them, and the named problem of every way to be wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize

from catalog.adapters.adapter import LoraShape
from catalog.adapters.parse import (
    CONFIG_LIMIT,
    DEPTH_LIMIT,
    HEADER_LIMIT,
    Problem,
    Tensor,
    base_modules,
    header_length,
    lora_shapes,
    module_name,
    parse_config,
    parse_header,
)

LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"
DTYPES = ("F32", "BF16", "I8", "F4", "BOOL", "F7", "f32")


def entry(shape: list[int], start: int, dtype: str = "F32") -> dict[str, Any]:
    end = start + 4 * (shape[0] * shape[1] if len(shape) == 2 else shape[0])
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def header(**tensors: object) -> bytes:
    return json.dumps(tensors).encode()


def tensor(name: str, *shape: int) -> Tensor:
    return Tensor(name, "F32", shape, 0, 0)


def nested(depth: int) -> bytes:
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


# Config


def test_a_config_is_read_as_it_stands() -> None:
    assert parse_config(b'{"r": 8, "peft_type": "LORA"}') == {"r": 8, "peft_type": "LORA"}


def test_a_byte_order_mark_before_a_config_is_skipped() -> None:
    assert parse_config(b'\xef\xbb\xbf{"r": 8}') == {"r": 8}


@pytest.mark.parametrize("raw", [rb'{"a": "\ud800"}', rb'{"\uDFFF": 1}', rb'{"a": [{"b": "x\udabcx"}]}'])
def test_half_a_surrogate_pair_in_a_config_is_refused(raw: bytes) -> None:
    """No file of ours could hold it."""
    assert parse_config(raw) == Problem("bad_config", "adapter_config.json: a text with half a surrogate pair")


@pytest.mark.parametrize(
    ("raw", "evidence"),
    [
        (b"", "not JSON (Expecting value: line 1 column 1 (char 0))"),
        (b"[1]", "a JSON list, not an object"),
        (b'{"a": 1, "a": 2}', "not JSON (a key appears twice)"),
        (b'{"b": {"a": 1, "a": 1}}', "not JSON (a key appears twice)"),
        (b'{"a": NaN}', "not JSON (NaN is not JSON)"),
        (b'{"a": -Infinity}', "not JSON (-Infinity is not JSON)"),
        (b'{"a": "\xff"}', "not UTF-8 (byte 7)"),
        (b" " * (CONFIG_LIMIT + 1), f"longer than {CONFIG_LIMIT} bytes"),
        (nested(DEPTH_LIMIT + 1), f"nested deeper than {DEPTH_LIMIT} levels"),
        (nested(100_000), "nested too deeply"),
    ],
)
def test_a_bad_config_is_a_problem_with_its_cause(raw: bytes, evidence: str) -> None:
    assert parse_config(raw) == Problem("bad_config", f"adapter_config.json: {evidence}")


def test_json_may_be_nested_as_deep_as_the_limit() -> None:
    assert isinstance(parse_config(nested(DEPTH_LIMIT)), dict)


def test_an_lfs_pointer_in_place_of_a_config_is_told_apart() -> None:
    assert parse_config(LFS) == Problem("lfs_pointer", "adapter_config.json is a git-LFS pointer")


# Header length


def test_a_header_length_within_the_file_is_given() -> None:
    assert header_length((40).to_bytes(8, "little") + b"{", 48) == 40


@pytest.mark.parametrize(
    ("head", "size", "problem"),
    [
        (b"", 0, Problem("truncated", "the file has 0 bytes, a safetensors file has at least 8")),
        (b"1234567", None, Problem("truncated", "the file has 7 bytes, a safetensors file has at least 8")),
        (
            (1 << 60).to_bytes(8, "little"),
            None,
            Problem("bad_header", f"the header declares {1 << 60} bytes, the limit is {HEADER_LIMIT}"),
        ),
        (
            (HEADER_LIMIT + 1).to_bytes(8, "little"),
            None,
            Problem("bad_header", f"the header declares {HEADER_LIMIT + 1} bytes, the limit is {HEADER_LIMIT}"),
        ),
        ((41).to_bytes(8, "little"), 48, Problem("bad_header", "the header declares 41 bytes, the file has 48")),
        (LFS, 40, Problem("lfs_pointer", "the weights are a git-LFS pointer, the file itself is missing")),
    ],
)
def test_a_bad_head_is_a_problem(head: bytes, size: int | None, problem: Problem) -> None:
    assert header_length(head, size) == problem


# Header


def test_tensors_come_sorted_and_metadata_is_left_out() -> None:
    raw = header(__metadata__={"format": "pt"}, b=entry([2, 3], 8), a=entry([2], 0))
    assert parse_header(raw, 8 + len(raw) + 32) == (
        Tensor("a", "F32", (2,), 0, 8),
        Tensor("b", "F32", (2, 3), 8, 32),
    )


def test_a_header_without_tensors_is_read_as_none() -> None:
    assert parse_header(b"{}", 10) == ()


def test_a_file_shorter_than_its_tensors_is_truncated() -> None:
    raw = header(a=entry([2], 0))
    end = 8 + len(raw) + 8
    assert parse_header(raw, end - 1) == Problem("truncated", f"the tensors end at byte {end}, the file has {end - 1}")


def test_a_file_longer_than_its_tensors_is_no_safetensors_file() -> None:
    raw = header(a=entry([2], 0))
    end = 8 + len(raw) + 8
    assert parse_header(raw, end + 1) == Problem(
        "bad_header", f"the tensors end at byte {end}, the file goes on to {end + 1}"
    )


def test_a_file_of_unknown_size_is_not_called_truncated() -> None:
    assert parse_header(header(a=entry([2], 0)), None) == (Tensor("a", "F32", (2,), 0, 8),)


@pytest.mark.parametrize(
    "bad",
    [
        None,
        {"dtype": "F32", "shape": [2]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [0, 9]},
        {"dtype": "F32", "shape": [-1, -2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 1 << 62]},
        {"dtype": "F32", "shape": [1] * 9, "data_offsets": [0, 4]},
        {"dtype": "F33", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": 4, "shape": [2], "data_offsets": [0, 8]},
    ],
)
def test_a_malformed_tensor_is_named(bad: object) -> None:
    assert parse_header(header(w=bad), None) == Problem("bad_header", "safetensors header: tensor 'w' is malformed")


@pytest.mark.parametrize(
    ("raw", "evidence"),
    [
        (b"\xef\xbb\xbf{}", "not JSON (Unexpected UTF-8 BOM (decode using utf-8-sig): line 1 column 1 (char 0))"),
        (b'{"__metadata__": {"a": 1}}', "__metadata__ is not a map of texts"),
        (header(a=entry([1], 4)), "'a' starts at 4, not 0"),
        (header(a=entry([2], 0), b=entry([2], 4)), "'b' starts at 4, not 8"),
        (rb'{"\udc00": {"dtype":"I8","shape":[0],"data_offsets":[0,0]}}', r"tensor '\udc00' is malformed"),
        (nested(DEPTH_LIMIT + 1), f"nested deeper than {DEPTH_LIMIT} levels"),
    ],
)
def test_a_header_that_the_library_would_refuse_is_bad(raw: bytes, evidence: str) -> None:
    assert parse_header(raw, None) == Problem("bad_header", f"safetensors header: {evidence}")


entries = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(DTYPES),
        "shape": st.lists(st.integers(0, 3), max_size=3),
        "data_offsets": st.tuples(st.integers(0, 16), st.integers(0, 16)),
    },
)
texts = st.text(st.characters(exclude_categories=()), max_size=6)


@given(st.dictionaries(st.sampled_from(("a", "b", "\ud800")), entries, max_size=2), st.integers(0, 24))
@example({"a": {"dtype": "F32", "shape": [2], "data_offsets": (0, 8)}}, 8)
@settings(max_examples=300, deadline=None)
def test_what_is_parsed_is_what_the_safetensors_library_opens(tensors: dict[str, Any], data: int) -> None:
    """A header that passes here must not surprise the deep check after the download."""
    raw = json.dumps(tensors).encode()
    try:
        opened = {name for name, _ in deserialize(len(raw).to_bytes(8, "little") + raw + bytes(data))}
    except SafetensorError:
        opened = None
    parsed = parse_header(raw, 8 + len(raw) + data)
    assert (None if isinstance(parsed, Problem) else {t.name for t in parsed}) == opened


# LoRA pairs

PREFIX = "base_model.model."


def test_a_pair_is_a_shape_and_the_rest_is_other() -> None:
    tensors = (
        tensor(f"{PREFIX}m.q.lora_A.weight", 4, 16),
        tensor(f"{PREFIX}m.q.lora_B.weight", 32, 4),
        tensor(f"{PREFIX}m.q.lora_magnitude_vector", 32),
    )
    assert lora_shapes(tensors) == (
        (LoraShape("m.q", 4, 16, 32, "F32"),),
        (f"{PREFIX}m.q.lora_magnitude_vector",),
    )


def test_an_adapter_name_inside_the_key_is_understood() -> None:
    pair = (tensor("m.q.lora_A.default.weight", 4, 16), tensor("m.q.lora_B.default.weight", 32, 4))
    assert lora_shapes(pair) == ((LoraShape("m.q", 4, 16, 32, "F32"),), ())


@pytest.mark.parametrize(
    ("a", "b"),
    [((4, 16), (32, 8)), ((4, 16), (32, 4, 1)), ((4,), (32, 4)), ((0, 16), (32, 0))],
    ids=["ranks differ", "3-D", "1-D", "rank 0"],
)
def test_halves_that_do_not_fit_are_no_pair(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    shapes, other = lora_shapes((tensor("m.lora_A.weight", *a), tensor("m.lora_B.weight", *b)))
    assert (shapes, sorted(other)) == ((), ["m.lora_A.weight", "m.lora_B.weight"])


def test_a_lone_half_is_other() -> None:
    assert lora_shapes((tensor("m.lora_A.weight", 4, 16),)) == ((), ("m.lora_A.weight",))


def test_a_second_tensor_for_the_same_half_is_not_lost() -> None:
    """Two prefixes, one module: which of them is meant cannot be known."""
    tensors = (
        tensor(f"{PREFIX}m.lora_A.weight", 4, 16),
        tensor(f"{PREFIX}m.lora_B.weight", 32, 4),
        tensor("m.lora_A.weight", 4, 16),
    )
    assert lora_shapes(tensors) == ((LoraShape("m", 4, 16, 32, "F32"),), ("m.lora_A.weight",))


@pytest.mark.parametrize("name", ["m.lora_A.weight\n", "m.lora_A", "m.lora_embedding_A.weight", "lora_A.weight"])
def test_other_names_are_no_halves(name: str) -> None:
    assert lora_shapes((tensor(name, 4, 16), tensor("m.lora_B.weight", 32, 4)))[0] == ()


@pytest.mark.parametrize("times", [0, 1, 3])
def test_the_prefix_goes_however_often_it_stands(times: int) -> None:
    assert module_name(PREFIX * times + "model.layers.0.q_proj") == "model.layers.0.q_proj"


def test_modules_of_a_base_are_its_matrices() -> None:
    tensors = (tensor("m.q.weight", 32, 16), tensor("m.norm.weight", 16), tensor("m.q.bias", 32))
    assert base_modules(tensors) == {"m.q": (16, 32)}


# Anything at all

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
raw_bytes = st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode())
sizes = st.none() | st.integers(0, 1 << 60)


@given(raw_bytes)
@settings(deadline=None)
def test_no_config_raises(raw: bytes) -> None:
    assert isinstance(parse_config(raw), (dict, Problem))


@given(st.binary(max_size=64), sizes)
def test_no_head_raises_or_escapes_its_bounds(head: bytes, size: int | None) -> None:
    length = header_length(head, size)
    assert isinstance(length, Problem) or 0 <= length <= min(HEADER_LIMIT, HEADER_LIMIT if size is None else size - 8)


@given(raw_bytes | st.dictionaries(texts, entries, max_size=3).map(lambda v: json.dumps(v).encode()), sizes)
@settings(deadline=None)
def test_no_header_raises(raw: bytes, size: int | None) -> None:
    parsed = parse_header(raw, size)
    if not isinstance(parsed, Problem):
        shapes, other = lora_shapes(parsed)
        assert 2 * len(shapes) + len(other) == len(parsed)
