"""The way of a sample: found to be new, parsed, read, compared with its limits, kept in the columns of its topic.

No I/O, no clock: batches go in; latest values, crossings and open chunks come out. ``ingest`` is the ground's hottest
loop, and is written out for it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import DecodeError, Message

from ground.telemetry.chunks import OpenChunk
from ground.telemetry.history import Part, samples_of
from ground.telemetry.plans import Plan, Shape, plan_of
from ground.telemetry.sequences import Received
from ground.telemetry.watch import Crossing, Watched, watched
from skyrack.dictionary import default_limits, read_limits, telemetry_fields
from skyrack.limits import LimitSet
from skyrack.v1 import backhaul_pb2, executive_pb2

__all__ = ["Kind", "Latest", "SatellitePipeline", "Topic"]

Kind = tuple[str, str, str]
"""Message type, the service that publishes it, instance key: every service publishes its own Health."""

_OVERRIDES: Final = executive_pb2.LimitOverrides.DESCRIPTOR.full_name
_SHAPES_MAXIMUM: Final = 64
"""Open chunks of one topic; a topic whose labels change all the time must not fill the memory."""
_TOPICS_MAXIMUM: Final = 4096
_LIVES_MAXIMUM: Final = 16
"""Lives of a source whose sequences are remembered."""
_TIME_MAXIMUM: Final = 1e12
_COUNT_MAXIMUM: Final = (1 << 63) - 1


@dataclass(slots=True)
class Latest:
    """The newest sample of one kind."""

    mission_time_seconds: float
    message: Message


class Topic:
    """All that is known of one kind of message of one satellite."""

    __slots__ = (
        "_plan",
        "chunk",
        "chunks",
        "flat",
        "incarnation",
        "kind",
        "latest",
        "newest",
        "next",
        "parse",
        "received",
        "shape",
        "touched",
        "version",
        "watched",
    )

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.parse: Any = None
        self._plan: Plan | None = None
        try:
            message, self._plan = plan_of(kind[0])
            self.parse = message.FromString
        except KeyError:
            pass  # of a newer satellite: kept as it came
        self.flat = self._plan.flat if self._plan else None
        self.shape: Shape | None = None
        self.chunk: OpenChunk | None = None
        self.chunks: dict[Shape, tuple[OpenChunk, list[Watched]]] = {}
        self.watched: list[Watched] = []
        self.version = -1
        self.latest: Latest | None = None
        self.newest = -float("inf")
        self.received: dict[int, Received] = {}
        self.incarnation = -1
        self.next = 0
        self.touched: set[int] = set()
        """Incarnations of which something came since the last sealing."""

    def read(self, message: Any) -> tuple[Shape, tuple[Any, ...]]:
        """Shape and row of a message."""
        if self._plan is None:
            return _NOTHING, ()
        return self._plan.read(message)

    def open_chunk(self, shape: Shape, limits: LimitSet, version: int) -> OpenChunk:
        """Make the chunk of a shape the one that is filled."""
        if version != self.version:
            self.chunks = {kept: (chunk, watched(chunk.columns, limits)) for kept, (chunk, _) in self.chunks.items()}
            self.version = version
        found = self.chunks.get(shape)
        if found is None:
            chunk = OpenChunk.of(self._plan or _UNKNOWN, shape)
            found = self.chunks[shape] = (chunk, watched(chunk.columns, limits))
        self.shape = shape
        self.chunk, self.watched = found
        return self.chunk

    def take_sequence(self, incarnation: int, sequence: int, at: float) -> bool:
        """Note a message that is not simply the next one; False when it has come before."""
        if sequence > _COUNT_MAXIMUM or incarnation > _COUNT_MAXIMUM:
            return False
        if incarnation == self.incarnation:
            self._catch_up()
        received = self.received.get(incarnation)
        if received is None:
            received = self.received[incarnation] = Received()
            if len(self.received) > _LIVES_MAXIMUM:
                oldest = min(self.received)
                del self.received[oldest]
                if oldest == incarnation:
                    return True  # of a life so long over that nobody counts any more
        is_new = received.add(sequence, at)
        self.touched.add(incarnation)
        if incarnation >= self.incarnation:
            if self.incarnation != incarnation:
                self._catch_up()
            self.incarnation, self.next = incarnation, received.newest + 1
        return is_new

    def _catch_up(self) -> None:
        """What the hot loop has only counted goes into the ranges."""
        received = self.received.get(self.incarnation)
        if received is not None and self.next - 1 > received.newest:
            received.extend(self.next - 1, self.newest)

    def lives(self) -> dict[int, Received]:
        """What has come of each life of the source."""
        self._catch_up()
        return self.received

    def changed(self) -> list[tuple[int, bytes]]:
        """Lives of which something came since this was asked last, packed."""
        self._catch_up()
        touched = [life for life in sorted({*self.touched, self.incarnation}) if life in self.received]
        self.touched.clear()
        return [(life, self.received[life].pack()) for life in touched]

    def restore(self, incarnation: int, received: Received) -> None:
        """What an earlier life of the ground knew."""
        self.received[incarnation] = received
        if incarnation >= self.incarnation:
            self.incarnation, self.next = incarnation, received.newest + 1


_NOTHING: Final[Shape] = ((), (), ())


class _Unknown(Plan):
    """Of a message that this ground does not know: nothing is read of it, and its payload is kept."""

    def __init__(self) -> None:
        super().__init__(executive_pb2.LimitOverrides.DESCRIPTOR, "")
        self.single, self.repeated, self.always, self.is_whole = [], [], [], False


_UNKNOWN: Final = _Unknown()


@dataclass(slots=True)
class SatellitePipeline:
    """Takes in what one satellite sends."""

    satellite: str
    topics: dict[Kind, Topic] = field(default_factory=dict)
    samples: dict[Kind, Latest] = field(default_factory=dict)
    """The newest of each kind."""
    limits: LimitSet = field(default_factory=default_limits)
    limits_version: int = 0
    newest_seconds: float = -float("inf")
    """On-board time of the newest sample."""
    open_values: int = 0
    open_samples: int = 0
    messages: int = 0
    values: int = 0
    duplicates: int = 0
    refused: int = 0
    """Samples that cannot be decoded, or make no sense."""

    def topic(self, kind: Kind) -> Topic:
        """A topic; made at its first use."""
        found = self.topics.get(kind)
        if found is None:
            found = self.topics[kind] = Topic(kind)
        return found

    def restore(self, part: Part) -> None:
        """Take the newest sample of a part for the latest, unless a newer one is known."""
        kind = (part.message_type, part.source, part.key)
        topic = self.topic(kind)
        newest = float(part.chunk.times().max())
        if topic.parse is None or newest <= topic.newest:
            return
        *_, sample = samples_of(part, newest, math.inf)
        topic.newest = newest
        topic.latest = self.samples[kind] = Latest(newest, topic.parse(sample.payload))
        self.newest_seconds = max(self.newest_seconds, newest)
        if kind[0] == _OVERRIDES:
            self._override(topic.latest.message)

    def ingest(  # noqa: C901, PLR0912, PLR0915 - one loop, where every call counts
        self, batch: backhaul_pb2.TelemetryBatch, received_seconds: float
    ) -> list[Crossing]:
        """Take a batch in; batches may come in any order, and again."""
        topics = self.topics
        crossings: list[Crossing] = []
        messages = values = open_values = 0
        newest = self.newest_seconds
        for sample in batch.samples:
            kind = (sample.message_type, sample.source, sample.key)
            at = sample.mission_time_seconds
            topic = topics.get(kind)
            if topic is None:
                if len(topics) >= _TOPICS_MAXIMUM:
                    self.refused += 1
                    continue
                topic = topics[kind] = Topic(kind)
            if not -_TIME_MAXIMUM < at < _TIME_MAXIMUM:
                self.refused += 1
                continue
            sequence, incarnation = sample.sequence, sample.incarnation
            if sequence == topic.next and incarnation == topic.incarnation:
                topic.next = sequence + 1
            elif sequence and not topic.take_sequence(incarnation, sequence, at):
                self.duplicates += 1
                continue
            payload = sample.payload
            if topic.parse is None:
                message: Any = None
                shape, row = _NOTHING, ()
            else:
                try:
                    message = topic.parse(payload)
                except DecodeError:
                    self.refused += 1
                    continue
                if topic.flat is not None:
                    row, shape = topic.flat(message), _NOTHING
                else:
                    shape, row = topic.read(message)
            chunk = topic.chunk
            if chunk is None or topic.version != self.limits_version or shape != topic.shape:
                chunk = self._chunk(topic, shape)
            chunk.times.append(at)
            chunk.received.append(received_seconds)
            chunk.counts.extend((sequence, incarnation))
            chunk.rows.extend(row)
            if chunk.payloads is not None:
                chunk.payloads.append(payload)
                open_values += len(payload) >> 3
            messages += 1
            values += chunk.values
            open_values += len(row)
            if at < topic.newest:
                continue
            topic.newest = at
            for watch in topic.watched:
                if not watch.low <= row[watch.index] <= watch.high:
                    crossing = watch.move(row[watch.index], at)
                    if crossing is not None:
                        crossings.append(crossing)
            if message is not None:
                latest = topic.latest
                if latest is None:
                    topic.latest = self.samples[kind] = Latest(at, message)
                else:
                    latest.mission_time_seconds = at
                    latest.message = message
                if kind[0] == _OVERRIDES:
                    self._override(message)
            newest = max(newest, at)
        self.newest_seconds = newest
        self.messages += messages
        self.values += values
        self.open_values += open_values
        self.open_samples += messages
        return crossings

    def _chunk(self, topic: Topic, shape: Shape) -> OpenChunk:
        before = {(watch.column.field, watch.column.labels): watch for watch in topic.watched}
        chunk = topic.open_chunk(shape, self.limits, self.limits_version)
        for watch in topic.watched:
            # The level goes on where labels or limits have changed: the next value decides.
            old = before.get((watch.column.field, watch.column.labels))
            if old is not None and old is not watch:
                if old.limits == watch.limits:
                    watch.level, watch.low, watch.high = old.level, old.low, old.high
                else:
                    watch.level = old.level
        return chunk

    def _override(self, message: Any) -> None:
        fields = telemetry_fields()
        found = {item.field: read_limits(item.limits) for item in message.overrides if item.field in fields}
        if found != self.limits.overrides:
            self.limits = LimitSet(self.limits.defaults, found)
            self.limits_version += 1

    def seal(self) -> Iterator[tuple[Topic, OpenChunk]]:
        """Chunks with samples; the pipeline goes on with empty ones."""
        for topic in self.topics.values():
            for chunk, _ in topic.chunks.values():
                if chunk.times:
                    yield topic, chunk.clear()
            if len(topic.chunks) > _SHAPES_MAXIMUM:
                topic.chunks = {shape: found for shape, found in topic.chunks.items() if found[0] is topic.chunk}
        self.open_values = self.open_samples = 0
