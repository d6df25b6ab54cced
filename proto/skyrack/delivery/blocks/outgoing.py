"""Files on their way out: what peers ask for is read and sent, what cannot be sent is withdrawn."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from skyrack.database import StorageError
from skyrack.delivery.blocks import store
from skyrack.delivery.blocks.background import Background
from skyrack.delivery.blocks.book import FileBook
from skyrack.delivery.blocks.receiver import BlockCounters
from skyrack.delivery.blocks.sender import BlockQueue
from skyrack.delivery.blocks.store import Held
from skyrack.delivery.settings import DeliverySettings
from skyrack.v1.backhaul_pb2 import Block, BlockRequest, Frame

_HELD_KEPT: Final = 64
_DENIED_KEPT: Final = 64
_PROGRESS_KEPT: Final = 1000


def read_held(held: Held, offset: int, size: int) -> bytes:
    """Bytes of a file that was offered with its path or content. Raises ``OSError``."""
    if held.content is not None:
        return held.content[offset : offset + size]
    with Path(held.path).open("rb") as file:
        file.seek(offset)
        return file.read(size)


@dataclass(slots=True)
class _Destination:
    queue: BlockQueue = field(default_factory=BlockQueue)
    received_bytes: dict[bytes, int] = field(default_factory=dict)
    """What the peer says that it has of a file, by SHA-256."""
    denied: dict[bytes, float] = field(default_factory=dict)
    """Loop time since which it asks for a file that is not offered."""


class Outgoing:
    """Serves what is offered. ``changed`` is called after each commit that changed what is."""

    def __init__(
        self,
        background: Background,
        book: FileBook,
        read: Callable[[Held, int, int], bytes],
        settings: DeliverySettings,
        counters: BlockCounters,
        changed: Callable[[], None],
    ) -> None:
        self._background = background
        self._book = book
        self._read = read
        self._settings = settings
        self._counters = counters
        self._changed = changed
        self._destinations: dict[str, _Destination] = {}
        self._held: dict[tuple[str, bytes], Held] = {}

    def _of(self, destination: str) -> _Destination:
        return self._destinations.setdefault(destination, _Destination())

    def received(self, destination: str, sha256: bytes) -> int:
        """Bytes of a file that a peer has, as it last said."""
        return self._of(destination).received_bytes.get(sha256, 0)

    def look_again(self) -> None:
        """What is offered may have changed."""
        self._held.clear()

    async def asked(self, name: str, request: BlockRequest, now: float) -> None:
        """A peer asks for blocks."""
        destination = self._of(name)
        held = await self._find(name, request.sha256)
        if held is None:
            self._counters.not_offered += 1
            self._denied(name, destination, request.sha256, now)
            return
        destination.denied.pop(request.sha256, None)
        destination.received_bytes.pop(request.sha256, None)
        destination.received_bytes[request.sha256] = request.received_bytes
        if len(destination.received_bytes) > _PROGRESS_KEPT:
            del destination.received_bytes[next(iter(destination.received_bytes))]
        self._counters.outside += destination.queue.asked(request.sha256, held.layout.blocks, request)

    def _denied(self, name: str, destination: _Destination, sha256: bytes, now: float) -> None:
        """Who asks again and again is told; a single request may have been overtaken by a receipt."""
        since = destination.denied.setdefault(sha256, now)
        if len(destination.denied) > _DENIED_KEPT:
            del destination.denied[next(iter(destination.denied))]
        if now - since > 2 * self._settings.retransmit_maximum_seconds:
            del destination.denied[sha256]
            self._background.spawn(self._deny(name, sha256))

    async def _deny(self, destination: str, sha256: bytes) -> None:
        await self._background.write(lambda connection: self._book.deny(connection, destination, sha256))
        self._changed()

    async def _find(self, destination: str, sha256: bytes) -> Held | None:
        held = self._held.get((destination, sha256))
        if held is None:
            with contextlib.suppress(StorageError):
                held = await self._background.database.read(
                    lambda connection: store.held_for(connection, destination, sha256)
                )
            if held is not None:
                if len(self._held) >= _HELD_KEPT:
                    self._held.clear()
                self._held[destination, sha256] = held
        return held

    async def frame(self, name: str) -> Frame | None:
        """The next frame of blocks that a peer asked for; ``None`` when there is none."""
        queue = self._of(name).queue
        frame, size = Frame(), 0
        while (key := queue.take()) is not None:
            sha256, index = key
            held = await self._find(name, sha256)
            if held is None:
                queue.forget(sha256)
                continue
            block_bytes = held.layout.size(index)
            if size and size + block_bytes > self._settings.frame_bytes:
                queue.put_back(key)
                break
            try:
                data = await self._background.in_thread(
                    partial(self._read, held, held.layout.offset(index), block_bytes)
                )
            except (OSError, KeyError) as error:
                queue.forget(sha256)
                self._background.spawn(self._withdraw(name, sha256, f"its holder cannot read it: {error}"))
                continue
            frame.blocks.append(Block(sha256=sha256, index=index, data=data))
            size += block_bytes
            self._counters.sent += 1
            self._counters.sent_bytes += len(data)
        return frame if frame.blocks else None

    async def _withdraw(self, destination: str, sha256: bytes, reason: str) -> None:
        self._background.on_problem("file", f"file {sha256.hex()[:12]} for {destination} is withdrawn: {reason}")
        await self._background.write(lambda connection: self._book.withdraw(connection, destination, sha256, reason))
        self._changed()
