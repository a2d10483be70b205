"""The table of known prompt formats.

Knows: formats.toml, and which format a template is. Does not know: who was trained for which (detect).
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from importlib.resources import files
from typing import Any

from catalog.errors import SettingError
from catalog.formats.format import INPUT, PromptFormat


@lru_cache(maxsize=1)
def formats() -> Mapping[str, PromptFormat]:
    """The known formats by name, in the table's order."""
    return read_formats(files("catalog.formats").joinpath("formats.toml").read_text("utf-8"))


def read_formats(text: str) -> Mapping[str, PromptFormat]:
    """A table of formats from TOML: one table a format.

    Raises:
        SettingError: it is no TOML, or a format is not whole.
    """
    try:
        return {name: _format(name, row) for name, row in tomllib.loads(text).items()}
    except (tomllib.TOMLDecodeError, TypeError) as error:
        raise SettingError(f"The table of prompt formats cannot be read: {error}.", "Correct the TOML.") from None


def format_named(name: str) -> PromptFormat:
    """The format of that name.

    Raises:
        SettingError: there is none.
    """
    try:
        return formats()[name]
    except KeyError:
        near = get_close_matches(name, formats(), n=5)
        told = f"Near names: {', '.join(near)}. " if near else ""
        every = "`lorauter tasks formats` lists all; a text with {input} is a template too."
        raise SettingError(f"No prompt format is called {name!r}.", told + every) from None


def template_asked(asked: str) -> str:
    """The template that a person asks for: a format's by its name, or a text with `{input}` as it is.

    Raises:
        SettingError: there is no such format, or it needs an instruction.
    """
    return asked if INPUT in asked else format_named(asked).template()


def stops_asked(asked: str) -> tuple[str, ...]:
    """The stops that come with it: a format's; () with a text. Raises SettingError as `format_named`."""
    return () if INPUT in asked else format_named(asked).stops


def format_of(template: str) -> PromptFormat | None:
    """The first format of the table whose template this is, with its default system text or with none."""
    return _by_template().get(template)


@lru_cache(maxsize=1)
def _by_template() -> Mapping[str, PromptFormat]:
    known: dict[str, PromptFormat] = {}
    for system in (None, ""):
        for one in formats().values():
            if not one.needs_instruction:
                known.setdefault(one.template(system), one)
    return known


def _format(name: str, row: object) -> PromptFormat:
    if not isinstance(row, dict):
        raise TypeError(f"{name} is no table")
    values: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
    for key, value in values.items():
        texts = value if key == "stops" and isinstance(value, tuple) else (value,)
        kind = bool if key in ("marked", "strips") else str
        if not all(isinstance(text, kind) for text in texts):
            raise TypeError(f"{name} has a {key} of the wrong kind")
    return PromptFormat(name, **values)
