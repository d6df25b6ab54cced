"""What driver and node say to each other: requests, their answers, and how both look as bytes (msgpack).

Frames: the driver sends [number][request], the node answers [number][answer]. A number is eight bytes that the driver
chose; an answer that nobody waits for any more is dropped.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from flight.hal import OutputRecord, WorkReport

Area = Literal["program", "input", "output", "checkpoint"]
SENT: Final[tuple[Area, ...]] = ("program", "input", "checkpoint")
"""Areas that go to the node when work begins."""
FETCHED: Final[tuple[Area, ...]] = ("output", "checkpoint")
"""Areas that come back."""

CHUNK_BYTES = 1 << 20


class FileEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A file of an area; ``path`` is relative to it."""

    path: str
    size_bytes: int
    sha256: bytes
    executable: bool = False


class Poll(msgspec.Struct, frozen=True, tag=True):
    """Be on or off, stay below this draw, and say how everything is."""

    powered: bool
    cap_watts: float


class Offer(msgspec.Struct, frozen=True, tag=True):
    """These files are what an area should hold; which of them are wanted?"""

    work_id: str
    area: Area
    files: tuple[FileEntry, ...]


class Chunk(msgspec.Struct, frozen=True, tag=True):
    """A piece of a file that was wanted; the last one completes it."""

    work_id: str
    area: Area
    entry: FileEntry
    offset: int
    data: bytes


class Start(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Run it: :class:`flight.hal.Work` without its directories, which are the node's own."""

    work_id: str
    command: tuple[str, ...]
    power_watts: float
    memory_bytes: int
    cores: int
    grace_seconds: float
    limit_seconds: float
    expected_seconds: float
    disk_bytes: int
    checkpoint: bool
    environment: dict[str, str]


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Ask it to end."""

    work_id: str


class Forget(msgspec.Struct, frozen=True, tag=True):
    """Drop all that is kept of it; what still runs is stopped first, and forgotten when this is asked again."""

    work_id: str


class List(msgspec.Struct, frozen=True, tag=True):
    """Which files does an area hold?"""

    work_id: str
    area: Area


class Get(msgspec.Struct, frozen=True, tag=True):
    """A piece of a file."""

    work_id: str
    area: Area
    path: str
    offset: int


Request = Poll | Offer | Chunk | Start | Stop | Forget | List | Get


class Standing(msgspec.Struct, frozen=True, tag=True):
    """How the node is. ``marks`` change when a running work's checkpoint does."""

    powered: bool
    draw_watts: float
    reports: dict[str, WorkReport]
    marks: dict[str, str]
    problem: str = ""


class Files(msgspec.Struct, frozen=True, tag=True):
    """Files: those wanted of an offer, or those of a list."""

    files: tuple[FileEntry, ...]


class Piece(msgspec.Struct, frozen=True, tag=True):
    """Bytes of a file."""

    data: bytes


class Done(msgspec.Struct, frozen=True, tag=True):
    """It is done."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """It cannot be done; the sentence says why."""

    problem: str


Answer = Standing | Files | Piece | Done | Refused

encode = msgspec.msgpack.Encoder().encode
decode_request = msgspec.msgpack.Decoder(Request).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode

__all__ = ["OutputRecord", "WorkReport"]  # part of what is said
