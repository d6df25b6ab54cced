"""The on-board recorder: what was published goes to it whole, whatever the link had room for.

Samples gather in memory and are written as compressed blocks, one append a minute, to files of a bounded size: an SD
card sees few, large, sequential writes and no rewriting. What still gathers is lost with the power, no more; a block
that was cut off in the middle of its writing ends its file. Without a directory blocks lie on a shelf in memory.

Not thread-safe: ``add`` and ``take`` belong to the loop; ``keep`` and ``read`` may run in one thread beside it.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import Final

from google.protobuf.message import DecodeError

from skyrack.disk import Shelf
from skyrack.v1.backhaul_pb2 import TelemetryBatch, TelemetrySample

__all__ = ["Block", "Recorder"]

_BLOCK_SAMPLES: Final = 2000
_BLOCK_SECONDS: Final = 60.0
_FILES: Final = 16
"""The bound is shared by about so many files, so that dropping the oldest drops little."""
_FILE_BYTES: Final = (64 << 10, 8 << 20)
_MEMORY_BYTES: Final = 4 << 20
"""At most so much is kept where there is no directory."""
_HEAD: Final = Struct("<4sIIdd")
"""Magic, length of the compressed samples, CRC-32 of times and samples, times of the first and the last of them."""
_TIMES: Final = Struct("<dd")
_MAGIC: Final = b"SKR1"


@dataclass(frozen=True, slots=True)
class Block:
    """Samples, compressed, and the mission times between which they were published."""

    first_seconds: float
    last_seconds: float
    data: bytes

    def samples(self) -> Iterable[TelemetrySample]:
        """Take it apart. Raises ``ValueError`` when it is damaged."""
        try:
            return TelemetryBatch.FromString(zlib.decompress(self.data)).samples
        except (zlib.error, DecodeError) as error:
            raise ValueError(f"a recorded block cannot be read: {error}") from None


class Recorder:
    """Keeps the newest samples, bounded by bytes and by age. ``keep`` and ``read`` raise ``OSError``."""

    def __init__(self, directory: Path | None, shelf: Shelf[deque[Block]] | None = None) -> None:
        self._directory = directory
        self._shelf = shelf or Shelf(deque())
        self._gathering: list[TelemetrySample] = []
        self._first_seconds = self._last_seconds = 0.0
        self._blocks = self._shelf.content
        self._open: Path | None = None
        self.damaged = 0
        """Blocks that could not be read back."""

    def add(self, sample: TelemetrySample, now: float) -> None:
        """Take a sample in."""
        if not self._gathering:
            self._first_seconds = now
        self._last_seconds = now
        self._gathering.append(sample)

    def due(self, now: float) -> bool:
        """Whether enough has gathered to be written."""
        gathering = self._gathering
        return bool(gathering) and (len(gathering) >= _BLOCK_SAMPLES or now - self._first_seconds >= _BLOCK_SECONDS)

    def take(self) -> Block | None:
        """What has gathered, for ``keep``; None when nothing has."""
        if not self._gathering:
            return None
        batch = TelemetryBatch(samples=self._gathering)
        block = Block(self._first_seconds, self._last_seconds, zlib.compress(batch.SerializeToString(), 1))
        self._gathering = []
        return block

    def keep(self, block: Block, limit_bytes: float, limit_seconds: float) -> None:
        """Append a block, and drop what is over the bounds."""
        oldest = block.last_seconds - limit_seconds
        if self._directory is None:
            self._shelf.require_space()
            self._blocks.append(block)
            size = sum(len(kept.data) for kept in self._blocks)
            while self._blocks and (size > min(limit_bytes, _MEMORY_BYTES) or self._blocks[0].last_seconds < oldest):
                size -= len(self._blocks.popleft().data)
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        file_bytes = min(max(limit_bytes / _FILES, _FILE_BYTES[0]), _FILE_BYTES[1])
        if self._open is None or not self._open.exists() or self._open.stat().st_size >= file_bytes:
            # A file of an earlier life may end in the middle of a block: this life begins one of its own.
            self._open = self._directory / f"{int(block.first_seconds * 1000):016d}.samples"
        checksum = _checksum(block.first_seconds, block.last_seconds, block.data)
        head = _HEAD.pack(_MAGIC, len(block.data), checksum, block.first_seconds, block.last_seconds)
        with self._open.open("ab") as file:
            file.write(head + block.data)
        self._drop(limit_bytes, oldest)

    def _drop(self, limit_bytes: float, oldest_seconds: float) -> None:
        files = self._files()
        size = sum(path.stat().st_size for path in files)
        # A file's last sample is no younger than the next file's first.
        ends = [_began(path) for path in files[1:]] + [float("inf")]
        for path, end in zip(files, ends, strict=True):
            if size <= limit_bytes and end >= oldest_seconds:
                break
            size -= path.stat().st_size
            path.unlink()

    def oldest_seconds(self) -> float:
        """Mission time of the oldest block; infinity when there is none."""
        if self._directory is None:
            return self._blocks[0].first_seconds if self._blocks else float("inf")
        files = self._files()
        return _began(files[0]) if files else float("inf")

    def read(self, start_seconds: float, end_seconds: float) -> Iterator[Block]:
        """Blocks that hold samples published in [start, end], oldest first."""
        for block in self._kept(start_seconds, end_seconds):
            if block.last_seconds >= start_seconds and block.first_seconds <= end_seconds:
                yield block

    def _kept(self, start_seconds: float, end_seconds: float) -> Iterator[Block]:
        if self._directory is None:
            yield from tuple(self._blocks)
            return
        files = self._files()
        ends = [_began(path) for path in files[1:]] + [float("inf")]
        for path, end in zip(files, ends, strict=True):
            if end >= start_seconds and _began(path) <= end_seconds:
                yield from self._blocks_of(path)

    def _blocks_of(self, path: Path) -> Iterator[Block]:
        with path.open("rb") as file:
            while len(head := file.read(_HEAD.size)) == _HEAD.size:
                magic, length, checksum, first, last = _HEAD.unpack(head)
                data = file.read(length) if magic == _MAGIC else b""
                if magic != _MAGIC or len(data) != length or _checksum(first, last, data) != checksum:
                    self.damaged += 1
                    return
                yield Block(first, last, data)

    def _files(self) -> list[Path]:
        if self._directory is None or not self._directory.is_dir():
            return []
        return sorted(self._directory.glob("*.samples"))


def _checksum(first_seconds: float, last_seconds: float, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_TIMES.pack(first_seconds, last_seconds)))


def _began(path: Path) -> float:
    """Mission time of a file's first sample, which is its name."""
    return int(path.stem) / 1000 if path.stem.isdecimal() else 0.0
