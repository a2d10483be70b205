"""Chat templates as prompt formats: what a base's or a repo's own Jinja template makes of a message.

Knows: how a template is rendered in a process with limits, how the texts around a message are told from it.
Does not know: which repo has which template (catalog/formats), tokenizers, engines.

A template is a stranger's program. It runs in transformers' sandbox, in a process without our environment, and only
with messages of ours; what comes back is text, looked at like any other. It is rendered once a repo, not once a prompt:
a template that does anything to a message but set it between two texts is refused.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from catalog.errors import LorauterError
from catalog.formats.format import INPUT, INSTRUCTION, SYSTEM, PromptFormat, chat_name, of_template

_CHILD = Path(__file__).with_name("rendering.py")
_LONGEST_STOP = 64  # characters of a stop text
Chat = list[dict[str, Any]]


class TemplateRefused(LorauterError):
    """A chat template cannot be used; the cause names whose it is, and why."""


class TemplateTooSlow(TemplateRefused):
    """It was not rendered in time: it has no end, or this machine was slow. Another try may tell."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one template may cost.

    Args:
        template: characters of the template.
        seconds: processor time of rendering.
        wall: seconds until the process is ended, its start among them.
        memory: bytes beyond what the process has when it begins to render.
        length: characters of a rendered text.
    """

    template: int = 128 << 10
    seconds: int = 3
    wall: float = 60.0
    memory: int = 256 << 20
    length: int = 64 << 10


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A chat template and the tokens it may write.

    Args:
        owner: the repo it comes from, for messages.
        text: the Jinja text.
        begin: the begin-of-text token.
        end: the end-of-text token.
        adds_begin: whether the tokenizer writes `begin` by itself, so that a prompt must not start with it. None where
            nobody said: then it is taken for so, unless the template writes the same token between turns too, as
            SmolLM2 does with <|im_start|>.
        tokens: further tokens by the names that templates use, e.g. `pad_token`.
    """

    owner: str
    text: str
    begin: str = ""
    end: str = ""
    adds_begin: bool | None = None
    tokens: Mapping[str, str] | None = None


LIMITS = Limits()


def chat_format(template: ChatTemplate, system: str = "", limits: Limits = LIMITS) -> PromptFormat:
    """The prompt format that a chat template is: rendered around messages of ours, and cut at them.

    Args:
        system: a system text that every prompt begins with; "" leaves that to the template.

    Raises:
        TemplateRefused: it is too large, too hungry, wrong, or does not leave a message as it is; TemplateTooSlow where
            it was not rendered in time.
    """
    made = chat_formats([template], system, limits)[0]
    if isinstance(made, TemplateRefused):
        raise made
    return made


def chat_formats(
    templates: Sequence[ChatTemplate], system: str = "", limits: Limits = LIMITS
) -> list[PromptFormat | TemplateRefused]:
    """The formats of several chat templates, or why one is refused, in their order.

    One process renders them, since its start costs more than a template. Where it has to be ended, each template gets a
    process of its own, so that only those are refused that are to blame.
    """
    made: dict[int, PromptFormat | TemplateRefused] = {}
    probed: dict[int, _Probed] = {}
    for number, template in enumerate(templates):
        if why := _unfit(template, system, limits):
            made[number] = _refused(template.owner, why)
        else:
            probed[number] = _probe(template, system)
    every = _rendered_or_why(list(probed.values()), limits) if probed else []
    for (number, one), rendered in zip(probed.items(), every, strict=True):
        owner = one.template.owner
        made[number] = rendered.refused(owner) if isinstance(rendered, _NoAnswer) else _judged(one, rendered)
    return [made[number] for number in range(len(templates))]


@dataclass(frozen=True, slots=True)
class _Probed:
    """A template and the chats that it is rendered with.

    Args:
        probes: the messages.
        answer: of the chat that tells the stop.
        chats: one a probe as plain text, one a probe in parts, one that is answered, one with outer blanks.
    """

    template: ChatTemplate
    probes: tuple[str, str, str]
    answer: str
    chats: list[Chat]


_Texts = tuple[list[str | None], list[str | None]]
"""A text or a reason a chat."""


@dataclass(frozen=True, slots=True)
class _NoAnswer:
    """Why a process gave no answer, and whether that is for the time it took."""

    why: str
    slow: bool = False

    def refused(self, owner: str) -> TemplateRefused:
        """As the refusal of the template that it is to blame for."""
        return _refused(owner, self.why, TemplateTooSlow if self.slow else TemplateRefused)


def _unfit(template: ChatTemplate, system: str, limits: Limits) -> str | None:
    if len(template.text) > limits.template:
        return f"it has {len(template.text)} characters, the limit is {limits.template}"
    return None if _is_text(template.text + system) else "it holds half a surrogate pair"


def _probe(template: ChatTemplate, system: str) -> _Probed:
    probes, answer = _probes(), f"Zr{secrets.token_hex(8)}."
    before: Chat = [{"role": "system", "content": system}] if system else []
    contents: list[Any] = [*probes, *([{"type": "text", "text": probe}] for probe in probes)]
    chats: list[Chat] = [[*before, {"role": "user", "content": content}] for content in contents]
    ended: Chat = [*chats[0], {"role": "assistant", "content": answer}]
    blank: Chat = [*before, {"role": "user", "content": f" \n{probes[0]}\n "}]
    return _Probed(template, probes, answer, [*chats, ended, blank])


def _judged(one: _Probed, rendered: _Texts) -> PromptFormat | TemplateRefused:
    (texts, why), probes, owner = rendered, one.probes, one.template.owner
    plain, typed = _around(texts[:3], probes), _around(texts[3:6], probes)
    turn = plain if isinstance(plain, tuple) else typed
    if not isinstance(turn, tuple):
        return _refused(owner, next((reason for reason in why[:3] if reason), str(plain)))
    head, tail = _without_begin(turn, one.template)
    if any(slot in head + tail for slot in (INPUT, SYSTEM, INSTRUCTION)):
        return _refused(owner, "it writes a slot of ours")
    made = of_template(f"{head}{INPUT}{tail}", chat_name(owner), _stops(texts[6], one.answer))
    return replace(made, strips=texts[7] == f"{turn[0]}{probes[0]}{turn[1]}")


def _probes() -> tuple[str, str, str]:
    """Messages that nobody foresees, unlike each other in length, signs and lines; none has outer blanks."""
    short, long, odd = (secrets.token_hex(8) for _ in range(3))
    return (
        f"Q{short}?",
        f'What is "{long}" & <b>1</b>, in 3 words?\n\n  - "one" \\ \'two\'\n' + "And so on. " * 20 + "End",
        f"Привет, {odd}: {{{{ 7 * 7 }}}} {{% if x %}} 日本",
    )


def _around(texts: Sequence[str | None], probes: Sequence[str]) -> tuple[str, str] | str:
    """The texts before and after every one of the messages, or why there are no such two."""
    around = []
    for text, probe in zip(texts, probes, strict=True):
        if text is None:
            return "it renders nothing"
        if not _is_text(text):
            return "it writes half a surrogate pair"
        if text.count(probe) != 1:
            return f"it writes the message {'more than once' if probe in text else 'changed or not at all'}"
        head, _, tail = text.partition(probe)
        around.append((head, tail))
    if len(set(around)) > 1:
        return "the texts around a message depend on the message"
    return around[0]


def _without_begin(turn: tuple[str, str], template: ChatTemplate) -> tuple[str, str]:
    head, tail = turn
    rest = head.removeprefix(template.begin)
    adds = template.adds_begin
    if adds is None:
        adds = bool(template.begin) and template.begin not in rest + tail
    return (rest if adds else head), tail


def _stops(text: str | None, answer: str) -> tuple[str, ...]:
    """What the template writes behind an answer, up to the end of its line; () where it writes nothing."""
    if text is None or text.count(answer) != 1:
        return ()
    stop = text.partition(answer)[2].strip().partition("\n")[0]
    if not stop or not _is_text(stop) or len(stop) > _LONGEST_STOP:
        return ()
    return (stop,)


def _rendered_or_why(probed: Sequence[_Probed], limits: Limits) -> list[_Texts | _NoAnswer]:
    """For each template what it renders to, or why its process gave no answer: the one of all, else its own."""
    every = _rendered(probed, limits)
    if not isinstance(every, _NoAnswer):
        return [*every]
    return [every] if len(probed) == 1 else [_rendered_or_why([one], limits)[0] for one in probed]


def _asked(one: _Probed) -> dict[str, Any]:
    template = one.template
    tokens = {**(template.tokens or {}), "bos_token": template.begin, "eos_token": template.end}
    return {"template": template.text, "chats": one.chats, "tokens": tokens}


def _rendered(probed: Sequence[_Probed], limits: Limits) -> list[_Texts] | _NoAnswer:
    """What each template renders to, from the process that renders; or why that gave no answer."""
    request = {
        "asked": [_asked(one) for one in probed],
        "memory": limits.memory,
        "seconds": limits.seconds,
        "length": limits.length,
    }
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}  # no token of ours
    quiet = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "OMP_NUM_THREADS": "1", "USE_TORCH": "0"}
    try:
        ended = subprocess.run(  # noqa: S603  (our own file, no shell)
            [sys.executable, "-P", "-B", str(_CHILD)],
            input=json.dumps(request).encode(),
            capture_output=True,
            timeout=limits.wall,
            env={**kept, **quiet},
            check=False,
        )
    except subprocess.TimeoutExpired:
        return _NoAnswer(f"it takes longer than {limits.wall:g} seconds", slow=True)
    if ended.returncode < 0:
        killed = -ended.returncode in (signal.SIGKILL, signal.SIGXCPU)  # as its limit of processor time ends it
        return _NoAnswer(f"it takes longer than {limits.seconds} seconds, or broke its process", slow=killed)
    try:
        answers = json.loads(ended.stdout)
        return [(answers[number]["texts"], answers[number]["why"]) for number in range(len(probed))]
    except (ValueError, LookupError, TypeError):
        reason = ended.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        return _NoAnswer(f"its process ended without an answer ({reason})")


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _refused(owner: str, why: str, kind: type[TemplateRefused] = TemplateRefused) -> TemplateRefused:
    return kind(
        f"The chat template of {owner} cannot be used: {why}.",
        "Name a format of `lorauter tasks formats`, or write a template with {input}.",
    )
