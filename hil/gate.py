"""The link gate: between gateway and broker stands what the sky allows.

One listener per satellite and link ("optical", "antenna") takes TCP connections and passes their bytes to the broker
and back, while the plant says that the link is up, at the link's rate and delay. During an outage bytes wait; when it
lasts longer than the patience, connections are aborted, so that both ends notice, and new ones are refused. What was
held goes with the connection, as light that misses the aperture does.

:class:`LinkModel` is the pure part: when a packet that enters now comes out.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from hil.plant.link import DOWN
from skyrack.backhaul import LinkState

CHUNK_BYTES = 16_384


class LinkModel:
    """One direction of a link: bytes leave in order, no faster than the rate, the delay later.

    A token bucket of depth zero: a packet occupies the link for size / rate, and arrives a delay after that.
    """

    def __init__(self) -> None:
        self.free_at = -float("inf")  # when the last packet will have entered

    def arrival(self, now: float, size_bytes: int, state: LinkState, rate: float = 1.0) -> float:
        """When a packet that enters now comes out.

        Args:
            now: seconds of the caller's time line.
            size_bytes: length of the packet.
            state: the link, which is up.
            rate: mission seconds per second of that time line; bits and delays are of mission time.
        """
        begins = max(now, self.free_at)
        self.free_at = begins + 8.0 * size_bytes / (state.rate_bits_per_second * rate)
        return self.free_at + state.delay_seconds / rate


@dataclass(slots=True)
class GateCounters:
    """What passed a listener."""

    connections: int = 0
    refused: int = 0
    aborted: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


@dataclass(slots=True, eq=False)
class _Passage:
    """One connection through the gate."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def abort(self) -> None:
        for writer in self.writers:
            _reset(writer)
        for task in self.tasks:
            task.cancel()


class Gate:
    """One satellite's listener for one link."""

    def __init__(
        self,
        look_up: Callable[[], LinkState],
        broker: tuple[str, int],
        rate: float = 1.0,
        patience_seconds: float = 1.0,
    ) -> None:
        """Set up.

        Args:
            look_up: the link's present state.
            broker: host and port behind the gate.
            rate: mission seconds per wall second.
            patience_seconds: wall seconds of an outage that a connection survives.
        """
        self._look_up = look_up
        self._broker = broker
        self._rate = rate
        self._patience = patience_seconds
        self._down_since: float | None = None
        self._state = DOWN
        self._opened = asyncio.Event()
        self._passages: set[_Passage] = set()
        self._server: asyncio.Server | None = None
        self.counters = GateCounters()
        self._flips = 0

    @property
    def port(self) -> int:
        """The port that it listens on."""
        if self._server is None:
            raise RuntimeError("the gate is not open yet; await open() first")
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        self.update()
        self._server = await asyncio.start_server(self._serve, host, port)

    async def close(self) -> None:
        """Stop listening and abort what is open."""
        if self._server is not None:
            self._server.close()
        tasks = [task for passage in self._passages for task in passage.tasks]
        for passage in list(self._passages):
            passage.abort()
        await asyncio.gather(*tasks, return_exceptions=True)

    def update(self) -> None:
        """Look at the link again; to be called at every step of the plant."""
        self._state = self._look_up()
        now = asyncio.get_running_loop().time()
        if self._state.up:
            self._down_since = None
            self._opened.set()
            return
        self._opened.clear()
        if self._down_since is None:
            self._down_since = now
        if now - self._down_since >= self._patience:
            for passage in list(self._passages):
                passage.abort()
                self._passages.discard(passage)
                self.counters.aborted += 1

    def flip_bits(self, count: int) -> None:
        """Flip the middle bit of each of the next ``count`` pieces that pass."""
        self._flips += count

    def _flipped(self, chunk: bytes) -> bytes:
        self._flips -= 1
        damaged = bytearray(chunk)
        damaged[len(damaged) // 2] ^= 0x10
        return bytes(damaged)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._state.up:
            self.counters.refused += 1
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._broker)
        except OSError:
            self.counters.refused += 1
            _reset(writer)
            return
        self.counters.connections += 1
        passage = _Passage((writer, far_writer))
        self._passages.add(passage)
        passage.tasks = [
            asyncio.create_task(self._pass(reader, far_writer, upwards=False)),
            asyncio.create_task(self._pass(far_reader, writer, upwards=True)),
        ]
        await asyncio.wait(passage.tasks)
        self._passages.discard(passage)
        for end in passage.writers:
            end.close()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, upwards: bool) -> None:
        """Carry one direction: bytes enter at the link's rate and come out a delay later; up is to the satellite."""
        on_the_way: asyncio.Queue[tuple[float, bytes] | None] = asyncio.Queue()
        out = asyncio.create_task(self._come_out(on_the_way, writer, upwards=upwards))
        loop, model = asyncio.get_running_loop(), LinkModel()
        try:
            with contextlib.suppress(ConnectionError):
                while chunk := await reader.read(CHUNK_BYTES):
                    await self._opened.wait()
                    arrival = model.arrival(loop.time(), len(chunk), self._state, self._rate)
                    on_the_way.put_nowait((arrival, chunk))
                    # The sender waits while the link is occupied: TCP's own back-pressure reaches it.
                    await asyncio.sleep(model.free_at - loop.time())
            on_the_way.put_nowait(None)
            await out
        finally:
            out.cancel()

    async def _come_out(
        self, on_the_way: asyncio.Queue[tuple[float, bytes] | None], writer: asyncio.StreamWriter, *, upwards: bool
    ) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError):
            while (item := await on_the_way.get()) is not None:
                arrival, chunk = item
                await asyncio.sleep(arrival - loop.time())
                await self._opened.wait()
                writer.write(self._flipped(chunk) if self._flips else chunk)
                await writer.drain()
                if upwards:
                    self.counters.bytes_up += len(chunk)
                else:
                    self.counters.bytes_down += len(chunk)
            writer.write_eof()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset, so that the far end cannot take it for an orderly close."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
