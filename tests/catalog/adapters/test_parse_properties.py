"""What holds of every header and config there can be: the safetensors library is the measure."""

from __future__ import annotations

import json
import time
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, deserialize
from safetensors.numpy import save

from catalog.adapters.parse import DEPTH_LIMIT, Problem, Tensor, header_length, lora_shapes, module_name, parse_config
from catalog.adapters.parse import parse_header as parse_json

bounded = settings(max_examples=200, deadline=None)
ENTRY: dict[str, Any] = {"dtype": "I8", "shape": [4], "data_offsets": [0, 4]}

DTYPES = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "U8": np.uint8, "BOOL": np.bool_}
texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
any_texts = st.text(st.characters(exclude_categories=()), max_size=6)
shapes = st.lists(st.integers(0, 4), max_size=4)
arrays = st.builds(lambda dtype, shape: np.zeros(shape, DTYPES[dtype]), st.sampled_from(sorted(DTYPES)), shapes)
contents = st.dictionaries(texts.filter(lambda name: name != "__metadata__"), arrays, max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_texts, inner, max_size=4),
    max_leaves=12,
)
sound_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
# Numbers as JSON may write them, those that readers disagree about among them.
numbers = st.sampled_from(
    ("0", "1", "2", "-0", "-1", "1.0", "1e0", "01", "1e999", "4503599627370496", "9" * 30, "9" * 400)
)
extras = st.sampled_from(
    ("", "", ',"x":1', ',"x":1e999', ',"x":"\\ud800"', ',"\\udc00":1', ',"shape":[1]', ',"x":[[]]')
)


def parse_file(file: bytes) -> tuple[Tensor, ...] | Problem:
    """A whole file as the hub's client reads it."""
    length = header_length(file, len(file))
    return length if isinstance(length, Problem) else parse_json(file[8 : 8 + length], len(file))


def opened(file: bytes) -> dict[str, tuple[str, tuple[int, ...]]] | None:
    """What the safetensors library makes of a file; None where it refuses."""
    try:
        return {name: (entry["dtype"], tuple(entry["shape"])) for name, entry in deserialize(file)}
    except SafetensorError:
        return None


def told(tensors: tuple[Tensor, ...]) -> dict[str, tuple[str, tuple[int, ...]]]:
    return {t.name: (t.dtype, t.shape) for t in tensors}


def as_file(header: bytes, data: int) -> bytes:
    return len(header).to_bytes(8, "little") + header + bytes(data)


def assert_no_laxer_than_the_library(file: bytes) -> None:
    parsed = parse_file(file)
    assert isinstance(parsed, Problem) or told(parsed) == opened(file)


# Sound files


@given(contents)
@bounded
def test_a_file_that_the_library_saves_is_read_as_it_was_saved(saved: dict[str, Any]) -> None:
    parsed = parse_file(save(saved))
    assert not isinstance(parsed, Problem)
    names = {value: key for key, value in DTYPES.items()}
    assert told(parsed) == {name: (names[array.dtype.type], array.shape) for name, array in saved.items()}
    assert [t.end - t.start for t in parsed] == [saved[t.name].nbytes for t in parsed]


@given(contents, st.data())
@bounded
def test_a_file_cut_anywhere_is_a_problem(saved: dict[str, Any], data: st.DataObject) -> None:
    whole = save(saved)
    cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
    assert isinstance(parse_file(cut), Problem)


@given(contents, st.binary(min_size=1, max_size=9))
@bounded
def test_a_file_that_goes_on_after_its_tensors_is_a_problem(saved: dict[str, Any], more: bytes) -> None:
    assert isinstance(parse_file(save(saved) + more), Problem)


# Anything else


@given(st.binary(max_size=300), st.none() | st.integers(0, 1 << 70))
@bounded
def test_no_bytes_raise(raw: bytes, size: int | None) -> None:
    length = header_length(raw, size)
    assert isinstance(length, (int, Problem))
    assert isinstance(parse_config(raw), (dict, Problem))
    assert isinstance(parse_json(raw, size), (tuple, Problem))


@given(json_values, st.none() | st.integers(0, 1 << 70))
@bounded
def test_no_json_raises(value: object, size: int | None) -> None:
    raw = json.dumps(value).encode()
    assert isinstance(parse_config(raw), (dict, Problem))
    assert isinstance(parse_json(raw, size), (tuple, Problem))


@given(contents, st.data())
@bounded
def test_bits_that_flip_make_no_file_that_the_library_refuses(saved: dict[str, Any], data: st.DataObject) -> None:
    file = bytearray(save(saved))
    for place in data.draw(st.lists(st.integers(0, len(file) * 8 - 1), min_size=1, max_size=3)):
        file[place // 8] ^= 1 << place % 8
    assert_no_laxer_than_the_library(bytes(file))


@given(st.lists(numbers, max_size=4), st.sampled_from(("0,0", "-0,0", "0,-0", "0,1", "0,2")), extras, st.integers(0, 2))
@example(["-0"], "0,0", "", 0)
@bounded
def test_numbers_and_fields_that_no_writer_writes_are_read_as_the_library_reads_them(
    shape: list[str], offsets: str, extra: str, data: int
) -> None:
    entry = f'{{"dtype":"I8","shape":[{",".join(shape)}],"data_offsets":[{offsets}]{extra}}}'
    assert_no_laxer_than_the_library(as_file(f'{{"a":{entry}}}'.encode(), data))


@pytest.mark.parametrize(
    ("entry", "data"),
    [
        ('{"dtype":"I8","shape":[-0],"data_offsets":[0,0]}', 0),
        ('{"dtype":"I8","shape":[0],"data_offsets":[-0,0]}', 0),
        ('{"dtype":"I8","shape":[4503599627370496,4503599627370496,0],"data_offsets":[0,0]}', 0),
        ('{"dtype":"I8","shape":[1],"data_offsets":[0,1],"x":1e999}', 1),
        (f'{{"dtype":"I8","shape":[1],"data_offsets":[0,1],"x":{"9" * 400}}}', 1),
        (r'{"dtype":"I8","shape":[1],"data_offsets":[0,1],"x":"\ud800"}', 1),
        (r'{"dtype":"I8","shape":[1],"data_offsets":[0,1],"\ud800":1}', 1),
    ],
    ids=["shape -0", "offset -0", "product beyond 64 bits, then 0", "1e999", "400 digits", "half a pair", "half a key"],
)
def test_what_the_library_refuses_is_refused(entry: str, data: int) -> None:
    file = as_file(f'{{"a":{entry}}}'.encode(), data)
    assert (opened(file), type(parse_file(file))) == (None, Problem)


# Configs


@given(st.dictionaries(texts, sound_values, max_size=6))
@bounded
def test_a_config_is_read_as_it_was_written(value: dict[str, Any]) -> None:
    assert parse_config(json.dumps(value).encode()) == value


@given(st.dictionaries(texts, sound_values, max_size=6))
@bounded
def test_a_config_in_plain_utf_8_is_read_the_same(value: dict[str, Any]) -> None:
    assert parse_config(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize("number", ["1e999", "-1e999", "1" + "0" * 400 + ".0"])
def test_a_number_too_large_for_a_float_is_no_infinity(number: str) -> None:
    parsed = parse_config(f'{{"lora_alpha": {number}}}'.encode())
    assert isinstance(parsed, Problem) and parsed.reason == "bad_config"


# Keys that stand twice, nesting


@given(st.dictionaries(texts, sound_values, min_size=1, max_size=4), st.data())
@bounded
def test_a_key_that_stands_twice_is_refused_at_any_level(value: dict[str, Any], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(value)))
    pairs = [*value.items(), (key, data.draw(sound_values))]
    twice = "{" + ",".join(f"{json.dumps(k)}:{json.dumps(v)}" for k, v in data.draw(st.permutations(pairs))) + "}"
    within = f'{{"a":[{twice}]}}'
    assert [type(read(text.encode())) for text in (twice, within) for read in (parse_config, parse_unsized)] == [
        Problem
    ] * 4


def parse_unsized(raw: bytes) -> tuple[Tensor, ...] | Problem:
    return parse_json(raw, None)


@given(st.integers(1, 3 * DEPTH_LIMIT), st.data())
@bounded
def test_nesting_passes_up_to_the_limit_and_no_further(depth: int, data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from((("[", "]"), ('{"a":', "}"))), min_size=depth - 1, max_size=depth - 1))
    text = '{"a":' + "".join(o for o, _ in kinds) + "0" + "".join(c for _, c in reversed(kinds)) + "}"
    assert isinstance(parse_config(text.encode()), Problem) == (depth + 1 > DEPTH_LIMIT)  # the number is a level too


# Names


@given(
    st.lists(st.sampled_from(("base_model.model.", "m", ".lora_A", ".lora_B", ".weight", ".x", "-", "\n")), max_size=8)
)
@bounded
def test_every_tensor_is_half_of_a_pair_or_told_as_other(parts: list[str]) -> None:
    names = sorted({"".join(parts), "".join(parts).replace("_A", "_B"), "m.lora_A.weight", "m.lora_B.weight"})
    tensors = tuple(Tensor(name, "I8", (2, 2), 4 * i, 4 * i + 4) for i, name in enumerate(names))
    pairs, other = lora_shapes(tensors)
    assert 2 * len(pairs) + len(other) == len(names)
    assert set(other) <= set(names)


def test_a_name_that_repeats_the_prefix_for_megabytes_is_read_at_once() -> None:
    name = "base_model.model." * 200_000 + "m"
    began = time.thread_time()
    assert module_name(name) == "m"
    assert time.thread_time() - began < 0.5
