"""Which of a topic's messages are here: sequences as ranges, and the gaps between them. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

__all__ = ["Gap", "Received"]

_RANGES_MAXIMUM: Final = 4096
"""Of one life of a topic; beyond it the oldest gaps are taken for lost, and counted."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Consecutive messages that have not come; mission times of the neighbours that have, 0 where there is none."""

    first_sequence: int
    last_sequence: int
    start_seconds: float
    end_seconds: float

    @property
    def missing(self) -> int:
        """How many messages."""
        return self.last_sequence - self.first_sequence + 1


class Received:
    """What has come of one topic in one life of its source. Sequences count from 1."""

    __slots__ = ("_first_times", "_firsts", "_last_times", "_lasts", "filled", "forgotten")

    def __init__(self) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        self._first_times: list[float] = []
        self._last_times: list[float] = []
        self.filled = 0
        """Messages that came after later ones."""
        self.forgotten = 0
        """Messages in gaps that were given up."""

    @property
    def newest(self) -> int:
        """The greatest sequence that has come; 0 when none has."""
        return self._lasts[-1] if self._lasts else 0

    def add(self, sequence: int, at: float) -> bool:
        """Take a message; False when it has come before."""
        lasts = self._lasts
        if lasts and sequence == lasts[-1] + 1:
            lasts[-1] = sequence
            self._last_times[-1] = at
            return True
        firsts = self._firsts
        if not lasts or sequence > lasts[-1]:
            self._insert(len(lasts), sequence, at)
            self._bound()
            return True
        index = bisect_right(firsts, sequence) - 1
        if index >= 0 and sequence <= lasts[index]:
            return False
        self.filled += 1
        joins_left = index >= 0 and lasts[index] + 1 == sequence
        joins_right = index + 1 < len(firsts) and firsts[index + 1] == sequence + 1
        if joins_left and joins_right:
            lasts[index] = lasts.pop(index + 1)
            self._last_times[index] = self._last_times.pop(index + 1)
            del firsts[index + 1], self._first_times[index + 1]
        elif joins_left:
            lasts[index] = sequence
            self._last_times[index] = at
        elif joins_right:
            firsts[index + 1] = sequence
            self._first_times[index + 1] = at
        else:
            self._insert(index + 1, sequence, at)
            self._bound()
        return True

    def extend(self, sequence: int, at: float) -> None:
        """All after the newest, up to this one, have come."""
        self._lasts[-1] = sequence
        self._last_times[-1] = at

    def _insert(self, index: int, sequence: int, at: float) -> None:
        self._firsts.insert(index, sequence)
        self._lasts.insert(index, sequence)
        self._first_times.insert(index, at)
        self._last_times.insert(index, at)

    def _bound(self) -> None:
        if len(self._firsts) > _RANGES_MAXIMUM:
            self.give_up(self._firsts[1])

    def give_up(self, before: int) -> int:
        """Take what is missing below a sequence for lost; how many messages these are."""
        lost = 0
        while len(self._firsts) > 1 and self._firsts[1] <= before:
            lost += self._firsts[1] - self._lasts[0] - 1
            self._lasts[0] = self._lasts.pop(1)
            self._last_times[0] = self._last_times.pop(1)
            del self._firsts[1], self._first_times[1]
        if self._firsts and 1 < self._firsts[0] <= before:
            lost += self._firsts[0] - 1
            self._firsts[0] = 1
        self.forgotten += lost
        return lost

    def fill(self, gap: Gap) -> None:
        """Take one gap, one of ``gaps``, for lost."""
        index = bisect_right(self._firsts, gap.last_sequence + 1) - 1
        if index < 0 or self._firsts[index] != gap.last_sequence + 1:
            return
        self.forgotten += gap.missing
        if index == 0:
            self._firsts[0] = gap.first_sequence
            return
        self._lasts[index - 1] = self._lasts.pop(index)
        self._last_times[index - 1] = self._last_times.pop(index)
        del self._firsts[index], self._first_times[index]

    def gaps(self) -> Iterator[Gap]:
        """What is missing, oldest first."""
        if self._firsts and self._firsts[0] > 1:
            yield Gap(1, self._firsts[0] - 1, 0.0, self._first_times[0])
        for index in range(1, len(self._firsts)):
            yield Gap(
                self._lasts[index - 1] + 1,
                self._firsts[index] - 1,
                self._last_times[index - 1],
                self._first_times[index],
            )

    def pack(self) -> bytes:
        """As bytes, for ``unpack``."""
        fields = (self._firsts, self._lasts, self._first_times, self._last_times, self.filled, self.forgotten)
        return msgspec.msgpack.encode(fields)

    @classmethod
    def unpack(cls, data: bytes) -> Received:
        """From the bytes of ``pack``. Raises ``ValueError`` when they are not such."""
        made = cls()
        try:
            found = msgspec.msgpack.decode(data)
            made._firsts, made._lasts, made._first_times, made._last_times, made.filled, made.forgotten = found
        except (msgspec.DecodeError, TypeError) as error:
            raise ValueError(f"these are no sequences: {error}") from None
        return made
