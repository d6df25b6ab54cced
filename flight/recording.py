"""Recordings: every message published on the bus of one or several satellites, in a file.

A file is a magic line, a line of JSON that says what was recorded, and records: length, CRC-32, and a body of
satellite, topic, header and payload. A process that is killed while it writes leaves at most one broken record at the
end, which readers leave out.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from flight.bus.wire import split_topic
from skyrack import dictionary
from skyrack.errors import UserError
from skyrack.v1.common_pb2 import Header

MAGIC = b"skyrack recording 1\n"
_FRAME = struct.Struct("<II")
_LENGTHS = struct.Struct("<BHH")
_LARGEST_RECORD_BYTES = 1 << 28


@dataclass(frozen=True, slots=True)
class Record:
    """One message, as its bytes were on the bus."""

    satellite: str
    topic: bytes
    header: bytes
    payload: bytes

    def read_header(self) -> Header:
        """Source, incarnation, sequence and mission time."""
        return Header.FromString(self.header)

    def name_and_key(self) -> tuple[str, str]:
        """Short name of the message, and its instance."""
        name, key = split_topic(self.topic)
        return name.removeprefix("skyrack.v1."), key

    def read_message(self) -> object | None:
        """The message, or None when this contract does not have it."""
        try:
            return dictionary.message_type(self.name_and_key()[0]).FromString(self.payload)
        except KeyError:
            return None


class Recorder:
    """Appends messages to a new file. Raises UserError when it cannot be made."""

    def __init__(self, path: Path | str, about: Mapping[str, object] | None = None) -> None:
        self.path = Path(path)
        self.count = 0
        try:
            self._file: BinaryIO = self.path.open("wb")
        except OSError as error:
            raise UserError(f"{self.path}: a recording cannot be written here: {error.strerror}") from None
        self._file.write(MAGIC + json.dumps(dict(about or {}), sort_keys=True).encode() + b"\n")

    def write(self, satellite: str, topic: bytes, header: bytes, payload: bytes) -> None:
        """Append one message."""
        name = satellite.encode()
        body = b"".join((_LENGTHS.pack(len(name), len(topic), len(header)), name, topic, header, payload))
        self._file.write(_FRAME.pack(len(body), zlib.crc32(body)) + body)
        self.count += 1

    def tap(self, satellite: str) -> Callable[[bytes, bytes, bytes], None]:
        """What to put among a bus's taps."""
        return lambda topic, header, payload: self.write(satellite, topic, header, payload)

    def flush(self) -> None:
        """Hand what has been written to the operating system."""
        self._file.flush()

    def close(self) -> None:
        """End the file."""
        self._file.close()


def read_about(path: Path | str) -> dict[str, object]:
    """What was recorded. Raises UserError when the file is no recording."""
    with _open(path) as file:
        return _read_about(file, path)


def read_recording(path: Path | str) -> Iterator[Record]:
    """The messages of a file, in the order of writing. Raises UserError when the file is no recording."""
    with _open(path) as file:
        _read_about(file, path)
        while len(frame := file.read(_FRAME.size)) == _FRAME.size:
            length, checksum = _FRAME.unpack(frame)
            if not _LENGTHS.size <= length <= _LARGEST_RECORD_BYTES:
                return
            body = file.read(length)
            if len(body) != length or zlib.crc32(body) != checksum:
                return
            yield _parse(body)


def _parse(body: bytes) -> Record:
    satellite, topic, header = _LENGTHS.unpack_from(body)
    first = _LENGTHS.size
    second, third = first + satellite, first + satellite + topic
    fourth = third + header
    return Record(body[first:second].decode(), body[second:third], body[third:fourth], body[fourth:])


def _open(path: Path | str) -> BinaryIO:
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise UserError(f"{path}: the recording cannot be read: {error.strerror}") from None


def _read_about(file: BinaryIO, path: Path | str) -> dict[str, object]:
    if file.read(len(MAGIC)) != MAGIC:
        raise UserError(f"{path}: this is not a recording; `skyrack record` and `--record FILE` write them")
    try:
        about = json.loads(file.readline())
    except ValueError:
        raise UserError(f"{path}: the recording's first lines are broken; record again") from None
    return about if isinstance(about, dict) else {}
