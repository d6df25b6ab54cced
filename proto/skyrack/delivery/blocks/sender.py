"""The sending side of block transfer with one peer: what was asked for and has not left. No I/O, no clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from skyrack.v1.backhaul_pb2 import BlockRequest

MAXIMUM_ASKED: Final = 8192
"""Blocks that wait for one peer at once; more is not heeded, and will be asked for again."""


def indices_of(request: BlockRequest) -> list[int]:
    """The blocks that a request asks for."""
    return [
        request.first_index + 8 * place + bit
        for place, byte in enumerate(request.wanted)
        for bit in range(8)
        if byte >> bit & 1
    ]


@dataclass(slots=True)
class BlockQueue:
    """First asked, first sent; what waits already is not put in twice."""

    _waiting: dict[tuple[bytes, int], None] = field(default_factory=dict)

    def asked(self, sha256: bytes, blocks: int, request: BlockRequest) -> int:
        """Heed a request for a file of so many blocks. Returns how many of those asked for there are not."""
        outside = 0
        for index in indices_of(request):
            if index >= blocks:
                outside += 1
            elif len(self._waiting) < MAXIMUM_ASKED:
                self._waiting.setdefault((sha256, index))
        return outside

    def take(self) -> tuple[bytes, int] | None:
        """The next block to send, which is then forgotten; ``None`` when nothing waits."""
        if not self._waiting:
            return None
        key = next(iter(self._waiting))
        del self._waiting[key]
        return key

    def put_back(self, key: tuple[bytes, int]) -> None:
        """It did not fit: it is the next."""
        self._waiting = {key: None, **self._waiting}

    def forget(self, sha256: bytes) -> None:
        """Send nothing of a file any more."""
        self._waiting = {key: None for key in self._waiting if key[0] != sha256}

    def __len__(self) -> int:
        return len(self._waiting)
