"""The driver's way to the node: one request, one answer, and files both ways."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec
import zmq
import zmq.asyncio

from hil.devices.remote_node import files, wire
from hil.devices.remote_node.keys import KeyPair

T = TypeVar("T")
A = TypeVar("A", bound=wire.Answer)

# An answer may wait for a disk; a poll may not.
ANSWER_SECONDS = 20.0
POLL_SECONDS = 3.0


class FarEndError(Exception):
    """The node refuses, or does not answer; the sentence says which."""


class SilentError(FarEndError):
    """The node does not answer."""


class FarEnd:
    """A node over ZeroMQ. It may be silent for a while: the connection comes back by itself."""

    def __init__(self, address: str, server_key: str, pair: KeyPair) -> None:
        self._address = address
        self._context = zmq.asyncio.Context.instance()
        self._socket = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.CURVE_SERVERKEY, server_key.encode()),
            (zmq.CURVE_PUBLICKEY, pair.public.encode()),
            (zmq.CURVE_SECRETKEY, pair.secret.encode()),
            # What was asked while nobody was there is not asked later: it would be old.
            (zmq.IMMEDIATE, 1),
            (zmq.HEARTBEAT_IVL, 2000),
            (zmq.HEARTBEAT_TIMEOUT, 10_000),
            (zmq.RECONNECT_IVL, 200),
            (zmq.RECONNECT_IVL_MAX, 5000),
        ):
            self._socket.setsockopt(option, value)
        self._socket.connect(address)
        self._numbers = itertools.count(1)
        self._waiting: dict[bytes, asyncio.Future[wire.Answer]] = {}
        self._reader: asyncio.Task[None] | None = None

    async def ask(self, request: wire.Request, expected: type[A], timeout_seconds: float = ANSWER_SECONDS) -> A:
        """Ask, and wait for the answer.

        Raises:
            SilentError: it does not answer.
            FarEndError: it refuses.
        """
        if self._reader is None:
            self._reader = asyncio.create_task(self._read(), name=f"read {self._address}")
        number = next(self._numbers).to_bytes(8, "big")
        answered = self._waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._socket.send_multipart([number, wire.encode(request)])
                answer = await answered
        except TimeoutError:
            raise SilentError(f"{self._address} does not answer; is its board on, and its key allowed?") from None
        finally:
            del self._waiting[number]
        if isinstance(answer, wire.Refused):
            raise FarEndError(answer.problem)
        if not isinstance(answer, expected):
            raise FarEndError(f"{self._address} answered with {type(answer).__name__}; it runs another version")
        return answer

    async def send_area(self, work_id: str, area: wire.Area, directory: Path) -> None:
        """Make an area over there equal to a directory here. Raises FarEndError, OSError and ArchiveError."""
        here = await _aside(lambda: files.listing(directory))
        lacking = await self.ask(wire.Offer(work_id, area, here), wire.Files)
        for entry in lacking.files:
            offset = 0
            while True:
                data = await _aside(lambda entry=entry, offset=offset: files.piece(directory, entry.path, offset))  # type: ignore[misc]
                await self.ask(wire.Chunk(work_id, area, entry, offset, data), wire.Done)
                offset += len(data)
                if offset >= entry.size_bytes or not data:
                    break

    async def fetch_area(self, work_id: str, area: wire.Area, directory: Path) -> bool:
        """Make a directory here equal to an area over there; whether it held still meanwhile, else nothing changed.

        Raises FarEndError, OSError and ArchiveError.
        """
        there = (await self.ask(wire.List(work_id, area), wire.Files)).files
        fresh = directory.with_name(f"{directory.name}.fetched")
        await _aside(lambda: shutil.rmtree(fresh, ignore_errors=True))
        fresh.mkdir(parents=True)
        for entry in there:
            offset = 0
            while True:
                data = (await self.ask(wire.Get(work_id, area, entry.path, offset), wire.Piece)).data
                try:
                    complete = await _aside(lambda e=entry, o=offset, d=data: files.take(fresh, e, o, d))  # type: ignore[misc]
                except ValueError:
                    return False
                offset += len(data)
                if complete:
                    break
                if not data:
                    return False
        if (await self.ask(wire.List(work_id, area), wire.Files)).files != there:
            return False
        await _aside(lambda: _exchange(directory, fresh))
        return True

    async def close(self) -> None:
        """Let go of the connection."""
        if self._reader is not None:
            self._reader.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._reader
        self._socket.close()

    async def _read(self) -> None:
        while True:
            frames = await self._socket.recv_multipart()
            if len(frames) != 2:
                continue
            waiting = self._waiting.get(frames[0])
            if waiting is None or waiting.done():
                continue
            try:
                waiting.set_result(wire.decode_answer(frames[1]))
            except msgspec.DecodeError as error:
                waiting.set_result(wire.Refused(f"{self._address} runs another version: {error}"))


def _exchange(directory: Path, fresh: Path) -> None:
    """Put ``fresh`` in the place of ``directory``: file by file, so that no moment has less than before or after."""
    there = {path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file()}
    for relative in sorted(there):
        target = directory / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        (fresh / relative).replace(target)
    for path in [path for path in directory.rglob("*") if path.is_file() and path.relative_to(directory) not in there]:
        path.unlink()
    shutil.rmtree(fresh, ignore_errors=True)


async def _aside(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)
