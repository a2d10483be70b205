"""Flags that commands share, and the settings and constants that they stand for.

Knows: the flags, their help, what they mean for stages. Does not know: any work; imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flows.cli.package_names import strategies_option

if TYPE_CHECKING:
    from lorauter.routing.routes import RouterOptions

_Command = TypeVar("_Command", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
_ROUTING = ("top_k", "temperature", "licences", "max_bytes", "authors", "not_authors")
_ESCAPES = {r"\n": "\n", r"\t": "\t"}


def _all(*options: Callable[[_Command], _Command]) -> Callable[[_Command], _Command]:
    """Several options as one decorator, in the order in which help lists them."""

    def decorate(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _bytes(_: click.Context, __: click.Parameter, written: str | None) -> int | None:
    from flows.home.byte_size import bytes_of

    try:
        return None if written is None else int(bytes_of(written))
    except ValueError as error:
        raise click.BadParameter(f"{error}.") from None


def _strategy(_ctx: click.Context, _option: click.Parameter, name: str | None) -> str | None:
    if name is not None:
        from lorauter.racing.strategies import STRATEGIES

        if name not in STRATEGIES:
            raise click.BadParameter(f"{name!r} is not one of {', '.join(map(repr, STRATEGIES))}.")
    return name


bases_option = click.option("--base", "bases", multiple=True, help="Base model id, e.g. org/model. May be repeated.")
endpoint_option = click.option("--endpoint", help="Address of the hub.  [default: the public Hub]")
strategy_option = strategies_option(
    "--strategy",
    metavar="[racing|halving|exhaustive]",
    callback=_strategy,
    help="Which evaluations to run: adapters race the leader, halve rung by rung, or meet every example."
    "  [default: racing]",
)
force_option = click.option(
    "--force", metavar="REASON", default="", help="Publish even a much worse catalog; the reason is kept."
)
snapshot_option = click.option(
    "--snapshot",
    "--as-of",
    metavar="DATE|ID|FOLDER",
    help="What was published on a day or at a time, an id or its beginning, or a folder.  [default: the current]",
)
routing_options = _all(
    click.option("--top-k", type=click.IntRange(1), help="Tasks that a route weighs.  [default: 3]"),
    click.option(
        "--temperature", type=click.FloatRange(0, min_open=True), help="Of the weights' softmax.  [default: 0.2]"
    ),
    snapshot_option,
    click.option("--licence", "licences", multiple=True, help="Use adapters of this licence only. May be repeated."),
    click.option("--max-bytes", callback=_bytes, help="Use adapters up to this size only, e.g. 50MB or 1.5GiB."),
    click.option("--author", "authors", multiple=True, help="Use adapters of this author only. May be repeated."),
    click.option("--not-author", "not_authors", multiple=True, help="Use none of this author's. May be repeated."),
)
prompt_options = _all(
    click.option(
        "--density",
        type=click.FloatRange(0, 1, min_open=True),
        default=0.5,
        show_default=True,
        help="What merges keep.",
    ),
    click.option(
        "--template",
        metavar="NAME|TEXT",
        default="task",
        show_default=True,
        help="How an input becomes a prompt. task: as its task was scored; chat: the base's own chat template; or a"
        " format that `tasks formats` lists; or a text with {input}.",
    ),
)
decoding_options = _all(
    click.option(
        "--max-new-tokens",
        type=click.IntRange(1, 4096),
        default=32,
        show_default=True,
        help="Longest answer, in tokens; a row's own column max_new_tokens wins.",
    ),
    click.option(
        "--stop",
        "stops",
        multiple=True,
        help=r"Text that ends an answer and is left out of it; write \n for a new line. May be repeated; '' for none."
        r"  [default: \n and the format's own; export: none]",
    ),
    click.option(
        "--sample-temperature", type=click.FloatRange(0), help="Draw tokens at this temperature.  [default: 0, greedy]"
    ),
    click.option(
        "--top-p",
        type=click.FloatRange(0, 1, min_open=True),
        help="Draw from the most probable tokens that reach this share together.  [default: 1, all]",
    ),
    click.option(
        "--sample-top-k", type=click.IntRange(1), help="Draw from so many most probable tokens.  [default: all]"
    ),
    click.option("--seed", type=int, help="Of the draws.  [default: 0]"),
)


def bases_given(bases: tuple[str, ...]) -> dict[str, Any]:
    """The settings that `--base A --base B` stands for."""
    return {"base": bases[0], "bases": bases[1:]} if bases else {}


def routing_given(settings: RouterOptions, flags: Mapping[str, Any]) -> dict[str, Any]:
    """The router's constants and filters: what the flags give, on top of the settings."""
    return {**asdict(settings), **{name: flags[name] for name in _ROUTING if flags[name] not in (None, ())}}


def sampling_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """The constants of lorauter/engine/decoding that the flags give. UsageError where they would mean nothing."""
    named = {"temperature": "sample_temperature", "top_p": "top_p", "top_k": "sample_top_k", "seed": "seed"}
    given = {name: flags[flag] for name, flag in named.items() if flags[flag] is not None}
    idle = [named[name] for name in given if name != "temperature"]
    if idle and not given.get("temperature"):
        flag = idle[0].replace("_", "-")
        raise click.UsageError(f"--{flag} is for drawn texts: give --sample-temperature above 0 too.")
    return given


def stops_given(flags: Mapping[str, Any]) -> list[str] | None:
    r"""The stops of the flags, `\n` and `\t` as the signs they stand for; None where none is given."""
    return [_unescaped(stop) for stop in flags["stops"]] or None


def _unescaped(text: str) -> str:
    for written, sign in _ESCAPES.items():
        text = text.replace(written, sign)
    return text
