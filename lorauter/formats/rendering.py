"""The process in which a stranger's chat template runs: JSON in, JSON out, nothing else left of it.

Knows: transformers' sandbox for chat templates, and the limits of this process. Does not know: the rest of the
project (it is run as a file, by itself), what the rendered texts mean (chat_templates).

Asked on stdin: {"asked": [{"template", "chats": [[message, …], …], "tokens": {…}}, …], "memory", "seconds", "length"}.
Answered on stdout: [{"texts": [text or null, …], "why": [reason or null, …]}, …]; an end without an answer is one too.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import resource
import sys
from datetime import datetime
from typing import Any

# What a template that asks for today's date is told: Llama 3's own where nobody tells it one. A prompt must not
# change from day to day, for scores are kept by it.
THE_DATE = datetime(2024, 7, 26)
_REASON = 300  # characters of a reason


class _StoppedClock:
    """Stands in for `datetime` where transformers asks it for the date."""

    @staticmethod
    def now() -> datetime:
        return THE_DATE


def _limit(memory: int, seconds: int) -> None:
    """Bound this process from here on: memory beyond what it has, time, files, children."""
    pages = 0
    if os.path.exists("/proc/self/statm"):  # noqa: PTH110  (without a further import)
        with open("/proc/self/statm") as file:  # noqa: PTH123
            pages = int(file.read().split()[0])
    room = pages * resource.getpagesize() + memory
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = int(used.ru_utime + used.ru_stime) + 1 + seconds
    for kind, most in (
        (resource.RLIMIT_AS, room),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 3),
    ):
        resource.setrlimit(kind, (most, most))


def main() -> None:
    """Answer one request."""
    asked: dict[str, Any] = json.loads(sys.stdin.buffer.read())
    from transformers.utils import chat_template_utils

    chat_template_utils.datetime = _StoppedClock
    render = chat_template_utils.render_jinja_template
    for text in ("{{ messages[0]['content'] }}", "{{ nobody.name }}"):  # what is imported late, errors' tools among it
        with contextlib.suppress(Exception):
            render([[{"role": "user", "content": "x"}]], chat_template=text)
    _limit(asked["memory"], asked["seconds"])
    answers = []
    for one in asked["asked"]:
        pairs = [_text(render, chat, one, asked) for chat in one["chats"]]
        answers.append({"texts": [text for text, _ in pairs], "why": [reason for _, reason in pairs]})
    sys.stdout.write(json.dumps(answers))


def _text(render: Any, chat: Any, one: Any, bounds: Any) -> tuple[str | None, str | None]:
    """What a template makes of a chat, or why it makes nothing; one that draws lots draws the same every time."""
    random.seed(0)
    try:
        rendered, _ = render(
            [chat],
            chat_template=one["template"],
            add_generation_prompt=chat[-1]["role"] == "user",
            **one["tokens"],
        )
        text: str = rendered[0]
        if len(text) > bounds["length"]:
            raise ValueError(f"it writes {len(text)} characters, the limit is {bounds['length']}")
    except MemoryError:
        return None, f"it needs more than {bounds['memory'] >> 20} MiB"
    except RecursionError:
        return None, "it is nested too deeply"
    except Exception as error:  # a template may raise anything
        return None, f"{type(error).__name__}: {error}"[:_REASON]
    return text, None


if __name__ == "__main__":
    main()
