"""Where the blocks of a file gather until it is whole.

Nothing is written beside the blocks: which of them are here is read from the file by their hashes when a process
starts. So a block needs no flush of its own, and a power cut costs what was not yet on the disk, which is asked for
again. Only the whole file is flushed, before anybody hears that it is here.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

from skyrack.delivery.blocks.layout import DIGEST_BYTES, Layout
from skyrack.disk import Shelf


class Spool(Protocol):
    """Room for files on their way in. Called from any thread, one call for a file at a time."""

    def scan(self, source: str, layout: Layout, hashes: bytes) -> bytearray:
        """A byte for each block, 1 for those that are here and verified. Raises ``OSError``."""

    def write(self, source: str, layout: Layout, index: int, data: bytes) -> None:
        """Keep a verified block. Raises ``OSError``; it is not kept then."""

    def finish(self, source: str, layout: Layout) -> bool:
        """All blocks are here: verify the whole and put it, durably, where it belongs; False when it is not right.

        Raises:
            OSError: the disk is full or failed; try again later.
        """

    def discard(self, source: str, sha256: bytes) -> None:
        """Drop what gathers of a file."""

    def has(self, sha256: bytes) -> bool:
        """Whether a file that was finished is still where it belongs."""


class MemorySpool:
    """For the twin, which has no files; whole ones go to ``keep(sha256, content)``."""

    def __init__(
        self,
        keep: Callable[[bytes, bytes], None],
        has: Callable[[bytes], bool],
        shelf: Shelf[dict[tuple[str, bytes], tuple[bytearray, bytearray]]] | None = None,
    ) -> None:
        self._shelf = shelf or Shelf({})
        self._parts = self._shelf.content
        self._keep = keep
        self.has = has

    def _part(self, source: str, layout: Layout) -> tuple[bytearray, bytearray]:
        key = source, layout.sha256
        if key not in self._parts:
            self._parts[key] = bytearray(layout.total_bytes), bytearray(layout.blocks)
        return self._parts[key]

    def scan(self, source: str, layout: Layout, hashes: bytes) -> bytearray:
        """What is here."""
        return bytearray(self._part(source, layout)[1])

    def write(self, source: str, layout: Layout, index: int, data: bytes) -> None:
        """Keep a block. Raises ``OSError``."""
        self._shelf.require_space()
        content, here = self._part(source, layout)
        content[layout.offset(index) : layout.offset(index) + len(data)] = data
        here[index] = 1

    def finish(self, source: str, layout: Layout) -> bool:
        """Verify, and hand over."""
        content = bytes(self._part(source, layout)[0])
        whole = hashlib.sha256(content).digest() == layout.sha256
        if whole:
            self._keep(layout.sha256, content)
        self.discard(source, layout.sha256)
        return whole

    def discard(self, source: str, sha256: bytes) -> None:
        """Drop it."""
        self._parts.pop((source, sha256), None)


class DirectorySpool:
    """Sparse files in a directory; whole ones are renamed to ``final(sha256)`` on the same file system."""

    def __init__(self, directory: Path, final: Callable[[bytes], Path]) -> None:
        self._directory = directory
        self._final = final

    def _path(self, source: str, sha256: bytes) -> Path:
        return self._directory / f"{sha256.hex()}.{quote(source, safe='')}.part"

    def scan(self, source: str, layout: Layout, hashes: bytes) -> bytearray:
        """What is here, by its hashes."""
        path = self._path(source, layout.sha256)
        if path.exists():
            return _verified(path, layout, hashes)
        # The whole lies there when the last life ended between the rename and the record of it, or from another source.
        here = _verified(self._final(layout.sha256), layout, hashes)
        return here if all(here) else bytearray(layout.blocks)

    def write(self, source: str, layout: Layout, index: int, data: bytes) -> None:
        """Write a block to its place."""
        self._directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self._path(source, layout.sha256), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(descriptor).st_size != layout.total_bytes:
                os.ftruncate(descriptor, layout.total_bytes)
            view, at = memoryview(data), layout.offset(index)
            while view:
                written = os.pwrite(descriptor, view, at)
                view, at = view[written:], at + written
        finally:
            os.close(descriptor)

    def finish(self, source: str, layout: Layout) -> bool:
        """Verify, flush, rename."""
        path, final = self._path(source, layout.sha256), self._final(layout.sha256)
        if not layout.blocks:
            self._directory.mkdir(parents=True, exist_ok=True)
            path.touch()
        if not path.exists():
            return final.exists() and _digest(final) == layout.sha256
        if _digest(path) != layout.sha256:
            path.unlink()
            return False
        final.parent.mkdir(parents=True, exist_ok=True)
        path.replace(final)
        _flush(final.parent)
        return True

    def discard(self, source: str, sha256: bytes) -> None:
        """Remove it."""
        with contextlib.suppress(OSError):
            self._path(source, sha256).unlink(missing_ok=True)

    def keep_only(self, wanted: Collection[tuple[str, bytes]]) -> None:
        """Remove what gathers of any but these (source, SHA-256); what cannot be removed stays."""
        names = {self._path(source, sha256).name for source, sha256 in wanted}
        for path in sorted(self._directory.glob("*.part")):
            if path.name not in names:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def has(self, sha256: bytes) -> bool:
        """Whether it lies there."""
        return self._final(sha256).exists()


def _verified(path: Path, layout: Layout, hashes: bytes) -> bytearray:
    here = bytearray(layout.blocks)
    with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == layout.total_bytes:
            for index in range(layout.blocks):
                digest = hashlib.sha256(file.read(layout.block_bytes)).digest()
                here[index] = digest == hashes[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]
    return here


def _digest(path: Path) -> bytes:
    """SHA-256 of a file that is on the disk when this returns."""
    with path.open("rb+") as file:
        digest = hashlib.file_digest(file, "sha256").digest()
        os.fsync(file.fileno())
    return digest


def _flush(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
