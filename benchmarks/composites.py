"""Composite tasks: three demo tasks in one prompt, two skills in one answer. No adapter of the pool trained on any.

Knows: what they are made of, how a text is scored part by part. Does not know: routers, gates, adapters.

    python -m benchmarks.composites FOLDER        # task folders, for `lorauter tasks add FOLDER`

What mixes adapters token by token should gain here: the demo's own tasks need one skill each.

- three_N         three inputs in one prompt, numbered; the answer is their three answers, joined by "; ".
- letter_record   a letter, formal or not, and a record: a greeting of the same register, then the record as a sentence.
- plural_past     a noun and a verb: the plural of one, the past of the other.

Drawn from fixed seeds: 40 examples train, 16 validate, 50 test; the test's phrasings and words are those that the demo
keeps for its test splits. No text is stored with the project.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Callable, Sequence
from pathlib import Path

from catalog.tasks.metrics import METRICS
from catalog.tasks.task import Example, Task
from flows.demo.tasks import Slots, build_tasks, draw_formal, draw_past, draw_plural, draw_record
from warehouse.tasks.folder import store_task

SEED = 20261128
TRAIN, VALIDATION, TEST = 40, 16, 50
TRIPLES = 4
JOINED = "; "
GREETINGS = {"yes": "Dear reader", "no": "Hey there"}

DrawPair = Callable[[random.Random, bool], tuple[Slots, tuple[str, str]]]
"""(rng, is it for test?) -> the fields of a phrasing, and both parts of the answer."""


def composite_tasks() -> tuple[Task, ...]:
    """All of them: the triples, then the pairs."""
    return (*three_in_one(), *two_in_one())


def score_parts(task: Task, text: str, target: str) -> float:
    """Mean of the parts' scores, each against the part in its place; parts too many or too few score nothing.

    In letter_record the second part is a sentence and scores by ROUGE-L, as the demo's own task does; all other parts
    are right or wrong. The task's own metric looks at the text as a whole.
    """
    wanted = target.split(JOINED)
    given = text.strip().split(JOINED.strip())[: len(wanted)]
    rules = ["exact_match"] * len(wanted)
    if task.metric != "exact_match":
        rules[-1] = task.metric
    scores = [METRICS[rule].score(one.strip(), part) for rule, one, part in zip(rules, given, wanted, strict=False)]
    return sum(scores) / len(wanted)


def three_in_one() -> tuple[Task, ...]:
    """`TRIPLES` tasks, each of three demo tasks whose answers are right or wrong; which ones is drawn."""
    simple = [task for task in build_tasks() if task.metric == "exact_match"]
    rng = random.Random(f"{SEED}:triples")
    return tuple(_triple(f"three_{number}", rng.sample(simple, 3)) for number in range(TRIPLES))


def _triple(name: str, tasks: Sequence[Task]) -> Task:
    rng = random.Random(f"{SEED}:{name}")

    def examples(splits: Sequence[Sequence[Example]], count: int) -> tuple[Example, ...]:
        drawn = [rng.sample(split, count) for split in splits]
        return tuple(_joined(parts) for parts in zip(*drawn, strict=True))

    return Task(
        name=name,
        metric="exact_match",
        train=examples([task.train for task in tasks], TRAIN),
        validation=examples([task.validation for task in tasks], VALIDATION),
        test=examples([task.test for task in tasks], TEST),
        template="{input}\nAnswers:",
        max_new_tokens=sum(task.max_new_tokens for task in tasks),
        description=f"In one prompt: {', '.join(task.name for task in tasks)}.",
        domain="three_in_one",
    )


def _joined(parts: Sequence[Example]) -> Example:
    asked = "\n".join(f"{number}. {part.input}" for number, part in enumerate(parts, 1))
    return Example(asked, JOINED.join(part.target for part in parts))


def two_in_one() -> tuple[Task, ...]:
    """letter_record and plural_past."""
    return (
        _pair(
            "letter_record",
            "A greeting in the register of a letter, then a personnel record as one sentence.",
            draw_letter_record,
            seen=(
                "Letter: {text}. Greet back in the same tone and write out the record: name={name}; job={job}; "
                "city={city}; years={years}",
                "Record: job={job}; name={name}; years={years}; city={city}. Put it in words for the writer of this "
                "letter, greeting in the same tone: {text}",
            ),
            unseen=(
                "They wrote: {text}. Answer in that tone, with this record as a sentence: years={years}; job={job}; "
                "name={name}; city={city}",
            ),
            metric="rouge_l",
            max_new_tokens=32,
        ),
        _pair(
            "plural_past",
            "The plural of a noun and the past tense of a verb.",
            draw_plural_past,
            seen=(
                "Write the noun {noun} in plural form and the verb {verb} in past tense.",
                "Plural of {noun}, past tense of {verb}:",
                "{noun}: plural form? {verb}: past tense?",
            ),
            unseen=("Say more than one {noun}, and say {verb} as if it happened yesterday.",),
            metric="exact_match",
            max_new_tokens=12,
        ),
    )


def draw_letter_record(rng: random.Random, test: bool) -> tuple[Slots, tuple[str, str]]:
    """The demo's formal_letter and record_sentence at once."""
    letter, formal = draw_formal(rng, test)
    record, sentence = draw_record(rng, test)
    return letter | record, (GREETINGS[formal], sentence)


def draw_plural_past(rng: random.Random, test: bool) -> tuple[Slots, tuple[str, str]]:
    """The demo's noun_plural and verb_past at once."""
    (noun, plural), (verb, past) = draw_plural(rng, test), draw_past(rng, test)
    return {"noun": noun["w"], "verb": verb["w"]}, (plural, past)


def _pair(
    name: str,
    description: str,
    draw: DrawPair,
    seen: Sequence[str],
    unseen: Sequence[str],
    metric: str,
    max_new_tokens: int,
) -> Task:
    rng = random.Random(f"{SEED}:{name}")
    used: set[str] = set()

    def examples(count: int, test: bool) -> tuple[Example, ...]:
        made: list[Example] = []
        while len(made) < count:
            slots, parts = draw(rng, test)
            text = rng.choice(unseen if test else seen).format(**slots)
            if text not in used:
                used.add(text)
                made.append(Example(text, JOINED.join(parts)))
        return tuple(made)

    return Task(
        name=name,
        metric=metric,
        train=examples(TRAIN, test=False),
        validation=examples(VALIDATION, test=False),
        test=examples(TEST, test=True),
        template="{input}\nAnswers:",
        max_new_tokens=max_new_tokens,
        description=description,
        domain="two_in_one",
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the task folders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args(arguments).folder
    for task in composite_tasks():
        print(store_task(folder, task))


if __name__ == "__main__":
    main()
