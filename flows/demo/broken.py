"""Broken repos: one of each kind that a crawl of a real hub meets, made from one good adapter.

Knows: how adapters break, and the reason each kind should be rejected for. Does not know: the rules that
find it out, the hub that serves it. The same input gives the same bytes. Pickles are written, never loaded.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

ORG = "wild"
OTHER_BASE = "TinyLlama/TinyLlama-1.1B-Chat-v1.0"
CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
_KEPT_LAYERS = 2  # two layers break as well as thirty do, and keep a repo small
_OTHER_HIDDEN, _OTHER_KEYS, _OTHER_RANK = 2048, 256, 4  # TinyLlama's hidden size and its k/v width

Files = dict[str, bytes]


@dataclass(frozen=True, slots=True)
class Good:
    """The adapter that everything is broken from."""

    config: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    original: bytes
    base_id: str

    @property
    def few(self) -> dict[str, Tensor]:
        """The weights of the first layers."""
        layers = {key: _layer_of(key) for key in self.weights}
        return {key: self.weights[key] for key, layer in layers.items() if layer is None or layer < _KEPT_LAYERS}

    def config_bytes(self, **changes: object) -> bytes:
        return json.dumps({**self.config, **changes}, indent=2, sort_keys=True).encode()

    def files(self, weights: Mapping[str, Tensor] | None = None, **changes: object) -> Files:
        """A sound adapter's two files, with other weights or config fields where given."""
        kept = weights or self.few
        return {CONFIG: self.config_bytes(**_layers(kept, self.weights), **changes), WEIGHTS: _safetensors(kept)}


def _layer_of(key: str) -> int | None:
    found = re.search(r"\.(?:layers|h)\.(\d+)\.", key)
    return int(found[1]) if found else None


def _layers(kept: Mapping[str, Tensor], whole: Mapping[str, Tensor]) -> dict[str, object]:
    """The field that says which layers are meant, where some were left out: else tensors would be missing."""
    layers, all_layers = ({_layer_of(key) for key in weights} - {None} for weights in (kept, whole))
    return {"layers_to_transform": sorted(layers, key=str)} if layers < all_layers else {}


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to break: the reason for its rejection ("" = admitted), its files, their folder in the repo."""

    reason: str
    make: Callable[[Good], Files]
    folder: str = ""


def write_broken(out_dir: Path, good_adapter: Path, base_id: str) -> dict[str, str]:
    """Write one repo a kind under `out_dir/ORG/`, and say what to expect.

    Args:
        out_dir: a mirror's folder. good_adapter: holds adapter_config.json and adapter_model.safetensors.
        base_id: the base that every card claims, so that a crawl for it meets all of them.

    Returns:
        Adapter name (`org/repo` or `org/repo:folder`) → expected reason, "" for the one that is fine.
    """
    good = _read_good(good_adapter, base_id)
    expected = {}
    for repo, kind in KINDS.items():
        root = out_dir / ORG / repo
        _write(root, {"README.md": _card(base_id, repo).encode()})
        _write(root / kind.folder, kind.make(good))
        expected[f"{ORG}/{repo}:{kind.folder}" if kind.folder else f"{ORG}/{repo}"] = kind.reason
    return expected


def _read_good(folder: Path, base_id: str) -> Good:
    from safetensors.torch import load

    original = (folder / WEIGHTS).read_bytes()
    config = json.loads((folder / CONFIG).read_text()) | {"base_model_name_or_path": base_id}
    # In order: safetensors hands tensors over in any, and a pickle would keep it.
    return Good(config, dict(sorted(load(original).items())), original, base_id)


def _write(folder: Path, files: Files) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def _card(base_id: str, repo: str) -> str:
    front = f"base_model: {json.dumps(base_id)}\nlibrary_name: peft\nlicense: apache-2.0\ntags:\n- lora\n"
    body = f"# {repo}\n\nBroken on purpose. <script>alert('cards are hostile too')</script>\n"
    return f"---\n{front}---\n{body}"


def _safetensors(weights: Mapping[str, Tensor]) -> bytes:
    from safetensors.torch import save

    content: bytes = save({key: tensor.contiguous() for key, tensor in weights.items()}, {"format": "pt"})
    return content


def _nan_weights(good: Good) -> Files:
    """One single NaN, in the last tensor: a spot check would miss it."""
    weights = dict(good.few)
    last = max(weights)
    weights[last] = weights[last].clone()
    weights[last].view(-1)[-1] = float("nan")
    return good.files(weights)


def _zero_b(good: Good) -> Files:
    return good.files({key: w.new_zeros(w.shape) if "lora_B" in key else w for key, w in good.few.items()})


def _pickle_only(good: Good) -> Files:
    import torch

    pickled = io.BytesIO()
    torch.save(good.few, pickled)
    return {CONFIG: good.config_bytes(), PICKLE: pickled.getvalue()}


def _lfs_pointer(good: Good) -> Files:
    oid, size = hashlib.sha256(good.original).hexdigest(), len(good.original)
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{oid}\nsize {size}\n"
    return {CONFIG: good.config_bytes(), WEIGHTS: pointer.encode()}


def _wrong_base(good: Good) -> Files:
    """Trained on another model, shapes and all; only the card claims our base."""
    widths = {"q_proj": _OTHER_HIDDEN, "v_proj": _OTHER_KEYS}
    weights = {}
    for layer in range(_KEPT_LAYERS):
        for module, width in widths.items():
            prefix = f"base_model.model.model.layers.{layer}.self_attn.{module}"
            weights[f"{prefix}.lora_A.weight"] = _ramp(_OTHER_RANK, _OTHER_HIDDEN)
            weights[f"{prefix}.lora_B.weight"] = _ramp(width, _OTHER_RANK)
    changes = {"r": _OTHER_RANK, "target_modules": list(widths), "base_model_name_or_path": OTHER_BASE}
    return good.files(weights, **changes)


def _ramp(rows: int, columns: int) -> Tensor:
    import torch

    return torch.linspace(-0.01, 0.01, rows * columns).reshape(rows, columns).to(torch.float16)


def _ia3(good: Good) -> Files:
    heads = {key: w for key, w in good.few.items() if key.endswith("v_proj.lora_B.weight")}
    weights = {key.replace("lora_B.weight", "ia3_l"): w.new_ones((w.shape[0], 1)) for key, w in heads.items()}
    config = {
        "base_model_name_or_path": good.base_id,
        "peft_type": "IA3",
        "task_type": "CAUSAL_LM",
        "target_modules": ["v_proj"],
        "feedforward_modules": [],
        "inference_mode": True,
    }
    return {CONFIG: json.dumps(config, indent=2).encode(), WEIGHTS: _safetensors(weights)}


def _truncated(good: Good) -> Files:
    """An upload that broke off: the header is whole, half of the weights are not there."""
    whole = _safetensors(good.few)
    header = 8 + int.from_bytes(whole[:8], "little")
    return {CONFIG: good.config_bytes(), WEIGHTS: whole[: header + (len(whole) - header) // 2]}


def _header_bomb(good: Good) -> Files:
    """A header that declares 2^60 bytes: who allocates first and looks later is out of memory."""
    return {CONFIG: good.config_bytes(), WEIGHTS: (1 << 60).to_bytes(8, "little") + b'{"__metadata__":{}}'}


def _bad_config(good: Good) -> Files:
    return good.files() | {CONFIG: b"{'r': 8, 'peft_type': 'LORA',  # saved by hand\n"}


def _foreign_keys(good: Good) -> Files:
    """Keys of a GPT-2 style model: PEFT loads them without a word, and the output equals the base's."""
    return good.files({key.replace("model.layers.", "transformer.h."): w for key, w in good.few.items()})


def _triple_prefix(good: Good) -> Files:
    """Saved from a model wrapped thrice: PEFT finds none of the keys, says nothing, and answers like the base."""
    return good.files({"base_model.model." * 2 + key: w for key, w in good.few.items()})


def _misnamed(good: Good) -> Files:
    """Downloaded and uploaded by hand."""
    files = good.files()
    return {CONFIG: files[CONFIG], f"Copy of {WEIGHTS}": files[WEIGHTS]}


def _mlx(good: Good) -> Files:
    """Another tool's file of the same name."""
    config = {"fine_tune_type": "lora", "lora_parameters": {"rank": 8, "scale": 20.0}, "model": good.base_id}
    weights = {key.removeprefix("base_model.model.").replace(".weight", ""): w for key, w in good.few.items()}
    return {CONFIG: json.dumps(config, indent=2).encode(), "adapters.safetensors": _safetensors(weights)}


def _full_model(good: Good) -> Files:
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 8,
        "vocab_size": 16,
    }
    weights = _safetensors({"model.embed_tokens.weight": _ramp(16, 8)})
    return {"config.json": json.dumps(config).encode(), "model.safetensors": weights}


def _copy(good: Good) -> Files:
    return {CONFIG: good.config_bytes(), WEIGHTS: good.original}


def _scaled(good: Good) -> Files:
    """The whole adapter a little weaker: sound, and no duplicate."""
    return good.files({key: w * 0.96875 if "lora_B" in key else w for key, w in good.weights.items()})


KINDS: dict[str, Kind] = {
    "nan-weights": Kind("non_finite", _nan_weights),
    "zero-b": Kind("zero_b", _zero_b),
    "pickle-only": Kind("pickle_only", _pickle_only),
    "lfs-pointer": Kind("lfs_pointer", _lfs_pointer),
    "other-base": Kind("wrong_base", _wrong_base),
    "ia3": Kind("peft_type", _ia3),
    "half-upload": Kind("truncated", _truncated),
    "header-bomb": Kind("bad_header", _header_bomb),
    "name-encoded": Kind("hostile_name", Good.files, "..%2f..%2fetc"),
    "name-backslash": Kind("hostile_name", Good.files, "..\\..\\windows"),
    "name-control": Kind("hostile_name", Good.files, "red\x1b[31m\nalert"),
    "name-markup": Kind("hostile_name", Good.files, "<script>alert(1)<script>"),
    "bad-config": Kind("bad_config", _bad_config),
    "classifier": Kind("task_type", lambda good: good.files(task_type="SEQ_CLS")),
    "copycat": Kind("duplicate", _copy),
    "full-model": Kind("no_adapter", _full_model),
    "foreign-keys": Kind("no_matching_modules", _foreign_keys),
    "triple-prefix": Kind("key_prefix", _triple_prefix),
    "misnamed": Kind("misnamed_weights", _misnamed),
    "mlx": Kind("not_peft", _mlx),
    "empty-file": Kind("truncated", lambda good: {CONFIG: good.config_bytes(), WEIGHTS: b""}),
    "config-only": Kind("no_weights", lambda good: {CONFIG: good.config_bytes()}),
    "checkpoints": Kind("", _scaled, "checkpoint-200"),
}
