"""A bad line in front of a local server: it delays, narrows and counts what passes.

The model is a satellite or mobile link: half the round trip each way, one narrow pipe per direction
that all connections share, 40 bytes of TCP and IP headers for each segment of 1 460 bytes, and one
round trip more before a new connection carries anything. Loss and slow start are left out: at
50 kbit/s and 800 ms the pipe holds 5 kB, less than the first window of a modern sender.
"""

import asyncio
import contextlib
import threading
from dataclasses import dataclass

SEGMENT_BYTES = 1_460
HEADER_BYTES = 40
# What stands ready at the near end of the line, as in a modem; the sender waits with the rest.
_MODEM_CHUNKS = 4
# When each chunk came or is to arrive, and the chunk; an empty one is the end.
_Queue = asyncio.Queue[tuple[float, bytes]]


@dataclass(frozen=True)
class Shape:
    """What a line is like; zero bits per second means as fast as it goes."""

    round_trip_seconds: float = 0.0
    down_bits_per_second: float = 0.0
    up_bits_per_second: float = 0.0


OPEN = Shape()
CLINIC = Shape(round_trip_seconds=0.8, down_bits_per_second=50_000, up_bits_per_second=25_000)


@dataclass
class Count:
    """TCP payload bytes each way and connections that carried something."""

    up: int = 0
    down: int = 0
    connections: int = 0


class _Pipe:
    """One direction: whoever sends waits until what was sent before has left."""

    def __init__(self, bits_per_second: float) -> None:
        self._bytes_per_second = bits_per_second / 8
        self._free_at = 0.0

    async def carry(self, payload_bytes: int, came_at: float) -> None:
        """Wait until a chunk that came at ``came_at`` has left.

        What waited meanwhile follows without a gap, however late this process was woken.
        """
        if not self._bytes_per_second:
            return
        segments = -(-payload_bytes // SEGMENT_BYTES)
        start = max(came_at, self._free_at)
        self._free_at = start + (payload_bytes + HEADER_BYTES * segments) / self._bytes_per_second
        await asyncio.sleep(self._free_at - asyncio.get_running_loop().time())


class Line:
    """A listening port on loopback whose connections go to ``target_port`` over a shaped line."""

    def __init__(self, target_port: int) -> None:
        self.count = Count()
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.shape(OPEN)
        self.port = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result()

    def shape(self, shape: Shape) -> None:
        """Make the line like ``shape`` from now on."""
        self._shape = shape
        self._up = _Pipe(shape.up_bits_per_second)
        self._down = _Pipe(shape.down_bits_per_second)

    def recount(self) -> None:
        """Begin counting at zero."""
        self.count = Count()

    def close(self) -> None:
        """Stop listening and drop what is open."""
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self) -> int:
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Browsers open connections that they then never use: those cost the user nothing.
        first = await reader.read(SEGMENT_BYTES)
        if not first:
            writer.close()
            return
        self.count.connections += 1
        await asyncio.sleep(self._shape.round_trip_seconds)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        # Cancelled at the end of the line, which asyncio would take for a fault of ours.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                self._pump(first, reader, far_writer, up=True),
                self._pump(b"", far_reader, writer, up=False),
            )
        far_writer.close()

    async def _pump(
        self,
        chunk: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        up: bool,
    ) -> None:
        waiting: _Queue = asyncio.Queue(_MODEM_CHUNKS)
        on_its_way: _Queue = asyncio.Queue()
        tasks = [
            asyncio.create_task(_take(chunk, reader, waiting)),
            asyncio.create_task(_deliver(on_its_way, writer)),
        ]
        while True:
            came_at, chunk = await waiting.get()
            if not chunk:
                break
            self._note(len(chunk), up=up)
            await (self._up if up else self._down).carry(len(chunk), came_at)
            arrival = self._loop.time() + self._shape.round_trip_seconds / 2
            on_its_way.put_nowait((arrival, chunk))
        on_its_way.put_nowait((self._loop.time(), b""))
        await asyncio.gather(*tasks)

    def _note(self, payload_bytes: int, *, up: bool) -> None:
        if up:
            self.count.up += payload_bytes
        else:
            self.count.down += payload_bytes


async def _take(chunk: bytes, reader: asyncio.StreamReader, waiting: _Queue) -> None:
    now = asyncio.get_running_loop().time
    with contextlib.suppress(ConnectionError):
        while chunk := chunk or await reader.read(SEGMENT_BYTES):
            await waiting.put((now(), chunk))
            chunk = b""
    await waiting.put((now(), b""))


async def _deliver(on_its_way: _Queue, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while True:
            arrival, chunk = await on_its_way.get()
            await asyncio.sleep(arrival - asyncio.get_running_loop().time())
            if not chunk:
                break
            writer.write(chunk)
            await writer.drain()
    writer.close()
