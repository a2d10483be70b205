"""Hostile inputs of the fuzz: how configs, weights' heads and listings are built, and how each is broken.

Knows: formats, and chance. Does not know: who reads them (fuzz_reading), what must hold of the answers.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.fuzz_packed import make_packed
from catalog.adapters.parse import (
    CONFIG_LIMIT,
    HEADER_LIMIT,
)

SHA = "a" * 40
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
SOUND = {
    "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "tiny/llama", "r": 4, "lora_alpha": 16,
    "lora_dropout": 0.05, "bias": "none", "use_dora": False, "use_rslora": True, "rank_pattern": {"v_proj": 8},
    "alpha_pattern": {}, "target_modules": ["q_proj", "v_proj"], "layers_to_transform": None, "modules_to_save": None,
}  # fmt: skip
CONFIG_TEXT = json.dumps(SOUND)
PAIR = {f"base_model.model.m.0.q_proj.lora_{side}.weight": shape for side, shape in (("A", [4, 16]), ("B", [32, 4]))}
HEADER_TEXT = json.dumps(
    {name: {"dtype": "F32", "shape": shape, "data_offsets": [i * 256, i * 256 + 4 * shape[0] * shape[1]]}
     for i, (name, shape) in enumerate(PAIR.items())}
)  # fmt: skip
MODULES = ("m.0.q_proj", "m.0.v_proj", "m.1.q_proj", "m.1.mlp.down_proj", "m." + "a" * 60 + "!")


@dataclass(frozen=True, slots=True)
class Input:
    """One hostile thing: how it was made, who reads it (file, config, listing or body), its bytes, the size it claims.

    Args:
        data: of a file: its head. size: of a file, as a hub would announce it; None where it says nothing.
    """

    kind: str
    target: str
    data: bytes
    size: int | None = None


Tokens = list[bytes]
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*|true|false|null|[\[\]{},:]')
_NUMBER = re.compile(rb"-?\d")
INTEGERS = [b"-1", b"-0", b"0", b"1", b"8", b"255"] + [
    str(sign * (1 << power) + more).encode()
    for power in (31, 32, 53, 62, 63, 64, 128)
    for sign in (1, -1)
    for more in (-1, 0, 1)
]
HUGE = [b"9" * digits for digits in (20, 100, 308, 309, 400, 4300, 4301, 20_000)]
FLOATS = [b"1e999", b"-1e999", b"NaN", b"Infinity", b"-Infinity", b"1.0", b"-0.0", b"1e-999", b"1E2", b"0.1e1", b"01"]
SURROGATES = [rb'"\ud800"', rb'"\udc00\ud800"', rb'"a\udfff"', rb'"\ud83d\ude00"', rb'"\u0000"', b'"\xed\xa0\x80"']
DTYPES = b"F64 F32 F16 BF16 I8 U8 BOOL F4 F6_E2M3 C64 F8_E8M0 F7 f32".split()
NAMES = [
    "../../etc/passwd", "/etc/passwd", "~/.ssh/id_rsa", "a//b", "a/./b", "..", ".", "", "a\\b", "C:/x", "a\x00b",
    "a\x1b[31mred", "a\nb", "a\r\nb", "\u202egnp.exe", "\u2028", "a\u200bb", "\ufeff", "x" * 256, "y" * 5000,
    "é" * 200, "a%2f..%2fb", "con", "a|b", "<b>x</b>", "ann/x--y", "ann/x.git", "-ann/x", "ann/x:y", "a/b/c", "\ud800",
    "base_model.model." * 3 + "m.lora_A.weight", "m.lora_A.lora_B.weight", "m.lora_A.weight\n", ".lora_A.weight",
    "m.lora_A." + "-" * 300 + ".weight", "m" + ".lora_A.x" * 40, "__metadata__", "m.lora_magnitude_vector",
]  # fmt: skip
PATTERNS = ["[", "(?P<x>", "\\", "a{9}", "(?=m)*", ".*", "(" * 150 + ")" * 150, r".*\.(q|v)_proj", "(?P<idx>q)", ""]
SLOW = ["(a+)+$", "(.*)*x", "m.(?:a|a)*$", "(?:.*)*" * 9 + "z", "a{99999}{99999}", "((a{0,500}){0,500}){0,500}x"]


def make_inputs(chance: random.Random, count: int) -> Iterator[Input]:
    """Inputs of all kinds, the slow ones seldom."""
    weights = [weight for _, weight in KINDS.values()]
    for kind in chance.choices(list(KINDS), weights, k=count):
        target, data, size = KINDS[kind][0](chance)
        yield Input(kind, target, data, size)


Made = tuple[str, bytes, int | None]


def _config_value(chance: random.Random) -> dict[str, Any]:
    return {**SOUND, "r": chance.randint(1, 64), "rank_pattern": {"q": chance.randint(1, 9)}, "layers": [1, 2.5]}


def _header_value(chance: random.Random, tensors: int | None = None) -> tuple[dict[str, Any], int]:
    """A sound header: LoRA pairs, DoRA vectors, other tensors, metadata; and the bytes of its data."""
    value: dict[str, Any] = {"__metadata__": {"format": "pt"}} if chance.random() < 0.5 else {}
    end = 0
    for number in range(chance.randint(0, 6) if tensors is None else tensors):
        name = f"base_model.model.m.{number // 2}.q_proj.lora_{'AB'[number % 2]}.weight"
        if chance.random() < 0.1:
            name = f"m.{number}.lora_magnitude_vector"
        dtype, bits = chance.choice((("F32", 32), ("BF16", 16), ("I8", 8), ("F4", 4), ("F64", 64)))
        shape = [chance.choice((0, 1, 2, 4, 8)) for _ in range(chance.choice((0, 1, 2, 2, 2, 3)))]
        bits *= math.prod(shape)
        if bits % 8:
            dtype, bits = "U8", bits * 2
        value[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + bits // 8]}
        end += bits // 8
    return value, end


def _listing_value(chance: random.Random) -> dict[str, Any]:
    names = [CONFIG, WEIGHTS, "README.md", f"v2/{CONFIG}", f"a/b/{CONFIG}"]
    return {
        "id": "ann/x", "sha": SHA, "siblings": [{"rfilename": n} for n in names], "tags": ["license:mit", "lora"],
        "downloads": chance.randint(0, 99), "likes": 3, "gated": False, "private": False, "lastModified": "2025-01-01",
    }  # fmt: skip


def _text(value: object) -> bytes:
    return json.dumps(value).encode()


def _file(header: bytes, data: int, announced: bool = True) -> Made:
    """A weights file whose data are not there; nothing reads them before the download."""
    return "file", len(header).to_bytes(8, "little") + header, 8 + len(header) + data if announced else None


def _sound(chance: random.Random) -> Made:
    kind = chance.random()
    if kind < 0.2:
        return "config", _text(_config_value(chance)), None
    if kind < 0.3:
        return "listing", _text(_listing_value(chance)), None
    value, data = _header_value(chance)
    return _file(_text(value), data, chance.random() < 0.8)


def _retold(made: Made, text: bytes) -> Made:
    """The same thing with another text; a file's length and size follow, as an attacker's would."""
    target, data, size = made
    if target != "file":
        return target, text, None
    return _file(text, 0 if size is None else max(0, size - len(data)), size is not None)


def _json_text(made: Made) -> bytes:
    return made[1][8:] if made[0] == "file" else made[1]


def _swapped(values: Sequence[bytes], wanted: Callable[[bytes], bool], chance: random.Random) -> Made:
    """One to three tokens of a sound thing replaced by hostile ones."""
    made = _sound(chance)
    tokens: Tokens = _TOKEN.findall(_json_text(made))
    places = [i for i, token in enumerate(tokens) if wanted(token)]
    for _ in range(chance.randint(1, 3) if places else 0):
        tokens[chance.choice(places)] = chance.choice(values)
    return _retold(made, b"".join(tokens))


def _is_number(token: bytes) -> bool:
    return _NUMBER.match(token) is not None


def _is_string(token: bytes) -> bool:
    return token.startswith(b'"')


def _is_value(token: bytes) -> bool:
    return token[:1] not in b"[]{},:"


def _flipped(chance: random.Random) -> Made:
    target, data, size = _sound(chance)
    changed = bytearray(data)
    for _ in range(chance.randint(1, 4)):
        changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return target, bytes(changed), size


def _cut(chance: random.Random) -> Made:
    """The text ends early, or the file does after its header."""
    target, data, size = _sound(chance)
    if size is not None and chance.random() < 0.5:
        return target, data, chance.randint(len(data), max(len(data), size - 1))
    kept = chance.randrange(len(data))
    return target, data[:kept], kept if size is not None and chance.random() < 0.5 else size


def _wrong_length(chance: random.Random) -> Made:
    value, data = _header_value(chance)
    _, whole, size = _file(_text(value), data, chance.random() < 0.7)
    true = len(whole) - 8
    lengths = (1 << 60, (1 << 64) - 1, 1 << 63, HEADER_LIMIT, HEADER_LIMIT + 1, true - 1, true + 1, 0, true + 8)
    sizes = (size, size, 0, 7, 8, 1 << 60, 1 << 40, None)
    return "file", max(0, chance.choice(lengths)).to_bytes(8, "little") + whole[8:], chance.choice(sizes)


def _twice(chance: random.Random) -> Made:
    """One `"key": scalar` stands twice in its object, or a whole object's text does."""
    made = _sound(chance)
    tokens: Tokens = _TOKEN.findall(_json_text(made))
    pairs = [i for i in range(len(tokens) - 2) if tokens[i + 1] == b":" and _is_value(tokens[i + 2])]
    if pairs:
        at = chance.choice(pairs)
        tokens[at:at] = [*tokens[at : at + 3], b","]
    return _retold(made, b"".join(tokens))


def _deep(chance: random.Random) -> Made:
    depth = chance.choice((2, 62, 63, 64, 65, 127, 128, 129, 990, 5000, 60_000))
    opening, closing = chance.choice(((b"[", b"]"), (b'{"a":', b"}")))
    nest = opening * depth + (b"1" if opening != b"[" else b"") + closing * (depth if chance.random() < 0.8 else 0)
    return _swapped([nest], _is_value, chance)


def _not_utf8(chance: random.Random) -> Made:
    made = _sound(chance)
    text = _json_text(made)
    at = chance.randrange(len(text))
    bad = chance.choice(
        (b"\xff", b"\xc0\xaf", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", b"\xef\xbb\xbf", b"\x00", b"\x80")
    )
    return _retold(made, text[:at] + bad + text[at:])


def _offsets(chance: random.Random) -> Made:
    value, data = _header_value(chance, chance.randint(1, 4))
    entries = [entry for name, entry in value.items() if name != "__metadata__"]
    for entry in chance.sample(entries, chance.randint(1, len(entries))):
        start, end = entry["data_offsets"]
        by = chance.choice((1, -1, 8, -8, 1 << 32, 1 << 53, 1 << 62, -(1 << 63)))
        entry["data_offsets"] = chance.choice(
            (
                [start + by, end + by],
                [start, end + by],
                [end, start],
                [start],
                [start, end, end],
                [[start], end],
                None,
                "0,8",
            )
        )
    return _file(_text(value), data, chance.random() < 0.7)


def _shapes(chance: random.Random) -> Made:
    """Sides whose product overflows, is zero, or is far beyond the file; offsets that agree where they can."""
    value, data = _header_value(chance, chance.randint(0, 2))
    dtype, bits = chance.choice((("F32", 32), ("I8", 8), ("F64", 64), ("F4", 4)))
    sides = (0, 0, 1, 2, 3, 1 << 16, 1 << 31, 1 << 32, (1 << 32) + 1, 1 << 52, (1 << 53) - 1, 1 << 53, 1 << 63, 1 << 64)
    shape = [chance.choice(sides) for _ in range(chance.randint(1, 9))]
    wraps = chance.random() < 0.3  # what a 64-bit product would come to
    length = math.prod(shape) * bits // 8 % (1 << 64 if wraps else 1 << 200)
    value["m.lora_A.weight"] = {"dtype": dtype, "shape": shape, "data_offsets": [data, data + length]}
    return _file(_text(value), data + length, chance.random() < 0.7)


def _extra_fields(chance: random.Random) -> Made:
    """Fields that no writer writes, in entries that are sound without them."""
    value, data = _header_value(chance, 2)
    text = _text(value)
    pair = b',"x":' + chance.choice((*FLOATS, *HUGE, *INTEGERS, *SURROGATES, b"[{}]", b"null"))
    return _file(text.replace(b"]}", b"]" + pair + b"}", 1), data)


def _metadata(chance: random.Random) -> Made:
    value, data = _header_value(chance, 1)
    odd: Any = chance.choice(
        (None, 1, "x", [], {"a": 1}, {"a": None}, {"a": {"b": "c"}}, {"\ud800": "a"}, {"a": "\udc00"}, {"": ""})
    )
    return _file(_text({**value, "__metadata__": odd}), data)


def _names(chance: random.Random) -> Made:
    """Control characters, path tricks and odd LoRA names where names stand."""
    name = chance.choice(NAMES)
    target = chance.choice(("file", "listing", "listing", "config"))
    if target == "config":
        fields = ("base_model_name_or_path", "peft_type", "task_type")
        return target, _text({**_config_value(chance), chance.choice(fields): name}), None
    if target == "listing":
        listing = _listing_value(chance)
        place = chance.choice(("id", "sha", "file", "folder", "tag"))
        if place in ("id", "sha"):
            listing[place] = name
        elif place == "tag":
            listing["tags"] = [f"license:{name}"]
        else:
            listing["siblings"].append({"rfilename": name if place == "file" else f"{name}/{CONFIG}"})
        return target, _text(listing), None
    value, data = _header_value(chance, 2)
    value[name] = {"dtype": "I8", "shape": [2, 2], "data_offsets": [data, data + 4]}
    return _file(_text(value), data + 4)


def _regexes(patterns: Sequence[str], chance: random.Random) -> Made:
    """Regular expressions, sound and not, in every field that PEFT reads as one."""
    pattern = chance.choice(patterns)
    odd: Any = chance.choice((pattern, pattern, [pattern], {pattern: 8}, [[pattern]], [None], 1))
    fields = ("target_modules", "layers_pattern", "rank_pattern", "alpha_pattern", "modules_to_save", "exclude_modules")
    more = {"layers_to_transform": [0]} if chance.random() < 0.5 else {}
    return "config", _text({**_config_value(chance), **more, chance.choice(fields): odd}), None


def _listing_types(chance: random.Random) -> Made:
    """Listing fields of any type: the hub's JSON is nobody's promise."""
    listing = _listing_value(chance)
    odd = json.loads(
        '[null,1,-1,"x",[],{},[null,1,{"rfilename":3}],{"a":[]},true,[["license:mit"]],9223372036854775808]'
    )
    for name in chance.sample(list(listing), 3):
        listing[name] = chance.choice(odd)
    return "listing", _text(listing), None


def _random_bytes(chance: random.Random) -> Made:
    data = chance.randbytes(chance.choice((0, 1, 7, 8, 9, 40, 200, 2000)))
    if chance.random() < 0.5 and len(data) > 8:  # a length that fits, else nearly all end at the first check
        data = (len(data) - 8).to_bytes(8, "little") + data[8:]
    return chance.choice(("config", "file", "listing")), data, chance.choice((None, len(data)))


def _soup(chance: random.Random) -> Made:
    """JSON's own tokens in any order."""
    pieces = b'{ } [ ] , : "a" "dtype" "shape" 1 null " \\ - e'.split()
    text = b"{" + b"".join(chance.choices(pieces, k=chance.randint(1, 30))) + b"}"
    return _retold((chance.choice(("config", "file", "listing")), bytes(8), 8), text)


def _many(chance: random.Random) -> Made:
    """Thousands of tensors, all sound or the last one broken."""
    value, data = _header_value(chance, chance.choice((1000, 3000)))
    if chance.random() < 0.5:
        value["z"] = {"dtype": "I8", "shape": [1], "data_offsets": [0, 1]}
    return _file(_text(value), data)


def _near_limits(chance: random.Random) -> Made:
    """As much as the limits let through, of what is slow to read."""
    limit, target = chance.choice(((CONFIG_LIMIT, "config"), (HEADER_LIMIT, "file")))
    room = limit - 200 + chance.choice((0, 0, 400))
    text = chance.choice(
        (
            b'{"a":[' + b",".join([b"0"] * (room // 2)) + b"]}",
            b'{"a":[' + b",".join([b"[]"] * (room // 3)) + b"]}",
            b"[" * room,
            b'{"a":' * (room // 5),
            b'{"peft_type":[' + b",".join([b"9" * 4000] * (room // 4001)) + b"]}",
            b'{"a":' + b"9" * room + b"}",
            b'{"a":0.' + b"9" * room + b"}",
            b"{}" + b" " * room,
            b"{" + b",".join(b'"%d":0' % i for i in range(room // 12)) + b"}",
        )
    )
    return _retold((target, bytes(8), 8 + 4), text)


def _long_names(chance: random.Random) -> Made:
    """One name as long as a header may be, made of what the readers look for in names."""
    repeated = chance.choice(
        (b"base_model.model.", b".lora_A.x", b".lora_A.", b"lora_A.lora_B.", b"a", b"-", rb"\u0001")
    )
    name = repeated * (chance.choice((1000, 100_000, HEADER_LIMIT - 200)) // len(repeated))
    entry = b'{"dtype":"I8","shape":[2,2],"data_offsets":[0,4]}'
    return _file(b'{"' + name + chance.choice((b"m.lora_A.weight", b"m.lora_A.", b"")) + b'":' + entry + b"}", 4)


Maker = Callable[[random.Random], Made]
KINDS: Mapping[str, tuple[Maker, float]] = {
    "sound": (_sound, 6),
    "bits flipped": (_flipped, 12),
    "cut short": (_cut, 6),
    "wrong length": (_wrong_length, 6),
    "keys twice": (_twice, 6),
    "nested": (_deep, 2),
    "integers": (partial(_swapped, INTEGERS, _is_number), 8),
    "huge integers": (partial(_swapped, HUGE, _is_number), 3),
    "floats": (partial(_swapped, FLOATS, _is_number), 6),
    "surrogates": (partial(_swapped, SURROGATES, _is_string), 5),
    "not UTF-8": (_not_utf8, 5),
    "other types": (partial(_swapped, [b"null", b"true", b"[]", b"{}", b'""', b"0", b'"a"'], _is_value), 6),
    "offsets": (_offsets, 6),
    "dtypes": (partial(_swapped, [b'"' + d + b'"' for d in DTYPES], _is_string), 4),
    "shapes": (_shapes, 6),
    "extra fields": (_extra_fields, 3),
    "metadata": (_metadata, 3),
    "names": (_names, 5),
    "regexes": (partial(_regexes, PATTERNS), 3),
    "slow regexes": (partial(_regexes, SLOW), 0.03),
    "listing types": (_listing_types, 4),
    "random bytes": (_random_bytes, 6),
    "token soup": (_soup, 5),
    "thousands": (_many, 0.15),
    "long names": (_long_names, 0.1),
    "near limits": (_near_limits, 0.05),
    "packed bodies": (lambda chance: ("body", make_packed(chance), None), 6),
}


# Telling
