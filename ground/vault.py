"""Files by their SHA-256: packages on their way up and results that came down."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Container
from pathlib import Path

__all__ = ["Vault"]


class Vault:
    """Content-addressed files in a directory; without one, in memory. What was ``put`` stays while it is wanted."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._memory: dict[bytes, bytes] = {}
        self.is_full = False
        """In memory: whether nothing more fits, as on a full disk."""
        if directory is not None:
            directory.mkdir(parents=True, exist_ok=True)

    def put(self, content: bytes) -> bytes:
        """Keep ``content``, durably; returns its SHA-256. Harmless when it is there already.

        Raises:
            OSError: the disk is full or failed; nothing was kept.
        """
        sha256 = hashlib.sha256(content).digest()
        if self._directory is None:
            if self.is_full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._memory[sha256] = content
            return sha256
        path = self._directory / sha256.hex()
        if path.exists() and path.stat().st_size == len(content):
            return sha256
        descriptor, temporary = tempfile.mkstemp(dir=self._directory, prefix=".new-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        _sync_directory(self._directory)
        return sha256

    def has(self, sha256: bytes) -> bool:
        """Whether a file of this hash is here."""
        if self._directory is None:
            return sha256 in self._memory
        return (self._directory / sha256.hex()).exists()

    def path(self, sha256: bytes) -> Path:
        """Where a file of this hash lies, or would. Raises ``FileNotFoundError`` in memory."""
        if self._directory is None:
            raise FileNotFoundError(f"{sha256.hex()} lies in memory")
        return self._directory / sha256.hex()

    def read(self, sha256: bytes, offset: int, size: int) -> bytes:
        """A piece of a file, as it lies here.

        Raises:
            KeyError: the file is not here.
            OSError: the disk failed.
        """
        if self._directory is None:
            return self._memory[sha256][offset : offset + size]
        try:
            with self.path(sha256).open("rb") as file:
                file.seek(offset)
                return file.read(size)
        except FileNotFoundError:
            raise KeyError(sha256.hex()) from None

    def verify(self, sha256: bytes) -> None:
        """See that a file is what was kept; one that is not is removed, so that it may be put here again.

        Raises:
            KeyError: it is not here, or was not what was kept.
            OSError: the disk failed.
        """
        try:
            self.get(sha256)
        except KeyError:
            if self._directory is not None:
                self.path(sha256).unlink(missing_ok=True)
            raise

    def keep_only(self, wanted: Container[bytes]) -> None:
        """Remove every other file.

        Raises:
            OSError: the disk failed.
        """
        if self._directory is None:
            self._memory = {sha256: content for sha256, content in self._memory.items() if sha256 in wanted}
            return
        for path in sorted(self._directory.glob("[0-9a-f]" * 64)):
            if bytes.fromhex(path.name) not in wanted:
                path.unlink(missing_ok=True)

    def get(self, sha256: bytes) -> bytes:
        """Content by its hash.

        Raises:
            KeyError: it is not here, or what is here is no longer what was kept.
            OSError: the disk failed.
        """
        if self._directory is None:
            return self._memory[sha256]
        try:
            content = (self._directory / sha256.hex()).read_bytes()
        except FileNotFoundError:
            raise KeyError(sha256.hex()) from None
        if hashlib.sha256(content).digest() != sha256:
            raise KeyError(sha256.hex())
        return content


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
