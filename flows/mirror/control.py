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

import contextlib
import dataclasses
import json
import sys
from collections.abc import Mapping
from typing import Any

import click
from pydantic import TypeAdapter

from catalog.errors import LorauterError, SettingError
from flows.mirror.accounts import Account
from flows.mirror.faults import Faults, even_kinds
from flows.mirror.gate import Counts
from flows.mirror.generated import Closed, GeneratedShelf
from flows.mirror.likeness import Likeness
from flows.mirror.limits import Limits, Plan
from flows.mirror.llama import ALL_LINEAR, QV
from flows.mirror.server import HubServer

_TARGETS = {"qv": (QV,), "all": (ALL_LINEAR,), "both": (QV, ALL_LINEAR)}


@click.command(help="Serve a generated hub until stdin ends.")
@click.option("--repos", type=click.IntRange(0), default=20_000, show_default=True)
@click.option("--base", default="bench/llama", show_default=True, help="Id of the base.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--ranks", default="4,8,16,32,64", show_default=True)
@click.option("--targets", type=click.Choice(sorted(_TARGETS)), default="both", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="0 picks a free one.")
@click.option("--latency", type=click.FloatRange(0), default=0.0, show_default=True, help="Seconds before an answer.")
@click.option("--token", default="", help="A bearer token that is accepted.")
@click.option("--plan", type=click.Choice(["free", "pro"]), default="free", show_default=True, help="The token's.")
@click.option("--limits/--no-limits", default=True, show_default=True, help="Refuse what the Hub would refuse.")
@click.option("--likeness", default="", help="Switches such as gzip=false,public_name=https://hub.example.")
@click.option("--faults", default="", help="Shares such as cut=0.01,slow=0.02; evenly=0.01 is all kinds but html_429.")
def main(
    repos: int,
    base: str,
    seed: int,
    ranks: str,
    targets: str,
    port: int,
    latency: float,
    token: str,
    plan: Plan,
    limits: bool,
    likeness: str,
    faults: str,
) -> None:
    """Serve, and answer lines."""
    try:
        sizes = [int(rank) for rank in ranks.split(",")]
        shelf = GeneratedShelf(repos, base, seed, ranks=sizes, targets=_TARGETS[targets])
        server = HubServer(
            shelf,
            port=port,
            tokens={token: Account("bench", plan)} if token else {},
            limits=Limits(enforced=limits),
            likeness=read_likeness(_pairs(likeness)),
            faults=read_faults(_pairs(faults)) if faults else None,
            latency_s=latency,
        )
    except (LorauterError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    with contextlib.suppress(KeyboardInterrupt), server:
        _say(server.endpoint)
        for line in sys.stdin:
            _say(json.dumps(answer(line, shelf, server)))


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
    known = [field.name for field in dataclasses.fields(Likeness)]
    if unknown := sorted(set(fields) - set(known)):
        raise SettingError(f"There are no switches called {', '.join(unknown)}.", f"There are {', '.join(known)}.")
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
