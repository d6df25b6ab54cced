"""The receiving side of block transfer with one peer: which blocks to ask for, and when again. No I/O, no clock.

Blocks go below everything else: what may be on the way at once shrinks as soon as blocks queue somewhere on the way
(delay is the signal, as in LEDBAT, RFC 6817), and a loss, which on a broken contact tells nothing about the rate,
does not shrink it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from skyrack.delivery.blocks.layout import Layout
from skyrack.delivery.sender import RoundTrip
from skyrack.delivery.settings import DeliverySettings
from skyrack.v1.backhaul_pb2 import BlockRequest
from skyrack.v1.options_pb2 import STREAM_BULK

QUEUE_SECONDS: Final = 1.0
"""So long may a block wait on its way because of other blocks; time of the event loop."""

FIRST_WINDOW_BYTES: Final = 131_072

OVERTAKEN_BLOCKS: Final = 16
"""So many blocks that were asked for later have come: what has not is lost (as in RFC 6675, for longer reordering)."""

SPAN_BLOCKS: Final = 2048
"""Blocks that one request may speak of."""

_MISSING, _ASKED, _HERE = 0, 1, 2


class Verdict(Enum):
    """What a block that came is to us."""

    WANTED = "wanted"
    DUPLICATE = "duplicate"
    UNSOLICITED = "unsolicited"
    """Of no file that is wanted, or of no place or size in it."""


@dataclass(slots=True)
class BlockCounters:
    """What crossed in blocks since the start."""

    sent: int = 0
    sent_bytes: int = 0
    outside: int = 0
    """Asked of us beyond the end of a file."""
    not_offered: int = 0
    """Requests for files that are not offered to who asked."""
    received: int = 0
    received_bytes: int = 0
    resumed_bytes: int = 0
    """Lay here from an earlier life, verified, and were not asked for again."""
    asked_again: int = 0
    duplicates: int = 0
    repeated_bytes: int = 0
    """Of those duplicates."""
    unsolicited: int = 0
    wrong: int = 0
    """Whose hash was not the one that was offered."""
    files_received: int = 0
    files_refused: int = 0


@dataclass(slots=True)
class _Wanted:
    layout: Layout
    states: bytearray
    here_bytes: int
    cursor: int = 0

    def next_missing(self) -> int:
        """The first block that is neither here nor asked for; -1 when there is none."""
        self.cursor = index = self.states.find(_MISSING, self.cursor)
        if index < 0:
            self.cursor = len(self.states)
        return index


@dataclass(slots=True)
class _Asked:
    size_bytes: int
    asked_at: float
    due_at: float
    number: int
    """Of the asking: blocks are sent in this order."""
    backoff: int
    """Of the time-out that it waits for; -1 for one that is no measured time-out."""
    clean: bool = True
    """Asked for once, so that its coming measures a round trip (Karn)."""


@dataclass(slots=True)
class Receiver:
    """What is wanted of one peer."""

    settings: DeliverySettings
    counters: BlockCounters = field(default_factory=BlockCounters)
    _files: dict[bytes, _Wanted] = field(default_factory=dict)
    _asked: dict[tuple[bytes, int], _Asked] = field(default_factory=dict)
    _asked_bytes: int = 0
    _numbers: int = 0
    _newest: int = 0
    """Of those that came, the one that was asked for last."""
    _window: float = 0.0
    _least: float = float("inf")
    _round_trip: RoundTrip = field(init=False)

    def __post_init__(self) -> None:
        self._round_trip = RoundTrip(self.settings)
        self._window = float(min(FIRST_WINDOW_BYTES, self._widest))

    @property
    def _widest(self) -> float:
        policy = self.settings.policies.get(STREAM_BULK)
        return self.settings.window_bytes * (policy.window_ratio if policy else 0.5)

    @property
    def window_bytes(self) -> int:
        """What may be on the way now."""
        return int(self._window)

    @property
    def asked_bytes(self) -> int:
        """What has been asked for and has not come."""
        return self._asked_bytes

    def want(self, layout: Layout, here: bytes | bytearray | None = None) -> None:
        """Ask for a file from now on; ``here`` has a byte for each block, 0 for those that are missing."""
        states = bytearray(_HERE if byte else _MISSING for byte in here or bytes(layout.blocks))
        self.forget(layout.sha256)
        here_bytes = sum(layout.size(index) for index, state in enumerate(states) if state)
        self._files[layout.sha256] = _Wanted(layout, states, here_bytes)

    def forget(self, sha256: bytes) -> None:
        """Ask for a file no more."""
        if self._files.pop(sha256, None) is not None:
            for key in [key for key in self._asked if key[0] == sha256]:
                self._drop(key)

    def wants(self, sha256: bytes) -> bool:
        """Whether the file is asked for."""
        return sha256 in self._files

    def is_whole(self, sha256: bytes) -> bool:
        """Whether every block of a wanted file is here."""
        file = self._files.get(sha256)
        return file is not None and file.here_bytes == file.layout.total_bytes

    def progress(self) -> dict[bytes, tuple[int, int]]:
        """(bytes that are here, bytes of all) by file."""
        return {sha256: (file.here_bytes, file.layout.total_bytes) for sha256, file in self._files.items()}

    def judge(self, sha256: bytes, index: int, size_bytes: int) -> Verdict:
        """What a block is, before it is verified and kept."""
        file = self._files.get(sha256)
        if file is None or not 0 <= index < file.layout.blocks or size_bytes != file.layout.size(index):
            self.counters.unsolicited += 1
            return Verdict.UNSOLICITED
        if file.states[index] == _HERE:
            self.counters.duplicates += 1
            self.counters.repeated_bytes += size_bytes
            return Verdict.DUPLICATE
        return Verdict.WANTED

    def kept(self, sha256: bytes, index: int, now: float) -> None:
        """A block was verified and is kept."""
        file = self._files.get(sha256)
        if file is None or file.states[index] == _HERE:
            return
        size = file.layout.size(index)
        file.states[index] = _HERE
        file.here_bytes += size
        self.counters.received += 1
        self.counters.received_bytes += size
        asked = self._drop((sha256, index))
        if asked is not None:
            self._newest = max(self._newest, asked.number)
        if asked is not None and asked.clean:
            self._round_trip.measured(now - asked.asked_at)
            self._adapt(now - asked.asked_at, size)

    def _adapt(self, seconds: float, size: int) -> None:
        self._least = min(self._least, seconds)
        queued = seconds - self._least
        if queued <= QUEUE_SECONDS:
            self._window += size
        else:
            self._window -= size * min(1.0, queued / QUEUE_SECONDS - 1.0)
        self._window = min(max(self._window, 1.0), self._widest)

    def _drop(self, key: tuple[bytes, int]) -> _Asked | None:
        asked = self._asked.pop(key, None)
        if asked is not None:
            self._asked_bytes -= asked.size_bytes
        return asked

    def due(self, now: float) -> list[BlockRequest]:
        """What to ask for now, which counts as asked from then on: what did not come, and as much as may be new.

        New blocks are asked for when a quarter of the window is free, so that requests are few.
        """
        wanted: dict[bytes, list[int]] = {}
        for (sha256, index), asked in self._asked.items():
            if asked.due_at <= now or asked.number + OVERTAKEN_BLOCKS <= self._newest:
                if asked.due_at <= now:
                    self._round_trip.timed_out(asked.backoff)
                asked.clean = False
                asked.backoff = self._round_trip.backoff
                asked.asked_at, asked.due_at = now, now + self._round_trip.timeout()
                asked.number = self._next_number()
                self.counters.asked_again += 1
                wanted.setdefault(sha256, []).append(index)
        if self._asked_bytes <= 0.75 * self._window:
            for sha256, index in self._fresh(now):
                wanted.setdefault(sha256, []).append(index)
        return [request for sha256, indices in wanted.items() for request in self._requests(sha256, sorted(indices))]

    def _fresh(self, now: float) -> Iterator[tuple[bytes, int]]:
        """Blocks that may be asked for in addition: of the file that lacks least first."""
        for sha256, file in sorted(
            self._files.items(), key=lambda entry: (entry[1].layout.total_bytes - entry[1].here_bytes, entry[0])
        ):
            while (index := file.next_missing()) >= 0:
                size = file.layout.size(index)
                if self._asked and self._asked_bytes + size > self._window:
                    return
                if len(self._asked) >= self.settings.window_items:
                    return
                file.states[index] = _ASKED
                due_at = now + self._round_trip.timeout()
                self._asked[sha256, index] = _Asked(size, now, due_at, self._next_number(), self._round_trip.backoff)
                self._asked_bytes += size
                yield sha256, index

    def _next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _requests(self, sha256: bytes, indices: list[int]) -> Iterator[BlockRequest]:
        here = self._files[sha256].here_bytes
        while indices:
            first = indices[0]
            bits = bytearray()
            count = 0
            for index in indices:
                if index - first >= SPAN_BLOCKS:
                    break
                count += 1
                bits.extend(bytes((index - first) // 8 + 1 - len(bits)))
                bits[(index - first) // 8] |= 1 << (index - first) % 8
            indices = indices[count:]
            yield BlockRequest(sha256=sha256, first_index=first, wanted=bytes(bits), received_bytes=here)

    def connected(self, now: float) -> None:
        """A link came up. What was on the way may be lost: ask again soon, unless it comes first."""
        self._window = float(min(FIRST_WINDOW_BYTES, self._widest))
        self._least = float("inf")
        self._round_trip.backoff = 0  # of another way
        for asked in self._asked.values():
            asked.backoff = -1
            asked.clean = False
            asked.due_at = min(asked.due_at, now + self.settings.retransmit_minimum_seconds)

    def next_due(self) -> float | None:
        """When to look again, in loop time, if nothing comes; ``None`` when nothing is asked for."""
        return min((asked.due_at for asked in self._asked.values()), default=None)
