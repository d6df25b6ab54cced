"""Files of an endpoint, on their way in and out: the asyncio shell around receiver, sender, book and spool."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from skyrack.database import StorageError
from skyrack.delivery.blocks import store
from skyrack.delivery.blocks.book import FileBook
from skyrack.delivery.blocks.layout import DIGEST_BYTES, MAXIMUM_FILE_BYTES, Layout
from skyrack.delivery.blocks.receiver import BlockCounters, Receiver, Verdict
from skyrack.delivery.blocks.sender import BlockQueue
from skyrack.delivery.blocks.spool import Spool
from skyrack.delivery.blocks.store import Held, Wanted
from skyrack.delivery.endpoint import Endpoint
from skyrack.v1.backhaul_pb2 import Block, BlockRequest, Frame
from skyrack.v1.options_pb2 import STREAM_BULK

T = TypeVar("T")

MAXIMUM_WRONG_BLOCKS: Final = 8
"""Frames are signed, so a wrong block is the holder's: it has not what it offered."""

_RETRY_SECONDS: Final = 5.0
_HELD_KEPT: Final = 64
_PROGRESS_KEPT: Final = 1000


def read_held(held: Held, offset: int, size: int) -> bytes:
    """Bytes of a file that was offered with its path or content. Raises ``OSError``."""
    if held.content is not None:
        return held.content[offset : offset + size]
    with Path(held.path).open("rb") as file:
        file.seek(offset)
        return file.read(size)


@dataclass(slots=True)
class _Transfer:
    """A file, or the list of a file's hashes, that comes in."""

    wanted: Wanted
    layout: Layout
    hashes: bytes
    content: bytearray | None = None
    """Of a list, which gathers in memory."""
    wrong: int = 0


@dataclass(slots=True)
class _Peer:
    receiver: Receiver
    queue: BlockQueue = field(default_factory=BlockQueue)
    transfers: dict[bytes, _Transfer] = field(default_factory=dict)
    received_bytes: dict[bytes, int] = field(default_factory=dict)
    """What the peer says that it has of a file, by SHA-256."""
    denied: dict[bytes, float] = field(default_factory=dict)
    """Loop time since which it asks for a file that is not offered."""


class FileExchange:
    """Sends files that were offered through ``book`` and takes those that peers offered, block by block.

    What a transaction changed through ``book`` takes effect when ``changed`` is called after its commit, and at the
    next start in any case. ``on_change`` hears when a file has come or was given up, ``on_problem(kind, text)`` of
    blocks that were refused and of disks that fail. Holds no promise that is not in the database.
    """

    def __init__(
        self,
        endpoint: Endpoint[Any],
        spool: Spool,
        *,
        read: Callable[[Held, int, int], bytes] = read_held,
        release: Callable[[str], None] = lambda _: None,
        limit_bytes: int = MAXIMUM_FILE_BYTES,
        on_change: Callable[[], None] = lambda: None,
        on_problem: Callable[[str, str], None] = lambda _kind, _text: None,
    ) -> None:
        """``release(path)`` removes a file that was held and is needed no more; in a thread, as ``read`` is called."""
        self.counters = BlockCounters()
        self.book = FileBook(endpoint.enqueue, spool.has, limit_bytes)
        self._endpoint = endpoint
        self._spool = spool
        self._read = read
        self._release = release
        self._on_change = on_change
        self._on_problem = on_problem
        self._peers: dict[str, _Peer] = {}
        self._held: dict[tuple[str, bytes], Held] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stale = False
        self._loading: asyncio.Task[None] | None = None
        endpoint.files = self

    async def open(self) -> None:
        """Prepare the tables and go on with what earlier lives left. Raises ``StorageError``."""
        await self._endpoint.database.migrate("files", store.SCHEMA)
        self.changed()

    async def close(self) -> None:
        """Stop what runs beside; the database is still needed until this returns."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def incoming(self) -> dict[tuple[str, bytes], tuple[int, int]]:
        """(bytes that are here, bytes of all) of what comes in, by (source, SHA-256)."""
        return {
            (name, sha256): progress
            for name, peer in self._peers.items()
            for sha256, progress in peer.receiver.progress().items()
        }

    def outgoing(self, destination: str, sha256: bytes) -> int:
        """Bytes of a file that a peer has, as it last said."""
        peer = self._peers.get(destination)
        return peer.received_bytes.get(sha256, 0) if peer else 0

    def changed(self) -> None:
        """A transaction that used ``book`` has been committed."""
        self._stale = True
        self._held.clear()
        while self.book.to_kick:
            self._endpoint.kick(self.book.to_kick.popleft(), STREAM_BULK)
        if self._loading is None or self._loading.done():
            self._loading = self._spawn(self._load())

    # What comes in.

    async def take(self, source: str, frame: Frame) -> None:
        """Take the blocks and requests of a verified frame. Never raises for what is in them."""
        loop = asyncio.get_running_loop()
        peer = self._peer(source)
        for block in frame.blocks:
            await self._take_block(source, peer, block)
        for request in frame.block_requests:
            await self._take_request(source, peer, request, loop.time())
        self._endpoint.schedule(loop.time())

    async def _take_block(self, source: str, peer: _Peer, block: Block) -> None:
        transfer = peer.transfers.get(block.sha256)
        verdict = peer.receiver.judge(block.sha256, block.index, len(block.data))
        if verdict is not Verdict.WANTED or transfer is None:
            return
        try:
            right = await self._in_thread(partial(self._keep, source, transfer, block.index, block.data))
        except OSError as error:
            self._on_problem("storage", f"a block from {source} could not be kept: {error}")
            return
        if right:
            peer.receiver.kept(block.sha256, block.index, asyncio.get_running_loop().time())
            if peer.receiver.is_whole(block.sha256):
                self._whole(source, peer, transfer)
            return
        self.counters.wrong += 1
        transfer.wrong += 1
        text = f"block {block.index} of file {block.sha256.hex()[:12]} from {source} is not the one that was offered"
        self._on_problem("block", text)
        if transfer.wrong == MAXIMUM_WRONG_BLOCKS:
            problem = "its blocks are not those that were offered"
            peer.receiver.forget(block.sha256)
            self._spawn(self._settle(source, transfer.wanted.offered.layout.sha256, problem))

    def _keep(self, source: str, transfer: _Transfer, index: int, data: bytes) -> bool:
        layout = transfer.layout
        expected = transfer.hashes[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
        if hashlib.sha256(data).digest() != expected:
            return False
        if transfer.content is None:
            self._spool.write(source, layout, index, data)
        else:
            transfer.content[layout.offset(index) : layout.offset(index) + len(data)] = data
        return True

    def _whole(self, source: str, peer: _Peer, transfer: _Transfer) -> None:
        """Every block is here."""
        if transfer.content is None:
            self._spawn(self._finish(source, transfer.layout))
            return
        peer.receiver.forget(transfer.layout.sha256)
        peer.transfers.pop(transfer.layout.sha256, None)
        sha256, hashes = transfer.wanted.offered.layout.sha256, bytes(transfer.content)
        if hashlib.sha256(hashes).digest() == transfer.layout.sha256:
            self._spawn(self._take_hashes(source, sha256, hashes))
        else:
            self._spawn(self._settle(source, sha256, "the list of its hashes is not the one that was offered"))

    async def _take_hashes(self, source: str, sha256: bytes, hashes: bytes) -> None:
        await self._write(lambda connection: store.set_hashes(connection, source, sha256, hashes))
        self.changed()

    async def _finish(self, source: str, layout: Layout) -> None:
        while True:
            try:
                right = await self._in_thread(partial(self._spool.finish, source, layout))
                break
            except OSError as error:
                self._on_problem("storage", f"a file from {source} could not be finished: {error}")
                await asyncio.sleep(_RETRY_SECONDS)
        problem = "" if right else "its blocks are those that were offered, but the SHA-256 of the whole is not"
        await self._settle(source, layout.sha256, problem)

    async def _settle(self, source: str, sha256: bytes, problem: str) -> None:
        await self._write(lambda connection: self.book.settle(connection, source, sha256, problem))
        if problem:
            self.counters.files_refused += 1
        else:
            self.counters.files_received += 1
        self.changed()
        self._on_change()

    async def _load(self) -> None:
        """Bring what is asked for in line with what the database wants."""
        while self._stale:
            self._stale = False
            try:
                rows = await self._endpoint.database.read(store.receiving)
            except StorageError:
                self._stale = True
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            wanted = {(row.source, row.offered.layout.sha256): row for row in rows}
            for name, peer in self._peers.items():
                for key, transfer in list(peer.transfers.items()):
                    row = wanted.get((name, transfer.wanted.offered.layout.sha256))
                    if row is None or row.offered != transfer.wanted.offered:
                        peer.receiver.forget(key)
                        del peer.transfers[key]
                        await self._in_thread(partial(self._spool.discard, name, key))
            under_way = {
                (name, transfer.wanted.offered.layout.sha256)
                for name, peer in self._peers.items()
                for transfer in peer.transfers.values()
            }
            for place, row in wanted.items():
                if place not in under_way:
                    await self._begin(row)
            if self.book.released:
                await self._release_unheld()

    async def _release_unheld(self) -> None:
        paths = {self.book.released.popleft() for _ in range(len(self.book.released))}
        with contextlib.suppress(StorageError):  # then the holder's next start sweeps them
            held = await self._endpoint.database.read(store.held_paths)
            for path in sorted(paths - held):
                with contextlib.suppress(OSError):
                    await self._in_thread(partial(self._release, path))

    async def _begin(self, row: Wanted) -> None:
        offered, peer = row.offered, self._peer(row.source)
        if offered.hashes is None:
            layout = offered.list_layout or offered.layout
            transfer = _Transfer(row, layout, offered.list_hashes, bytearray(layout.total_bytes))
            here = bytearray(layout.blocks)
        else:
            layout = offered.layout
            transfer = _Transfer(row, layout, offered.hashes)
            try:
                here = await self._in_thread(partial(self._spool.scan, row.source, layout, offered.hashes))
            except OSError as error:
                self._on_problem("storage", f"what lies here of a file from {row.source} cannot be read: {error}")
                here = bytearray(layout.blocks)
        peer.transfers[layout.sha256] = transfer
        peer.receiver.want(layout, here)
        self.counters.resumed_bytes += sum(layout.size(index) for index, byte in enumerate(here) if byte)
        if peer.receiver.is_whole(layout.sha256):
            self._whole(row.source, peer, transfer)
        self._endpoint.schedule(asyncio.get_running_loop().time())

    # What goes out.

    async def _take_request(self, source: str, peer: _Peer, request: BlockRequest, now: float) -> None:
        held = await self._find(source, request.sha256)
        if held is None:
            self.counters.not_offered += 1
            since = peer.denied.setdefault(request.sha256, now) if len(peer.denied) < _HELD_KEPT else now
            if now - since > 2 * self._endpoint.settings.retransmit_maximum_seconds:
                del peer.denied[request.sha256]
                self._spawn(self._deny(source, request.sha256))
            return
        peer.denied.pop(request.sha256, None)
        peer.received_bytes.pop(request.sha256, None)
        peer.received_bytes[request.sha256] = request.received_bytes
        if len(peer.received_bytes) > _PROGRESS_KEPT:
            del peer.received_bytes[next(iter(peer.received_bytes))]
        self.counters.outside += peer.queue.asked(request.sha256, held.layout.blocks, request)

    async def _deny(self, destination: str, sha256: bytes) -> None:
        await self._write(lambda connection: self.book.deny(connection, destination, sha256))
        self.changed()

    async def _find(self, destination: str, sha256: bytes) -> Held | None:
        held = self._held.get((destination, sha256))
        if held is None:
            with contextlib.suppress(StorageError):
                held = await self._endpoint.database.read(
                    lambda connection: store.held_for(connection, destination, sha256)
                )
            if held is not None:
                if len(self._held) >= _HELD_KEPT:
                    self._held.clear()
                self._held[destination, sha256] = held
        return held

    async def frame(self, destination: str) -> Frame | None:
        """The next frame of blocks that a peer asked for; ``None`` when there is none."""
        peer = self._peer(destination)
        frame, size = Frame(), 0
        while (key := peer.queue.take()) is not None:
            sha256, index = key
            held = await self._find(destination, sha256)
            if held is None:
                peer.queue.forget(sha256)
                continue
            block_bytes = held.layout.size(index)
            if size and size + block_bytes > self._endpoint.settings.frame_bytes:
                peer.queue.put_back(key)
                break
            try:
                data = await self._in_thread(partial(self._read, held, held.layout.offset(index), block_bytes))
            except (OSError, KeyError) as error:
                peer.queue.forget(sha256)
                self._spawn(self._withdraw(destination, sha256, f"its holder cannot read it: {error}"))
                continue
            frame.blocks.append(Block(sha256=sha256, index=index, data=data))
            size += block_bytes
            self.counters.sent += 1
            self.counters.sent_bytes += len(data)
        return frame if frame.blocks else None

    async def _withdraw(self, destination: str, sha256: bytes, reason: str) -> None:
        self._on_problem("file", f"file {sha256.hex()[:12]} for {destination} is withdrawn: {reason}")
        await self._write(lambda connection: self.book.withdraw(connection, destination, sha256, reason))
        self.changed()

    # The link.

    def requests(self, name: str, now: float) -> list[BlockRequest]:
        """What to ask a peer for now; it counts as asked."""
        return self._peer(name).receiver.due(now)

    def next_due(self, name: str) -> float | None:
        """When blocks of a peer must be asked for again, in loop time."""
        return self._peer(name).receiver.next_due()

    def connected(self, name: str, now: float) -> None:
        """A way to a peer came up."""
        self._peer(name).receiver.connected(now)

    def _peer(self, name: str) -> _Peer:
        known = self._peers.get(name)
        if known is None:
            known = self._peers[name] = _Peer(Receiver(self._endpoint.settings, self.counters))
        return known

    async def _write(self, transaction: Callable[[Any], None]) -> None:
        """Commit, however long it takes."""
        while True:
            try:
                await self._endpoint.database.write(transaction)
                break
            except StorageError as error:
                self._on_problem("storage", str(error))
                await asyncio.sleep(_RETRY_SECONDS)

    async def _in_thread(self, function: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, function)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
