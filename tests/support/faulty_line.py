"""A line that breaks in the ways that lines break, in front of a local server."""

import asyncio
import contextlib
import re
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from tests.support.line import Line

CHUNK_BYTES = 4_096
END_OF_HEAD = b"\r\n\r\n"


@dataclass(frozen=True)
class Cut:
    """Every connection is reset once so many bytes have passed, up or down."""

    after_bytes: int
    up: bool = False


@dataclass(frozen=True)
class Stall:
    """Once so many bytes have come down, not one more does, and nobody hangs up."""

    after_bytes: int


@dataclass(frozen=True)
class Answer:
    """Something in between answers every request with ``content``, whatever that is."""

    content: bytes


@dataclass(frozen=True)
class Refuse:
    """A proxy that takes no request with a larger body, and answers 413 to it."""

    most_bytes: int


Fault = Cut | Stall | Answer | Refuse


def page(status: str, content_type: str, body: str) -> Answer:
    """Return the answer of something in between that speaks HTTP, as proxies and portals do."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\n"
    return Answer(f"{head}Content-Length: {len(body.encode())}\r\n\r\n{body}".encode())


class FaultyLine(Line):
    """A line that is well until :meth:`spoil` or :meth:`refuse`, and again after :meth:`mend`."""

    _fault: Fault | None = None

    def spoil(self, fault: Fault) -> None:
        """Let every connection from now on suffer ``fault``; those that are open break."""
        self._fault = fault
        self._call(self._hang_up())

    def refuse(self) -> None:
        """Let nobody in, as a machine does where no server listens; what is open breaks."""
        self._call(self._stop_listening())
        self._call(self._hang_up())

    def mend(self) -> None:
        """Make the line good again."""
        self._fault = None
        self._call(self._hang_up())
        if not self._server.is_serving():
            self._call(self._listen())

    def close(self) -> None:
        """Stop listening and drop what is open."""
        self._call(self._stop_listening())
        self._call(self._hang_up())
        super().close()
        self._loop.close()

    def _call(self, work: Coroutine[Any, Any, Any]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _listen(self) -> int:
        # The same port again after a refusal: that is what the other end was told.
        port = getattr(self, "port", 0)
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def _stop_listening(self) -> None:
        self._server.close()

    async def _hang_up(self) -> None:
        # One that has just come would be cancelled before it began, and not be closed.
        await asyncio.sleep(0)
        connections = asyncio.all_tasks() - {asyncio.current_task()}
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # To be cancelled is how a connection ends here; Python 3.11 would log it as an error. It
        # may be that nobody listens at the other end at this moment, or that who calls hangs up.
        ends = asyncio.CancelledError, ConnectionError, asyncio.IncompleteReadError
        with contextlib.suppress(*ends):
            await self._pass(reader, writer)
        writer.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._fault
        if fault is None:
            await super()._connect(reader, writer)
        elif isinstance(fault, Answer):
            await reader.readuntil(END_OF_HEAD)
            writer.write(fault.content)
            await writer.drain()
            # What is still being sent is read, so that the answer is not lost in a reset.
            writer.write_eof()
            while await reader.read(CHUNK_BYTES):
                pass
        elif isinstance(fault, Refuse):
            await self._refuse(fault, reader, writer)
        else:
            await self._break(fault, reader, writer)

    async def _refuse(
        self, fault: Refuse, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        down = asyncio.create_task(_copy(far_reader, writer, None))
        try:
            with contextlib.suppress(asyncio.IncompleteReadError):
                while True:
                    head = await reader.readuntil(END_OF_HEAD)
                    length = _body_bytes(head)
                    body = await reader.readexactly(length)
                    if length > fault.most_bytes:
                        writer.write(TOO_LARGE.content)
                    else:
                        far_writer.write(head + body)
        finally:
            down.cancel()
            far_writer.transport.abort()

    async def _break(
        self, fault: Cut | Stall, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        goes_up = isinstance(fault, Cut) and fault.up
        up = asyncio.create_task(_copy(reader, far_writer, fault.after_bytes if goes_up else None))
        down = asyncio.create_task(
            _copy(far_reader, writer, None if goes_up else fault.after_bytes)
        )
        try:
            await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
            if isinstance(fault, Stall):
                await up
        finally:
            for task in (up, down):
                task.cancel()
            far_writer.transport.abort()


TOO_LARGE = page("413 Request Entity Too Large", "text/html", "<h1>Too large</h1>")


def _body_bytes(head: bytes) -> int:
    found = re.search(rb"(?i)content-length: *(\d+)", head)
    return int(found[1]) if found else 0


async def _copy(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, most_bytes: int | None
) -> None:
    """Pass on what comes until it ends, or until ``most_bytes`` went through."""
    left = most_bytes
    with contextlib.suppress(ConnectionError):
        while left != 0:
            chunk = await reader.read(CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()
            left = None if left is None else left - len(chunk)
