"""Stops that are special tokens, or begin with one: they end an answer by their tokens, and change no other text.

The tiny model gets two tokenizers of one vocabulary, in which every byte but ASCII is a token `<|n|>`: one leaves those
out of texts, as special tokens are, the other shows them. What the first answers must be what the second shows, cut.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from flows.demo.base import gguf_path
from lorauter.engine.answers import Answer
from lorauter.engine.decoding import Decoding
from lorauter.engine.engine import Engine
from lorauter.engine.memory_budget import Budget
from lorauter.engine.stopping import Stopping
from lorauter.routing.routes import Route
from tests.lorauter.engine.kinds import ONE_EACH, PROMPTS

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTH = 24
MARK = re.compile(r"<\|\d+\|>")


@pytest.fixture(scope="module")
def engines(base_dir: Path, find: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> list[Engine]:
    """The engine whose tokenizer hides the marks, and the one whose tokenizer shows them."""
    made = []
    for special in (True, False):
        folder = tmp_path_factory.mktemp("marked") / "base"
        shutil.copytree(base_dir, folder)
        marked_tokenizer(special).save_pretrained(folder)
        made.append(Engine(folder, device="cpu", dtype="float32", find_adapter=find))
    return made


def marked_tokenizer(special: bool) -> PreTrainedTokenizerFast:
    kept = {"Ġ", "Ċ"}  # a blank and a line's end
    signs = ["<end>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    texts = [sign if sign.isascii() or sign in kept else f"<|{n}|>" for n, sign in enumerate(signs)]
    tokenizer = Tokenizer(models.BPE(vocab={text: n for n, text in enumerate(texts)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = [AddedToken(text, special=special, normalized=False) for text in texts if MARK.fullmatch(text)]
    (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(marks)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")


def cut(shown: str, stops: tuple[str, ...]) -> str:
    """What is left of a text that shows its marks: up to the first of the stops, without marks or leading blanks."""
    ends = [end for stop in stops if (end := shown.find(stop)) >= 0]
    return MARK.sub("", shown[: min(ends, default=len(shown))]).lstrip()


def answers(engine: Engine, *stops: str, **how: Any) -> list[str]:
    """The rows under the adapters of every kind, in one batch."""
    return engine.answer(PROMPTS, [Route(mixture) for mixture in ONE_EACH], LENGTH, stops, **how)


@pytest.fixture(scope="module")
def shown(engines: list[Engine]) -> list[str]:
    """Every row's whole answer, with its marks."""
    return answers(engines[1], "")


def test_the_rows_write_many_marks(shown: list[str]) -> None:
    assert min(len(MARK.findall(text)) for text in shown) >= 2


def test_a_mark_ends_the_rows_that_write_it_and_leaves_the_others_alone(
    engines: list[Engine], shown: list[str]
) -> None:
    for text in shown:
        stop = MARK.findall(text)[1]

        assert answers(engines[0], stop) == [cut(text, (stop,)) for text in shown]


def test_the_first_of_several_ends_a_row(engines: list[Engine], shown: list[str]) -> None:
    stops = tuple(MARK.findall(text)[-1] for text in shown)

    assert answers(engines[0], *stops) == [cut(text, stops) for text in shown]


def test_what_follows_a_mark_in_a_stop_must_follow_in_the_answer(engines: list[Engine], shown: list[str]) -> None:
    longer = [found[0] for text in shown for found in re.finditer(r"<\|\d+\|>[^<]{1,3}|<\|\d+\|><\|\d+\|>", text)]
    stops = (*longer[::3], f"{longer[0]}never")

    assert answers(engines[0], *stops) == [cut(text, stops) for text in shown]
    assert longer


def test_rows_one_by_one_end_as_in_a_batch(engines: list[Engine], shown: list[str]) -> None:
    stops = tuple(MARK.findall(text)[1] for text in shown)

    one_by_one = answers(engines[0], *stops, budget=Budget(1, 1))

    assert one_by_one == [cut(text, stops) for text in shown]


def test_a_drawn_text_ends_at_a_mark_too(engines: list[Engine]) -> None:
    drawn = Decoding(temperature=2.0, seed=3)
    whole = answers(engines[1], "", decoding=drawn)
    stop = MARK.findall(whole[0])[1]

    assert answers(engines[0], stop, decoding=drawn) == [cut(text, (stop,)) for text in whole]


def test_a_stop_without_marks_is_what_it_was(engines: list[Engine], shown: list[str]) -> None:
    """Marks are no part of the text that such a stop is looked for in."""
    letter = cut(shown[0], ())[3]

    texts = answers(engines[0], letter)

    wholes = [cut(text, ()) for text in shown]
    assert texts == [whole[: end if (end := whole.find(letter, 1)) > 0 else None] for whole in wholes]


def test_an_answer_that_a_mark_ends_is_not_cut_by_its_bound(engines: list[Engine], shown: list[str]) -> None:
    stop = MARK.findall(shown[0])[0]

    text, *_ = answers(engines[0], stop)

    assert (text.cut, answers(engines[0], "")[0].cut) == (False, True)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def smollm2() -> Any:
    return AutoTokenizer.from_pretrained(gguf_path().parent, gguf_file=gguf_path().name)


@pytest.mark.parametrize(
    ("stops", "written", "text"),
    [
        (("<|im_end|>",), "Red.<|im_end|>\n<|im_start|>user", "Red."),
        (("\n", "<|im_end|>"), "Red.\n<|im_end|>", "Red."),
        (("<|im_end|>\n",), "Red.<|im_end|>\nBlue", "Red."),
        (("<|im_end|>\n",), "Red.<|im_end|> or blue", "Red. or blue"),
        (("<|im_start|>user",), "Red<|im_start|>assistant and<|im_start|>user", "Redassistant and"),
        (("<|im_end|>",), "<|im_end|>Red.", ""),
        (("<file_sep>",), "x = 1<file_sep>y = 2", "x = 1"),
        (("<|eot_id|>",), "Red.<|eot_id|>Blue", "Red."),
        (("\n",), "Red.<|im_end|>Blue\nGreen", "Red.Blue"),
        ((), "Red.<|im_end|>Blue", "Red.Blue"),
    ],
)
def test_smollm2_ends_as_its_tokens_say(smollm2: Any, stops: tuple[str, ...], written: str, text: str) -> None:
    """`<|eot_id|>` is no token of it: six tokens that are text, as ever."""
    tokens = smollm2(written, add_special_tokens=False)["input_ids"]
    answer, stopping = Answer(limit=len(tokens)), Stopping(smollm2, stops)

    for token in tokens:
        answer.take(token, (), stopping)

    assert (answer.text, answer.done) == (text, True)
