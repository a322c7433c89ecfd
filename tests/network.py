"""A loopback proxy that falls silent, slows down or breaks connections as a bad network does."""

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

_CHUNK = 65536
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)
"""SO_LINGER with no time to linger: closing sends RST."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Upstream = Callable[[], Awaitable[Streams]]


def tcp(port: int) -> Upstream:
    """Connects to a server on a loopback port."""
    return lambda: asyncio.open_connection("127.0.0.1", port)


def unix(path: str) -> Upstream:
    """Connects to a server on a unix socket."""
    return lambda: asyncio.open_unix_connection(path)


@dataclass(kw_only=True, eq=False)
class _Link:
    """One connection through the proxy; bytes pass while `open` is set."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    open: asyncio.Event = field(default_factory=asyncio.Event)
    forgotten: bool = False

    def close(self) -> None:
        for writer in (self.client, self.server):
            writer.close()

    def reset(self) -> None:
        for writer in (self.client, self.server):
            _reset(writer)


class Proxy:
    """Forwards a loopback port to a server. Its methods may be called from any thread and act before they return."""

    def __init__(self, upstream: Upstream) -> None:
        self.delay_s = 0.0
        """Every piece of data is held back for this long."""
        self.port = 0
        self._upstream = upstream
        self._refuses = self._silent = False
        self._links: set[_Link] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._server = self._call(self._listen)

    def silence(self) -> None:
        """Forward nothing any more; connections stay open, and new ones are taken and left without an answer."""
        self._call(self._silence)

    def forget(self) -> None:
        """Leave the present connections silent for ever and serve new ones: a router lost its table."""
        self._call(self._forget)

    def reset(self) -> None:
        """Break every connection with RST, new ones too, until `resume`."""
        self._call(self._break, _Link.reset)

    def hang_up(self) -> None:
        """End every connection in an orderly way, so that the next write meets EPIPE; new ones too, until `resume`."""
        self._call(self._break, _Link.close)

    def resume(self) -> None:
        """Forward again, also what waited meanwhile."""
        self._call(self._resume)

    def end(self) -> None:
        """Close everything."""
        self._call(self._end)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _call(self, function: Callable[..., Awaitable[object]], *args: object) -> object:
        return asyncio.run_coroutine_threadsafe(function(*args), self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _silence(self) -> None:
        self._silent = True
        for link in self._links:
            link.open.clear()

    async def _forget(self) -> None:
        for link in self._links:
            link.forgotten = True
            link.open.clear()

    async def _break(self, how: Callable[[_Link], None]) -> None:
        self._refuses = True
        for link in self._links:
            how(link)

    async def _resume(self) -> None:
        self._silent = self._refuses = False
        for link in self._links:
            if not link.forgotten:
                link.open.set()

    async def _end(self) -> None:
        self._server.close()
        pumps = asyncio.all_tasks() - {asyncio.current_task()}
        for link in self._links:
            link.reset()
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            _reset(writer)
            return
        try:
            server_reader, server_writer = await self._upstream()
        except OSError:
            _reset(writer)
            return
        link = _Link(client=writer, server=server_writer)
        if not self._silent:
            link.open.set()
        self._links.add(link)
        try:
            # Cancelled at the end of the proxy only, and then nobody is left to be told.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self._pump(link, reader, server_writer), self._pump(link, server_reader, writer))
        finally:
            self._links.discard(link)

    async def _pump(self, link: _Link, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                await asyncio.sleep(self.delay_s)
                await link.open.wait()
                sink.write(data)
                await sink.drain()
            await link.open.wait()
        link.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    wire = writer.get_extra_info("socket")
    if wire is not None and wire.family == socket.AF_INET:
        with suppress(OSError):
            wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()


@contextmanager
def proxied(upstream: Upstream) -> Iterator[Proxy]:
    """A proxy for the time of the block."""
    proxy = Proxy(upstream)
    try:
        yield proxy
    finally:
        proxy.end()
