"""From evidence to formats that are worth a try, and from a format that was tried back to its evidence.

Knows: the kinds of evidence (detect), below which confidence nothing is tried. Does not know: chat templates in Jinja
(lorauter/formats), which format does best (lorauter/racing/formats).
"""

from __future__ import annotations

from collections.abc import Sequence

from catalog.errors import SettingError
from catalog.formats.detect import BASE_CHAT, OWN, REPO_CHAT, Evidence
from catalog.formats.filled import filled
from catalog.formats.format import PromptFormat, chat_name, of_template
from catalog.formats.table import formats

SURE = 0.5  # confidence from which a format holds the place before any score (docs/decisions/0026-formats-in-races.md)
LEAST = 0.3  # below it nothing is tried

Tried = PromptFormat | None
"""A format; None: the task's own template."""


def formats_to_try(evidence: Sequence[Evidence], base_chat: PromptFormat | None = None) -> list[Tried]:
    """The formats that an adapter may have been trained in, each once, the one that holds the place first.

    What evidence is sure of comes before the task's own template. Where none is, the likeliest has to take its place
    from it. () where the task's own is the only one.

    Args:
        evidence: the surest first.
        base_chat: the base's own chat template, where it is at hand.
    """
    sure = _formats([one for one in evidence if one.confidence >= SURE], base_chat)
    if sure:
        return [sure[0], None, *sure[1:]]
    likely = _formats([one for one in evidence if one.confidence >= LEAST], base_chat)
    return [None, *likely[:1]] if likely else []


def _formats(evidence: Sequence[Evidence], base_chat: PromptFormat | None) -> list[PromptFormat]:
    every = [_format(one, base_chat) for one in evidence]
    return list(dict.fromkeys(format_ for format_ in every if format_ and not format_.needs_instruction))


def evidence_named(evidence: Sequence[Evidence], name: str, base: str) -> Evidence | None:
    """The surest evidence for a format that something was scored in; None where none speaks for it.

    Args:
        evidence: on the adapter, the surest first.
        name: of the format, as it is filled (catalog/formats/filled).
        base: id of the base, whose chat template is named after it.
    """
    return next((one for one in evidence if _is_for(one, name, base)), None)


def _is_for(evidence: Evidence, name: str, base: str) -> bool:
    if evidence.format == BASE_CHAT:
        return name.startswith(f"{chat_name(base)} ")
    if evidence.format != OWN:
        return evidence.format == name
    own = _format(evidence, None)
    asked = filled(own) if own else None
    return asked is not None and asked.name == name


def _format(evidence: Evidence, base_chat: PromptFormat | None) -> PromptFormat | None:
    """None of what cannot be had: a chat template that was refused, or a base's that is not at hand."""
    if evidence.format == BASE_CHAT:
        return base_chat
    if evidence.format == REPO_CHAT:
        return None
    if evidence.format != OWN:
        return formats().get(evidence.format)
    try:
        return of_template(evidence.template, stops=evidence.stops)
    except SettingError:
        return None
