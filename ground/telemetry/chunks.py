"""A chunk: the samples of one topic and shape over up to an hour, column by column. Each column is read by itself.

On-board times, received times, sequences and incarnations come first, then the numbers of the message, then, for types
that are not whole, the payloads.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Final

import cramjam
import numpy as np

from ground.telemetry.columns import (
    Floats,
    Integers,
    decode_floats,
    decode_integers,
    encode_floats,
    encode_integers,
)
from ground.telemetry.plans import Column, Plan, Shape

__all__ = ["Chunk", "OpenChunk", "OwnTime"]

_HEAD: Final = Struct("<IH")
_LENGTH: Final = Struct("<I")
_FIXED: Final = 4
OwnTime: Final = ".mission_time_seconds"
"""What a message says of its time itself is kept as its difference from the sample's: most often nothing."""


@dataclass(slots=True)
class OpenChunk:
    """Samples that are not sealed yet; rows stand one after the other."""

    plan: Plan
    shape: Shape
    columns: tuple[Column, ...]
    times: array[float]
    received: array[float]
    counts: array[int]
    rows: array[float]
    payloads: list[bytes] | None
    values: int = 0
    """Numbers that the dictionary knows, in one row."""

    @classmethod
    def of(cls, plan: Plan, shape: Shape) -> OpenChunk:
        """An empty chunk."""
        columns = tuple(plan.columns(shape))
        payloads: list[bytes] | None = None if plan.is_whole else []
        known = sum(column.is_telemetry for column in columns)
        return cls(plan, shape, columns, array("d"), array("d"), array("Q"), array("d"), payloads, known)

    def clear(self) -> OpenChunk:
        """Begin anew, of the same shape; what was here is in the chunk that is returned."""
        full = OpenChunk(
            self.plan,
            self.shape,
            self.columns,
            self.times,
            self.received,
            self.counts,
            self.rows,
            self.payloads,
            self.values,
        )
        self.times, self.received, self.counts, self.rows = array("d"), array("d"), array("Q"), array("d")
        self.payloads = None if self.payloads is None else []
        return full

    def seal(self) -> bytes:
        """The chunk as bytes, in the order of on-board time."""
        times = np.frombuffer(self.times, np.float64)
        order = np.argsort(times, kind="stable")
        times = times[order]
        counts = np.frombuffer(self.counts, np.uint64).view(np.int64).reshape(-1, 2)[order]
        rows = np.frombuffer(self.rows, np.float64).reshape(len(times), -1)[order]
        parts = [
            encode_floats(times),
            encode_floats(np.frombuffer(self.received, np.float64)[order]),
            encode_integers(np.ascontiguousarray(counts[:, 0])),
            encode_integers(np.ascontiguousarray(counts[:, 1])),
        ]
        bits = times.view(np.int64)
        for index, column in enumerate(self.columns):
            values = np.ascontiguousarray(rows[:, index])
            is_own_time = column.field.endswith(OwnTime)
            parts.append(encode_integers(values.view(np.int64) - bits) if is_own_time else encode_floats(values))
        if self.payloads is not None:
            ordered = [self.payloads[index] for index in order]
            lengths = np.fromiter(map(len, ordered), np.int64, len(ordered))
            parts += [encode_integers(lengths), bytes(cramjam.zstd.compress(b"".join(ordered), 1))]
        head = _HEAD.pack(len(times), len(parts)) + b"".join(_LENGTH.pack(len(part)) for part in parts)
        return head + b"".join(parts)


class Chunk:
    """A sealed chunk; columns are decoded when they are asked for."""

    def __init__(self, data: bytes, columns: Sequence[Column]) -> None:
        self.columns = columns
        self.count, parts = _HEAD.unpack_from(data)
        view = memoryview(data)
        offset = _HEAD.size + parts * _LENGTH.size
        self._parts: list[memoryview] = []
        for index in range(parts):
            (length,) = _LENGTH.unpack_from(data, _HEAD.size + index * _LENGTH.size)
            self._parts.append(view[offset : offset + length])
            offset += length

    def times(self) -> Floats:
        """On-board times, ascending."""
        return decode_floats(self._parts[0], self.count)

    def received(self) -> Floats:
        """Mission times at which the samples came to the ground."""
        return decode_floats(self._parts[1], self.count)

    def sequences(self) -> Integers:
        """Of the on-board bus."""
        return decode_integers(self._parts[2], self.count)

    def incarnations(self) -> Integers:
        """Of the source."""
        return decode_integers(self._parts[3], self.count)

    def values(self, index: int) -> Floats:
        """One column of numbers."""
        part = self._parts[_FIXED + index]
        if self.columns[index].field.endswith(OwnTime):
            return (decode_integers(part, self.count) + self.times().view(np.int64)).view(np.float64)
        return decode_floats(part, self.count)

    def payloads(self) -> list[bytes] | None:
        """The messages as they came; None where columns say all."""
        first = _FIXED + len(self.columns)
        if len(self._parts) <= first:
            return None
        lengths = decode_integers(self._parts[first], self.count)
        data = bytes(cramjam.zstd.decompress(self._parts[first + 1]))
        ends = np.cumsum(lengths).tolist()
        return [data[end - length : end] for length, end in zip(lengths.tolist(), ends, strict=True)]
