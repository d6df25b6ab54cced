"""Values of fields over time, from sealed and open chunks: raw, or the least, greatest and mean of each step. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ground.telemetry.chunks import Chunk, OpenChunk
from ground.telemetry.columns import Floats, Integers
from ground.telemetry.plans import Column, Shape, plan_of
from skyrack.v1.backhaul_pb2 import TelemetrySample

__all__ = ["Downsampled", "OpenView", "Part", "Readable", "Values", "collect", "downsample", "samples_of"]


class Readable(Protocol):
    """Columns of one topic and shape."""

    columns: Sequence[Column]

    def times(self) -> Floats:
        """On-board times."""

    def received(self) -> Floats:
        """Received times."""

    def sequences(self) -> Integers:
        """Sequences."""

    def incarnations(self) -> Integers:
        """Incarnations."""

    def values(self, index: int) -> Floats:
        """One column."""

    def payloads(self) -> list[bytes] | None:
        """Payloads, where they are kept."""


class OpenView:
    """An open chunk as it is now: what comes later does not change it."""

    def __init__(self, chunk: OpenChunk) -> None:
        self.columns: Sequence[Column] = chunk.columns
        self._times = np.array(chunk.times)
        self._received = np.array(chunk.received)
        self._counts = np.array(chunk.counts).view(np.int64).reshape(-1, 2)
        self._rows = np.array(chunk.rows).reshape(len(self._times), -1)
        self._payloads = None if chunk.payloads is None else list(chunk.payloads)

    def times(self) -> Floats:
        """On-board times, as they came."""
        return self._times

    def received(self) -> Floats:
        """Received times."""
        return self._received

    def sequences(self) -> Integers:
        """Sequences."""
        return np.ascontiguousarray(self._counts[:, 0])

    def incarnations(self) -> Integers:
        """Incarnations."""
        return np.ascontiguousarray(self._counts[:, 1])

    def values(self, index: int) -> Floats:
        """One column."""
        return np.ascontiguousarray(self._rows[:, index])

    def payloads(self) -> list[bytes] | None:
        """Payloads, where they are kept."""
        return self._payloads


@dataclass(frozen=True, slots=True)
class Part:
    """Some of what is to be read, and whose it is."""

    message_type: str
    source: str
    key: str
    shape: Shape
    chunk: Readable


@dataclass(frozen=True, slots=True)
class Values:
    """One field of one instance, by on-board time."""

    field: str
    labels: tuple[str, ...]
    source: str
    key: str
    times: Floats
    values: Floats
    received: Floats


@dataclass(frozen=True, slots=True)
class Downsampled:
    """The least, the greatest, the mean and the number of the values in each step that has any."""

    starts: Floats
    minimum: Floats
    maximum: Floats
    mean: Floats
    count: Integers


_Instance = tuple[str, tuple[str, ...], str, str]


def collect(parts: Iterable[Part], fields: frozenset[str], start_seconds: float, end_seconds: float) -> list[Values]:
    """The wanted fields in [start, end); what is in two parts is there once."""
    found: dict[_Instance, list[tuple[Floats, Floats, Floats, Integers, Integers]]] = {}
    for part in parts:
        wanted = [(index, column) for index, column in enumerate(part.chunk.columns) if column.field in fields]
        if not wanted:
            continue
        times = part.chunk.times()
        inside = (times >= start_seconds) & (times < end_seconds)
        if not inside.any():
            continue
        received, sequences, incarnations = (
            part.chunk.received()[inside],
            part.chunk.sequences()[inside],
            part.chunk.incarnations()[inside],
        )
        for index, column in wanted:
            piece = (times[inside], part.chunk.values(index)[inside], received, sequences, incarnations)
            found.setdefault((column.field, column.labels, part.source, part.key), []).append(piece)
    return [_values(instance, pieces) for instance, pieces in sorted(found.items(), key=lambda item: item[0])]


def _values(instance: _Instance, pieces: list[tuple[Floats, Floats, Floats, Integers, Integers]]) -> Values:
    times, values, received = (np.concatenate([piece[index] for piece in pieces]) for index in range(3))
    sequences, incarnations = (np.concatenate([piece[index] for piece in pieces]) for index in (3, 4))
    order = np.lexsort((sequences, incarnations, times))
    times, values, received = times[order], values[order], received[order]
    sequences, incarnations = sequences[order], incarnations[order]
    fresh = np.ones(len(times), np.bool_)
    fresh[1:] = (times[1:] != times[:-1]) | (sequences[1:] != sequences[:-1]) | (incarnations[1:] != incarnations[:-1])
    field, labels, source, key = instance
    return Values(field, labels, source, key, times[fresh], values[fresh], received[fresh])


def downsample(times: Floats, values: Floats, start_seconds: float, step_seconds: float) -> Downsampled:
    """Steps begin at ``start_seconds``; values that are no numbers count for nothing."""
    known = ~np.isnan(values)
    times, values = times[known], values[known]
    steps = np.floor((times - start_seconds) / step_seconds).astype(np.int64)
    numbers, first, count = np.unique(steps, return_index=True, return_counts=True)
    if not len(numbers):
        empty = np.empty(0)
        return Downsampled(empty, empty, empty, empty, np.empty(0, np.int64))
    starts: Floats = (start_seconds + numbers * step_seconds).astype(np.float64)
    return Downsampled(
        starts,
        np.minimum.reduceat(values, first),
        np.maximum.reduceat(values, first),
        (np.add.reduceat(values, first) / count).astype(np.float64),
        count.astype(np.int64),
    )


def samples_of(part: Part, start_seconds: float, end_seconds: float) -> Iterator[TelemetrySample]:
    """The messages themselves, in [start, end), made again from their columns where no payload is kept."""
    chunk = part.chunk
    times = chunk.times()
    inside = np.flatnonzero((times >= start_seconds) & (times < end_seconds)).tolist()
    payloads = chunk.payloads()
    sequences, incarnations = chunk.sequences(), chunk.incarnations()
    columns = [chunk.values(index) for index in range(len(chunk.columns))] if payloads is None else []
    for index in inside:
        if payloads is not None:
            payload = payloads[index]
        else:
            kind, plan = plan_of(part.message_type)
            message = kind()
            plan.write(message, part.shape, [float(column[index]) for column in columns])
            payload = message.SerializeToString()
        yield TelemetrySample(
            message_type=part.message_type,
            key=part.key,
            source=part.source,
            mission_time_seconds=float(times[index]),
            payload=payload,
            sequence=int(sequences[index]),
            incarnation=int(incarnations[index]),
        )


def sealed(message_type: str, source: str, key: str, shape: Shape, columns: Sequence[Column], data: bytes) -> Part:
    """A part from a chunk as it was kept."""
    return Part(message_type, source, key, shape, Chunk(data, columns))
