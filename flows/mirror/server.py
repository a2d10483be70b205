"""The server: binds a port, runs the mirror in this process or in a thread, and stops it.

Knows: sockets and threads. Does not know: what is answered (app).
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from catalog.errors import HubError, SettingError
from flows.mirror.accounts import Account, Keyring
from flows.mirror.app import build
from flows.mirror.faults import Faults, Weather
from flows.mirror.gate import Counts
from flows.mirror.likeness import Likeness
from flows.mirror.limits import Limits, Windows
from flows.mirror.repos import FolderShelf
from flows.mirror.shelf import Shelf

_LOOPBACK = ("127.0.0.1", "localhost")
_START_S = 10.0
_TICK_S = 0.1  # uvicorn's: the date in the headers goes by it
_FLUSH_S = 0.002


class HubServer:
    """A mirror on a free or given port. Use as a context manager, or `run()` to block until Ctrl-C.

    Args:
        folder: holds ORG/NAME/files; or a shelf that has the repos itself.
        host: address to listen on; port: 0 picks a free one.
        tokens: accepted bearer tokens and whose they are. Without any, every caller is anonymous.
        limits: the Hub's, or smaller ones.
        likeness: in what it is like the real Hub; a switch each.
        faults: what goes wrong on purpose; None is good weather. latency_s: seconds before every answer.
        fresh_s: seconds for which a listing may rest on the last walk over the folder.
        certificate: PEM file of a certificate and its key, to serve by https: the client reads some refusals
            otherwise from an address that begins so.
    """

    def __init__(
        self,
        folder: Path | Shelf,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        tokens: Mapping[str, Account] | None = None,
        limits: Limits | None = None,
        likeness: Likeness = Likeness(),  # noqa: B008  (frozen)
        faults: Faults | None = None,
        latency_s: float = 0.0,
        fresh_s: float = 0.0,
        certificate: Path | None = None,
    ) -> None:
        self.shelf: Shelf = FolderShelf(folder, fresh_s) if isinstance(folder, Path) else folder
        self.weather = Weather(faults, latency_s)
        self.counts = Counts()
        self.keys, self._tokens = Keyring(tokens or {}, likeness.bad_token), tuple(tokens or ())
        self._socket = _bind(host, port)
        self.endpoint = f"{'https' if certificate else 'http'}://{host}:{self._socket.getsockname()[1]}"
        hosts = _LOOPBACK if host in _LOOPBACK else ("*",)
        windows = Windows(limits or Limits())
        app = build(self.shelf, self.keys, windows, self.counts, self.weather, hosts, likeness)
        config = uvicorn.Config(
            app,
            http=_Protocol,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
            ssl_keyfile=certificate,
        )
        self._server = _Server(config)
        self._thread = threading.Thread(target=self.run, name="hub-mirror", daemon=True)

    @property
    def faults(self) -> Faults | None:
        """What goes wrong on purpose now."""
        return self.weather.faults

    def set_faults(self, faults: Faults | None) -> None:
        """Change the weather, from the next request on."""
        self.weather.faults = faults

    def expire_tokens(self, *tokens: str) -> None:
        """These tokens are dead from the next request on; without any, all are."""
        for token in tokens or self._tokens:
            self.keys.expire(token)

    def run(self) -> None:
        """Serve until stopped."""
        self._server.run(sockets=[self._socket])

    def __enter__(self) -> Self:
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            if not self._thread.is_alive() or time.monotonic() > deadline:
                self._socket.close()
                raise HubError(f"The mirror at {self.endpoint} did not start.", "See the log above, then try again.")
            time.sleep(0.005)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.stop()
        self._thread.join(_START_S)
        self._socket.close()


class _Server(uvicorn.Server):
    """uvicorn's own, but a stop is told to it at once: it would look for one, and for its end, ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop

    def stop(self) -> None:
        """End a server that has started, from another thread."""
        self.should_exit = True
        self._loop.call_soon_threadsafe(self._stopped.set)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)

    async def main_loop(self) -> None:
        tick = 0
        while not await self.on_tick(tick):  # which also sees a signal
            tick += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopped.wait(), _TICK_S)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listening in (*self.servers, *(sockets or ())):
            listening.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()  # one that is answering ends with its answer
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.config.timeout_graceful_shutdown):
                while self.server_state.connections:  # what is written goes out; idle ones end at once
                    await asyncio.sleep(_FLUSH_S)
        for task in self.server_state.tasks:
            task.cancel()


class _Protocol(H11Protocol):
    """uvicorn's own, telling each request the connection it came by: a fault may close it halfway."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self.app_state = {**self.app_state, "transport": transport}


def serve_in_thread(
    folder: Path | Shelf,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tokens: Mapping[str, Account] | None = None,
    limits: Limits | None = None,
    likeness: Likeness = Likeness(),  # noqa: B008  (frozen)
    faults: Faults | None = None,
    latency_s: float = 0.0,
    fresh_s: float = 0.0,
    certificate: Path | None = None,
) -> HubServer:
    """A mirror for a `with` block: `hub.endpoint` is its address, `hub.counts` what it served."""
    return HubServer(
        folder,
        host,
        port,
        tokens=tokens,
        limits=limits,
        likeness=likeness,
        faults=faults,
        latency_s=latency_s,
        fresh_s=fresh_s,
        certificate=certificate,
    )


def serve(folder: Path, host: str, port: int, announce: Callable[[str], None], *, limits: bool = True) -> None:
    """Serve a folder until Ctrl-C; `announce` is told the address once the port is ours."""
    server = HubServer(folder, host, port, limits=Limits(enforced=limits))
    announce(f"Serving {len(server.shelf.rows()[1])} repos of {folder} at {server.endpoint} (Ctrl-C stops).")
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    announce("Stopped.")


def _bind(host: str, port: int) -> socket.socket:
    if host in _LOOPBACK:
        _check_localhost()
    # The protocol is named because asyncio turns Nagle's delay off only then: 40 ms a request otherwise.
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except (OSError, OverflowError) as error:
        bound.close()
        raise SettingError(
            f"The mirror cannot listen on {host}:{port}: {error}.",
            "Choose another port, or 0 for a free one.",
        ) from error
    return bound


def _check_localhost() -> None:
    """Large files are redirected from 127.0.0.1 to localhost, so that name must lead back here."""
    try:
        found = {str(entry[4][0]) for entry in socket.getaddrinfo("localhost", None, socket.AF_INET)}
    except OSError:
        found = set()
    if "127.0.0.1" not in found:
        raise SettingError("The name localhost does not lead to 127.0.0.1.", "Add '127.0.0.1 localhost' to /etc/hosts.")
