"""Export: a file of queries as requests to another engine, each with the adapter of its route.

Knows: chunks of queries, the lines of a batch file, rows that have to be left out. Does not know: how queries are
routed (flows/answer/routes), what a body looks like, which folders an engine reads (lorauter/export), the network.

A line is one of OpenAI's batch files: {"custom_id": …, "method": "POST", "url": …, "body": …}. The file appears when
it is whole; the adapters' folders are named by their content, so an export that was stopped finds its own again.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.chunks import chunks
from catalog.errors import SettingError, UnsupportedAdapter
from flows.answer.prompts import TASK, Prompt, check_template, prompts_of, template_stops
from flows.answer.published_base import PublishedBase
from flows.answer.routes import Routes
from flows.screen.progress import Advance, say, stage
from lorauter.adapters.weights import JUDGED
from lorauter.compositions import open_composition
from lorauter.compositions.base import CompositionOptions
from lorauter.engine.decoding import GREEDY, Decoding, may_be_special, stops_of
from lorauter.export import lorax, vllm
from lorauter.export.adapters import ServedAdapter, ServedAdapters
from lorauter.export.requests import Asked
from lorauter.routers import ROUTERS, refuse_gates
from lorauter.routing.routes import Routed
from warehouse.queries.queries import NEW_TOKENS, Query, check_new_tokens, read_queries
from warehouse.storage.files import write_atomically

ENGINES = ("vllm", "lorax")
_TOLD = 5  # rows left out that are told one by one; the others only count


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """What is exported, and how.

    Args:
        engine: a name of ENGINES.
        adapters: folder for adapters that have to be written.
        router: a name of `lorauter.routers.ROUTERS`.
        compose: a name of `lorauter.compositions.COMPOSITIONS`.
        density: of the merges that thin out.
        template: how an input becomes a prompt, see flows/answer/prompts.
        decoding: greedy, or how tokens are drawn.
        stop: texts that end an answer; None: those of the format that a row is asked in, see docs/export.md.
        max_new_tokens: bound of an answer; a row's own wins.

    Raises:
        SettingError: one of them is wrong.
    """

    engine: str
    adapters: Path
    router: str = "lorauter"
    compose: str = "selection"
    density: float = 0.5
    template: str = TASK
    decoding: Decoding = GREEDY
    stop: tuple[str, ...] | None = None
    max_new_tokens: int = NEW_TOKENS

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise SettingError(f"There is no engine {self.engine!r}.", f"Choose one of: {', '.join(ENGINES)}.")
        ROUTERS.check(self.router)
        refuse_gates([self.router], "exported: other engines know no gates", "Answer here by `lorauter answer`")
        check_new_tokens(self.max_new_tokens)
        check_template(self.template)
        stops_of(self.stop or ())


@dataclass(slots=True)
class Exported:
    """What came of an export: requests written, rows left out, adapters needed, how a server is started.

    `start` is the command line of a server that holds the adapters; "" for an engine that loads them by request.
    """

    requests: int = 0
    left_out: int = 0
    adapters: tuple[ServedAdapter, ...] = ()
    start: str = ""


def export_requests(published: PublishedBase, queries: Path, out: Path, options: ExportOptions, rows: int) -> Exported:
    """Write the requests of a file of queries as JSON lines, in its order. Rows that cannot be served are left out.

    Args:
        published: what routes.
        queries: .jsonl, .csv or .parquet with a column `input`, see warehouse/queries.
        out: the file to write.
        options: for which engine, and how.
        rows: queries routed at a time.

    Raises:
        TaskError, SettingError: the queries cannot be read. UnsupportedAdapter: the adapters together are more than
            the engine can be started with; the file is written all the same.
    """
    export = _Export(published, options)
    total = sum(1 for _ in read_queries(queries))
    with stage("export", total, "queries") as advance:
        write_atomically(out, lambda part: export.write(part, queries, rows, advance))
    exported = export.exported
    exported.adapters = export.served.all
    if options.engine == "vllm":
        exported.start = shlex.join(vllm.serve_command(export.base, exported.adapters))
    return exported


class _Export:
    """One run over a file of queries."""

    def __init__(self, published: PublishedBase, options: ExportOptions) -> None:
        self._options = options
        self._routes = Routes(published, [options.router])
        self.base = published.index.base
        composition = open_composition(options.compose, CompositionOptions(density=options.density))
        fetch, folder = published.fetch_adapter, options.adapters
        self.served = ServedAdapters(composition, fetch, folder, self.base, passing=JUDGED)
        self._prompts = prompts_of(options.template, published)
        self.exported = Exported()

    def write(self, path: Path, queries: Path, rows: int, advance: Advance) -> None:
        """All requests, a line each."""
        with path.open("w", encoding="utf-8") as file:
            for chunk in chunks(read_queries(queries, self._options.max_new_tokens), rows):
                for line in self._lines(chunk):
                    file.write(json.dumps(line) + "\n")
                advance(len(chunk))

    def _lines(self, chunk: list[Query]) -> Iterator[dict[str, Any]]:
        sound = [query for query in chunk if not query.fault]
        routes = iter(self._routes.of(self._options.router, sound))
        for query in chunk:
            if query.fault:
                self._leave_out(query, query.fault)
                continue
            route = next(routes)
            try:
                adapter = self.served.of(route.mixture)
            except UnsupportedAdapter as error:
                self._leave_out(query, str(error))
                continue
            self.exported.requests += 1
            yield self._line(query, route, adapter)

    def _line(self, query: Query, route: Routed, adapter: ServedAdapter | None) -> dict[str, Any]:
        options = self._options
        prompt = self._prompts(query, route)
        stops = self._stops_of(prompt)
        row = Asked(
            prompt.text,
            route.mixture,
            query.max_new_tokens,
            stops,
            options.decoding,
            query.id,
            special_stops=options.stop is None and any(map(may_be_special, stops)),
        )
        if options.engine == "vllm":
            url, body = "/v1/completions", vllm.completion(row, self.base, adapter)
        else:
            url, body = "/generate", lorax.generate(row, adapter)
        return {"custom_id": query.id, "method": "POST", "url": url, "body": body}

    def _stops_of(self, prompt: Prompt) -> tuple[str, ...]:
        """What a person gives, as it is; else the stops of the format that the row is asked in, as many as go."""
        if self._options.stop is not None:
            return self._options.stop
        most = lorax.MOST_STOPS if self._options.engine == "lorax" else None
        return (prompt.stops or template_stops(self._options.template))[:most]

    def _leave_out(self, query: Query, reason: str) -> None:
        self.exported.left_out += 1
        if self.exported.left_out <= _TOLD:
            say(f"{query.id} is left out: {reason}")
