"""Which sequence numbers of a stream are accounted for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable


class SequenceSet:
    """A set of positive integers kept as ``floor`` (all of 1 … floor are in) and disjoint ranges beyond it.

    Its size is bounded by the number of gaps, which a sender's window bounds.
    """

    __slots__ = ("floor", "ranges")

    def __init__(self, floor: int = 0, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.floor = floor
        self.ranges: list[tuple[int, int]] = list(ranges)

    def __contains__(self, sequence: int) -> bool:
        if sequence <= self.floor:
            return True
        index = bisect_right(self.ranges, (sequence, 1 << 64)) - 1
        return index >= 0 and self.ranges[index][1] >= sequence

    def add(self, first: int, last: int) -> int:
        """Put first … last in. Returns how many of them are new."""
        first = max(first, self.floor + 1)
        if last < first:
            return 0
        if first == self.floor + 1 and not self.ranges:
            self.floor = last
            return last - first + 1
        new = last - first + 1
        low, high = first, last
        kept: list[tuple[int, int]] = []
        for start, end in self.ranges:
            if end < low - 1 or start > high + 1:
                kept.append((start, end))
                continue
            new -= max(0, min(end, last) - max(start, first) + 1)
            low, high = min(low, start), max(high, end)
        kept.append((low, high))
        kept.sort()
        while kept and kept[0][0] <= self.floor + 1:
            self.floor = max(self.floor, kept.pop(0)[1])
        self.ranges = kept
        return new

    def to_text(self) -> str:
        """Write the ranges (not the floor) as text: ``"7-9 12-12"``."""
        return " ".join(f"{first}-{last}" for first, last in self.ranges)

    @classmethod
    def from_text(cls, floor: int, text: str) -> SequenceSet:
        """Read back what ``to_text`` wrote."""
        pairs = (part.split("-") for part in text.split())
        return cls(floor, ((int(first), int(last)) for first, last in pairs))
