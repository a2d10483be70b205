"""Training of gates on the tiny base: the form it trains is the form that answers, seeds decide, bounds hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from catalog.errors import SettingError
from catalog.tasks.task import Example, Task
from lorauter.engine.engine import Engine
from lorauter.gates.lora_flow import LoraFlowGate, bias_name, weight_name
from lorauter.gates.meteora import MeteoraGate
from lorauter.gates.named import named_gate
from lorauter.gates.protocol import GatedRoute
from lorauter.gates.ramole import RamoleGate
from lorauter.gates.row_gates import OwnGate, RowGate
from lorauter.routing.task_index import EncoderId, TaskIndex
from lorauter.train import lora_flow as flow_training
from lorauter.train import meteora as meteora_training
from lorauter.train import ramole as ramole_training
from lorauter.train.fit import Fit, FitParts
from lorauter.train.gate_parts import base_of
from lorauter.train.gate_texts import GateText, gate_texts
from lorauter.train.gated_base import GatedBase
from lorauter.train.lora_flow import LoraFlowFit
from lorauter.train.meteora import MeteoraFit
from lorauter.train.ramole import RamoleFit
from lorauter.train.token_batches import token_batch
from lorauter.trained.state import TrainedState

pytestmark = pytest.mark.usefixtures("one_thread")

KEYS = ("linear", "narrow", "wide")
WORDS = {"colours": ("red", "blue"), "animals": ("cat", "dog"), "ways": ("north", "south")}
TEXTS = [([5, 6, 7, 8], [9, 0]), ([11, 12], [13, 14, 0]), ([21, 22, 23, 24, 25, 26], [0])]
SMALL = {"half": False, "steps": 6, "most_held": 4}
SMALL_FITS: list[Fit] = [MeteoraFit(**SMALL), RamoleFit(**SMALL), LoraFlowFit(**SMALL)]


class ByTask:
    """Embeds a text by the words of its task."""

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        near = [[1.0 + 9 * any(word in text for word in words) for words in WORDS.values()] for text in texts]
        return np.asarray(near, dtype=np.float32) / np.linalg.norm(near, axis=1, keepdims=True).astype(np.float32)


def task_of(name: str, trained: bool) -> Task:
    one, other = WORDS[name]
    examples = tuple(Example(f"{one} {n} {other}", one if n % 2 else other) for n in range(15))
    return Task(name, "exact_match", validation=examples[:10], train=examples[10:] if trained else ())


@pytest.fixture(scope="module")
def parts(tiny_engine: Engine, tiny_hub_folder: Path) -> FitParts:
    means = np.asarray([[9.0, 2, 1], [2, 9, 1], [1, 3, 9]], dtype=np.float32)
    index = TaskIndex("tiny", "sha", tuple(WORDS), means, KEYS, (None,) * 3, EncoderId("e", "sha", "hash"))
    tasks = tuple(task_of(name, trained=name == "ways") for name in WORDS)
    return FitParts(
        index,
        tasks,
        inputs=lambda: pytest.fail("not read"),
        encoder=ByTask,  # type: ignore[arg-type, return-value]
        pool=(*KEYS, "dora"),
        doras=frozenset(["dora"]),
        read=tiny_engine.weights_of,
        base_folder=lambda: tiny_hub_folder / "tiny/llama",
    )


@pytest.fixture(scope="module")
def base(parts: FitParts) -> GatedBase:
    return base_of(parts, KEYS, half=False)


def trained(fit: Fit, parts: FitParts, folder: Path, seconds: float = 600.0, seed: int = 0) -> TrainedState:
    folder.mkdir(exist_ok=True)
    return fit.train(parts, seconds, seed, lambda *told: None, folder)


# -- one form -------------------------------------------------------------------------------------


def moved(tensors: dict[str, torch.nn.Parameter]) -> dict[str, torch.Tensor]:
    """Parameters away from their start."""
    generator = torch.Generator().manual_seed(4)
    return {name: p.detach() + torch.randn(p.shape, generator=generator) for name, p in tensors.items()}


def engine_logits(engine: Engine, gate: RowGate, rows: Sequence[tuple[str, ...]]) -> torch.Tensor:
    """Logits after the prompts of TEXTS, by the engine."""
    prompts = [engine.tokenizer.decode(prompt) for prompt, _ in TEXTS]
    assert engine.prompt_tokens.of(prompts) == [prompt for prompt, _ in TEXTS]
    return engine.next_logits(prompts, [OwnGate(gate, keys, "t") for keys in rows])


def test_meteora_trains_the_form_that_answers(tiny_engine: Engine, base: GatedBase) -> None:
    gates = moved(meteora_training.starting_gates(base, seed=1))
    batch = token_batch([(prompt, []) for prompt, _ in TEXTS], 0, "cpu", whole=True)

    logits = base.logits(batch, lambda module, x, _: meteora_training.trained_weights(x @ gates[module].T))

    answered = engine_logits(tiny_engine, MeteoraGate(gates, KEYS), [KEYS] * 3)
    torch.testing.assert_close(logits[:, -1], answered, atol=1e-4, rtol=1e-4)


def test_ramole_trains_the_form_that_answers(tiny_engine: Engine, base: GatedBase) -> None:
    factors = moved(ramole_training.starting_factors(base, rank=3, seed=1))
    batch = token_batch([(prompt, []) for prompt, _ in TEXTS], 0, "cpu", whole=True)
    there = torch.tensor([[True, True, False], [True, True, True], [False, False, True]])

    logits = base.logits(batch, ramole_training.weigher(base, factors, there))

    rows = [("linear", "narrow"), KEYS, ("wide",)]
    answered = engine_logits(tiny_engine, RamoleGate(factors, tiny_engine.weights_of), rows)
    torch.testing.assert_close(logits[:, -1], answered, atol=1e-4, rtol=1e-4)


def test_lora_flow_trains_the_form_that_answers(tiny_engine: Engine, base: GatedBase) -> None:
    gate = moved(flow_training.starting_gate(base, "t"))
    batch = token_batch([(prompt, []) for prompt, _ in TEXTS], 0, "cpu", whole=True)

    logits = base.logits(batch, weigh_block=flow_training.weigher(gate, "t"))

    answered = engine_logits(tiny_engine, LoraFlowGate(gate, {"t": KEYS}), [KEYS] * 3)
    torch.testing.assert_close(logits[:, -1], answered, atol=1e-4, rtol=1e-4)


# -- losses ---------------------------------------------------------------------------------------


def test_a_batch_foretells_completions_or_whole_texts() -> None:
    answers, whole = (token_batch(TEXTS, 99, "cpu", whole) for whole in (False, True))

    assert answers.ids.tolist() == [[99, 5, 6, 7, 8, 9, 0], [99, 99, 11, 12, 13, 14, 0], [21, 22, 23, 24, 25, 26, 0]]
    assert answers.positions[1].tolist() == [0, 0, 0, 1, 2, 3, 4]
    assert answers.goals.tolist() == [[-100, 9, 0, -100], [13, 14, 0, -100], [-100, -100, 0, -100]]
    assert whole.goals[1].tolist() == [-100, -100, 12, 13, 14, 0, -100]


def test_meteoras_loss_is_the_texts_and_50_times_the_gates(base: GatedBase) -> None:
    gates = meteora_training.starting_gates(base, seed=1)
    texts = [GateText(n, "", row) for n, row in enumerate(TEXTS)]

    bare, whole = (meteora_training.loss_of(base, gates, texts, [0, 1, 2], c).item() for c in (0.0, 50.0))

    seen: dict[str, torch.Tensor] = {}

    def watch(module: str, x: torch.Tensor, _hidden: torch.Tensor) -> torch.Tensor:
        seen[module] = x @ gates[module].T
        return meteora_training.trained_weights(seen[module])

    batch = token_batch(TEXTS, 0, "cpu", whole=True)
    logits = base.logits(batch, watch)
    named = [
        [torch.log_softmax(logit[row, -length:], -1)[:, row] for row, length in enumerate((6, 5, 7))]
        for logit in seen.values()
    ]
    own = -torch.stack([torch.cat(rows).mean() for rows in named]).mean()
    assert bare == pytest.approx(float(batch.loss(logits)), abs=1e-4)
    assert whole == pytest.approx(bare + 50 * float(own), abs=1e-3)


def test_dropout_leaves_every_row_one_of_its_candidates() -> None:
    there = torch.tensor([[True, True, True, False]] * 200 + [[False, True, False, False]] * 200)

    kept = ramole_training.dropped(there, 0.5, torch.Generator().manual_seed(0))

    assert not (kept & ~there).any()
    assert kept.any(1).all()
    assert 0.5 < float(kept[:200, :3].float().mean()) < 0.62  # .5, and where none was left 1/3 of 1/8 more


# -- fits -----------------------------------------------------------------------------------------


def test_no_test_example_is_read_and_a_task_without_training_split_trains_on_validation(
    parts: FitParts, base: GatedBase
) -> None:
    texts = gate_texts(parts, base.tokenizer, most_train=100, most_held=100)

    counts = [(len(texts.of(task).train), len(texts.of(task).held)) for task in range(3)]
    assert counts == [(8, 2), (8, 2), (13, 2)]
    assert {text.input for text in texts.train}.isdisjoint({text.input for text in texts.held})
    assert texts.of(2).train[0].input == parts.tasks[2].train[0].input


@pytest.mark.parametrize("fit", SMALL_FITS, ids=lambda fit: fit.name)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(fit: Fit, parts: FitParts, tmp_path: Path) -> None:
    torch.manual_seed(1)
    one = trained(fit, parts, tmp_path / "one")
    torch.manual_seed(2)
    again, other = trained(fit, parts, tmp_path / "again"), trained(fit, parts, tmp_path / "other", seed=5)

    assert (one.bytes, one.facts) == (again.bytes, again.facts)
    assert one.bytes != other.bytes
    assert one.facts["trained_on"] > 20


@pytest.mark.parametrize("fit", SMALL_FITS, ids=lambda fit: fit.name)
def test_a_bound_of_no_seconds_gives_the_start_and_says_so(fit: Fit, parts: FitParts, tmp_path: Path) -> None:
    state = trained(fit, parts, tmp_path, seconds=0.0)

    assert (state.facts["steps"], state.facts["ended"]) == (0, "bound in seconds")
    assert all(np.isfinite(tensor).all() for tensor in state.tensors.values())


def test_meteoras_gates_learn_which_words_are_whose(parts: FitParts, base: GatedBase, tmp_path: Path) -> None:
    fit = MeteoraFit(half=False, steps=50, learning_rate=2e-2)

    state = trained(fit, parts, tmp_path)

    texts = gate_texts(parts, base.tokenizer, 100, 100).held
    first, named = [text.row[0][0] for text in texts], "model.layers.0.self_attn.q_proj"
    seen: list[torch.Tensor] = []

    def watch(module: str, x: torch.Tensor, _hidden: torch.Tensor) -> torch.Tensor:
        logits = x @ torch.from_numpy(state.tensors[module]).T
        seen.extend([logits[:, 0]] if module == named else [])
        return meteora_training.trained_weights(logits)

    with torch.no_grad():
        base.logits(token_batch([([token], [0]) for token in first], 0, "cpu", whole=True), watch)
    assert seen[0].argmax(-1).tolist() == [text.task for text in texts]


def test_lora_flow_weighs_each_tasks_own_adapter_last_and_the_nearest_others_first(parts: FitParts) -> None:
    assert flow_training.candidates_of(parts.index, parts.doras, others=1) == {
        "colours": ("narrow", "linear"),
        "animals": ("linear", "narrow"),
        "ways": ("narrow", "wide"),
    }
    assert set(flow_training.candidates_of(parts.index, frozenset(["wide"]), others=2)) == {"colours", "animals"}


def test_lora_flow_goes_on_with_the_tasks_that_are_left(parts: FitParts, tmp_path: Path) -> None:
    fit, told = LoraFlowFit(**SMALL), list[int]()

    class Killed(Exception):
        pass

    def kill(step: int, _most: int, _loss: float) -> None:
        told.append(step)
        if step > 6:
            raise Killed

    with pytest.raises(Killed):
        fit.train(parts, 600.0, 0, kill, tmp_path)

    assert (tmp_path / "task-0.json").exists() and not (tmp_path / "task-1.json").exists()
    (tmp_path / "whole").mkdir()
    assert trained(fit, parts, tmp_path).bytes == trained(fit, parts, tmp_path / "whole").bytes


@pytest.mark.parametrize("fit", SMALL_FITS, ids=lambda fit: fit.name)
def test_a_trained_state_answers_by_its_name(
    fit: Fit, parts: FitParts, tiny_hub_folder: Path, tiny_pool: Callable[[str], Path], tmp_path: Path
) -> None:
    made = trained(fit, parts, tmp_path)
    state = TrainedState(made.tensors, {**made.facts, "adapters": list(KEYS)})
    engine = Engine(
        tiny_hub_folder / "tiny/llama",
        device="cpu",
        dtype="float32",
        find_adapter=tiny_pool,
        read_state={state.sha: state}.__getitem__,
    )
    part = "ways" if fit.name == "lora_flow" else ""
    gate = named_gate(fit.name, KEYS, state.sha, part)

    scores = engine.score_options(["red 1 blue"] * 2, [["red", "blue"]] * 2, [GatedRoute(gate)] * 2)

    tensors = {name: torch.from_numpy(tensor) for name, tensor in state.tensors.items()}
    plain: dict[str, Callable[[], RowGate]] = {
        "meteora": lambda: MeteoraGate(tensors, KEYS),
        "ramole": lambda: RamoleGate(tensors, engine.weights_of),
        "lora_flow": lambda: LoraFlowGate(tensors, state.facts["candidates"]),
    }
    own = GatedRoute(OwnGate(plain[fit.name](), KEYS, part))
    assert scores == engine.score_options(["red 1 blue"] * 2, [["red", "blue"]] * 2, [own] * 2)


def test_parts_without_a_base_or_a_gateable_adapter_are_refused(parts: FitParts, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="trained through the base, and there is none"):
        trained(MeteoraFit(), replace(parts, base_folder=None), tmp_path)
    bare = replace(parts, index=replace(parts.index, best=("", "", "")))
    with pytest.raises(SettingError, match="No task publishes an adapter"):
        trained(MeteoraFit(), bare, tmp_path)


def test_names_of_lora_flows_tensors_tell_tasks_and_blocks_apart() -> None:
    assert {weight_name("a", "b.1"), bias_name("a", "b.1"), weight_name("a", "b.2")} == {
        "a|b.1.w",
        "a|b.1.b",
        "a|b.2.w",
    }
