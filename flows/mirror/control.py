"""A generated mirror as a program: the address on stdout, then one JSON line for each JSON line on stdin.

Knows: the command line and the lines. Does not know: what is served (generated), how (server).

    {"counts": true}                     nothing but the counts, which every answer has
    {"kinds": true}                      the repos of each kind
    {"change": 200, "weights": false}    new commits of so many repos; their weights too unless false
    {"add": 5} {"remove": 10} {"rename": 3}
    {"close": 2, "how": "disabled"}      or "legal" or "gone"
    {"faults": {"cut": 0.1}}             other weather; null clears the sky
    {"latency": 0.1}                     another delay
    {"expire": true}                     the token of --token is dead from now on
The end of stdin ends the program.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import TypeAdapter

from catalog.errors import LorauterError, SettingError
from flows.mirror.accounts import Account
from flows.mirror.faults import Faults, even_kinds
from flows.mirror.gate import Counts
from flows.mirror.generated import Closed, GeneratedShelf
from flows.mirror.likeness import Likeness
from flows.mirror.limits import Limits
from flows.mirror.llama import ALL_LINEAR, QV
from flows.mirror.server import HubServer

_TARGETS = {"qv": (QV,), "all": (ALL_LINEAR,), "both": (QV, ALL_LINEAR)}


def main() -> None:
    """Serve a generated hub until stdin ends, and answer lines."""
    parser = _parser()
    given = parser.parse_args()
    try:
        sizes = [int(rank) for rank in given.ranks.split(",")]
        shelf = GeneratedShelf(given.repos, given.base, given.seed, ranks=sizes, targets=_TARGETS[given.targets])
        server = HubServer(
            shelf,
            port=given.port,
            tokens={given.token: Account("bench", given.plan)} if given.token else {},
            limits=Limits(enforced=given.limits),
            likeness=read_likeness(_pairs(given.likeness)),
            faults=read_faults(_pairs(given.faults)) if given.faults else None,
            latency_s=given.latency,
        )
    except (LorauterError, ValueError) as error:
        parser.error(str(error))
    with contextlib.suppress(KeyboardInterrupt), server:
        _say(server.endpoint)
        for line in sys.stdin:
            _say(json.dumps(answer(line, shelf, server)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m flows.mirror.generated",
        description="Serve a generated hub until stdin ends.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--repos", type=_at_least(int, 0), default=20_000, help="how many")
    add("--base", default="bench/llama", help="id of the base")
    add("--seed", type=int, default=0, help="of all that is generated")
    add("--ranks", default="4,8,16,32,64", help="of the adapters")
    add("--targets", choices=sorted(_TARGETS), default="both", help="modules of the adapters")
    add("--port", type=_at_least(int, 0, 65535), default=0, help="0 picks a free one")
    add("--latency", type=_at_least(float, 0), default=0.0, help="seconds before an answer")
    add("--token", default="", help="a bearer token that is accepted")
    add("--plan", choices=["free", "pro"], default="free", help="the token's")
    add("--limits", action=argparse.BooleanOptionalAction, default=True, help="refuse what the Hub would refuse")
    add("--likeness", default="", help="switches such as gzip=false,public_name=https://hub.example")
    add("--faults", default="", help="shares such as cut=0.01,slow=0.02; evenly=0.01 is all kinds but html_429")
    return parser


def _at_least(kind: type[int] | type[float], least: float, most: float = math.inf) -> Callable[[str], float]:
    """What reads a number of that kind from `least` to `most`; argparse tells a ValueError as a wrong value."""

    def number(text: str) -> float:
        value = kind(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{value} is not in {least:g} to {most:g}")
        return value

    return number


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def answer(line: str, shelf: GeneratedShelf, server: HubServer) -> dict[str, Any]:
    """Do what a line says; the answer to it."""
    try:
        asked = json.loads(line)
        if not isinstance(asked, dict):
            raise TypeError("expected a JSON object")
        return _obey(asked, shelf, server) | told(server.counts)
    except (LorauterError, ValueError, TypeError) as error:
        return {"error": str(error)}


def _obey(asked: Mapping[str, Any], shelf: GeneratedShelf, server: HubServer) -> dict[str, Any]:
    done: dict[str, Any] = {}
    if "change" in asked:
        done["changed"] = shelf.pick(asked["change"])
        shelf.change(done["changed"], weights=asked.get("weights", True))
    if "remove" in asked:
        done["removed"] = shelf.pick(asked["remove"])
        shelf.remove(done["removed"])
    if "rename" in asked:
        done["renamed"] = shelf.pick(asked["rename"])
        done["names"] = shelf.rename(done["renamed"])
    if "close" in asked:
        done["closed"] = shelf.pick(asked["close"])
        shelf.close(done["closed"], TypeAdapter(Closed).validate_python(asked.get("how", "disabled")))
    if "add" in asked:
        done["added"] = shelf.add(asked["add"])
    if "faults" in asked:
        server.set_faults(read_faults(asked["faults"]) if asked["faults"] else None)
    if asked.get("expire"):
        server.expire_tokens()
    if "latency" in asked:
        server.weather.latency_s = float(asked["latency"])
    return done | ({"kinds": dict(shelf.kinds())} if asked.get("kinds") else {})


def told(counts: Counts) -> dict[str, Any]:
    """The counts as JSON."""
    names = ("api", "resolvers", "hops", "pages", "tokens", "refused", "bytes")
    return {name: getattr(counts, name) for name in names} | {"faults": dict(counts.faults)}


def read_likeness(fields: Mapping[str, Any]) -> Likeness:
    """A likeness from names and values; what is not named is as recorded."""
    switches = [field.name for field in dataclasses.fields(Likeness)]
    if unknown := sorted(set(fields) - set(switches)):
        raise SettingError(f"There are no switches called {', '.join(unknown)}.", f"There are {', '.join(switches)}.")
    return TypeAdapter(Likeness).validate_python(fields)


def _pairs(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split(",")) if text else {}


def every_kind() -> list[str]:
    return [kind for kind, _ in Faults().shares()]


def read_faults(fields: Mapping[str, Any]) -> Faults:
    """Faults from names and numbers; `evenly` stands for every kind but html_429."""
    fields = dict(fields)
    share = fields.pop("evenly", None)
    every = {} if share is None else dict.fromkeys(even_kinds(), share)
    if unknown := sorted(fields.keys() - {field.name for field in dataclasses.fields(Faults)}):
        raise SettingError(f"There are no faults called {', '.join(unknown)}.", f"There are {', '.join(every_kind())}.")
    return TypeAdapter(Faults).validate_python(every | fields)


if __name__ == "__main__":
    main()
