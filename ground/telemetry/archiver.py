"""The archive's shell: seals what the pipelines have gathered, takes up what an earlier life left, answers queries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from ground.store import batches, chunks
from ground.store.chunks import Ids, SealedChunk, Topic
from ground.telemetry.chunks import OpenChunk
from ground.telemetry.history import OpenView, Part, samples_of, sealed
from ground.telemetry.pipeline import Kind, SatellitePipeline
from ground.telemetry.sequences import Received
from ground.telemetry.watch import Crossing
from skyrack.storage import Connection, Storage
from skyrack.v1 import backhaul_pb2

__all__ = ["ArchiveSettings", "Archiver"]

T = TypeVar("T")

_PAGE: Final = 64
"""Chunks that are read at once."""


@dataclass(frozen=True, slots=True)
class ArchiveSettings:
    """When open chunks are sealed."""

    values_maximum: int = 500_000
    """Numbers that gather of one satellite."""
    total_maximum: int = 8_000_000
    """Numbers that gather of all, eight bytes each."""
    age_seconds: float = 3600.0
    """Mission time that they gather."""


@dataclass(slots=True)
class _Sealing:
    """What is on its way from memory into the database."""

    satellite: str
    chunks: list[tuple[Kind, OpenChunk]]
    batch_ids: list[int]
    sequences: list[tuple[Topic, int, bytes]]
    made: list[SealedChunk] = field(default_factory=list)


class Archiver:
    """Keeps what ``pipelines`` take in. ``keep_for_sending`` is set while a remote write follows the batches."""

    def __init__(
        self, pipelines: Mapping[str, SatellitePipeline], database: Storage[Any], settings: ArchiveSettings
    ) -> None:
        self._pipelines = pipelines
        self._database = database
        self._settings = settings
        self._ids = Ids()
        self._open_batches: dict[str, list[int]] = {}
        self._opened: dict[str, float] = {}
        self._sealing: list[_Sealing] = []
        self.keep_for_sending = False
        self.sealed_samples = 0

    async def open(self, on_crossings: Callable[[str, list[Crossing]], None]) -> dict[str, float]:
        """Take up what an earlier life left; when each satellite was heard last. Raises ``StorageError``."""
        for topic, incarnation, packed in await self._database.read(chunks.load_sequences):
            pipeline = self._pipelines.get(topic[0])
            if pipeline is not None:
                pipeline.topic((topic[1], topic[2], topic[3])).restore(incarnation, Received.unpack(packed))
        heard = await self._restore_latest()
        after = 0
        while found := await self._database.read(partial(batches.unsealed, after_id=after)):
            for raw in found:
                after = raw.id
                pipeline = self._pipelines.get(raw.satellite)
                if pipeline is not None:
                    on_crossings(raw.satellite, pipeline.ingest(raw.batch(), raw.received_seconds))
                    self.note(raw.satellite, raw.id, raw.received_seconds)
                    heard[raw.satellite] = raw.received_seconds
            await asyncio.sleep(0)
        return heard

    async def _restore_latest(self) -> dict[str, float]:
        """The newest sealed sample of each topic is the latest that is known of it."""
        heard: dict[str, float] = {}
        for topic, stored in await self._database.read(chunks.newest_of_each):
            pipeline = self._pipelines.get(topic[0])
            if pipeline is not None:
                part = sealed(topic[1], stored.source, stored.key, stored.shape, stored.columns, stored.data)
                pipeline.restore(part)
                received = float(part.chunk.received().max())
                heard[topic[0]] = max(heard.get(topic[0], received), received)
        return heard

    def note(self, satellite: str, batch_id: int, now: float) -> None:
        """A batch was committed and has been taken in by its pipeline."""
        self._open_batches.setdefault(satellite, []).append(batch_id)
        self._opened.setdefault(satellite, now)

    def due(self, now: float) -> list[str]:
        """Satellites whose samples are to be sealed now."""
        settings = self._settings
        found = [
            name
            for name, pipeline in self._pipelines.items()
            if pipeline.open_values >= settings.values_maximum
            or now - self._opened.get(name, now) >= settings.age_seconds
        ]
        total = sum(pipeline.open_values for pipeline in self._pipelines.values())
        if total >= settings.total_maximum:
            fullest = max(self._pipelines, key=lambda name: self._pipelines[name].open_values)
            found.append(fullest)
        return list(dict.fromkeys(found))

    def begin(self, satellite: str) -> None:
        """Take what has gathered out of the pipeline, to be sealed by ``finish``."""
        pipeline = self._pipelines[satellite]
        sequences = [
            ((satellite, *kind), life, packed)
            for kind, topic in pipeline.topics.items()
            for life, packed in topic.changed()
        ]
        found = [(topic.kind, chunk) for topic, chunk in pipeline.seal()]
        ids = self._open_batches.pop(satellite, [])
        self._opened.pop(satellite, None)
        if found or ids or sequences:
            self._sealing.append(_Sealing(satellite, found, ids, sequences))

    async def finish(self) -> None:
        """Seal what ``begin`` took out. Raises ``StorageError``; then it is tried again at the next call."""
        while self._sealing:
            sealing = self._sealing[0]
            if not sealing.made:
                sealing.made = await asyncio.get_running_loop().run_in_executor(None, partial(_compress, sealing))
            self._ids = await self._database.write(partial(self._write, sealing))
            self._sealing.remove(sealing)
            self.sealed_samples += sum(chunk.samples for chunk in sealing.made)

    def _write(self, sealing: _Sealing, connection: Connection) -> Ids:
        known = chunks.add(connection, self._ids, sealing.made)
        chunks.save_sequences(connection, known, sealing.sequences)
        batches.drop(connection, sealing.batch_ids, keep_for_sending=self.keep_for_sending)
        return known

    async def seal(self, satellites: list[str]) -> None:
        """Seal these now. Raises ``StorageError``."""
        for name in satellites:
            self.begin(name)
        await self.finish()

    async def parts(self, satellite: str, message_type: str, start_seconds: float, end_seconds: float) -> list[Part]:
        """All that is kept of a message type and may lie in [start, end). Raises ``StorageError``."""
        found = []
        async for part in self.pages(satellite, message_type, start_seconds, end_seconds):
            found += part
        return found

    async def pages(
        self, satellite: str, message_type: str, start_seconds: float, end_seconds: float
    ) -> AsyncIterator[list[Part]]:
        """The same, some chunks at a time, oldest first; what is not sealed yet comes last."""
        # First what is in memory: what is sealed while the database is read is then there twice, and not missing.
        fresh = list(self._fresh(satellite, message_type))
        after: tuple[float, int] = (-1e300, 0)
        while True:
            query = partial(
                chunks.chunks_of,
                satellite=satellite,
                message_type=message_type,
                start_seconds=start_seconds,
                end_seconds=end_seconds,
                after=after,
                limit=_PAGE,
            )
            found = await self._database.read(query)
            if found:
                yield [sealed(message_type, it.source, it.key, it.shape, it.columns, it.data) for it in found]
            if len(found) < _PAGE:
                break
            after = found[-1].place
        if fresh:
            yield fresh

    def _fresh(self, satellite: str, message_type: str) -> Iterator[Part]:
        for sealing in self._sealing:
            if sealing.satellite == satellite:
                for kind, chunk in sealing.chunks:
                    if kind[0] == message_type:
                        yield Part(kind[0], kind[1], kind[2], chunk.shape, OpenView(chunk))
        for kind, topic in self._pipelines[satellite].topics.items():
            if kind[0] == message_type:
                for chunk, _ in topic.chunks.values():
                    if chunk.times:
                        yield Part(kind[0], kind[1], kind[2], chunk.shape, OpenView(chunk))

    async def extent(self, satellite: str, message_type: str) -> tuple[float, float] | None:
        """On-board times of the oldest and the newest that is kept. Raises ``StorageError``."""
        fresh = [part.chunk.times() for part in self._fresh(satellite, message_type)]
        stored = await self._database.read(partial(chunks.extent, satellite=satellite, message_type=message_type))
        firsts = [float(times.min()) for times in fresh] + ([stored[0]] if stored else [])
        lasts = [float(times.max()) for times in fresh] + ([stored[1]] if stored else [])
        return (min(firsts), max(lasts)) if firsts else None

    async def types(self, satellite: str) -> list[str]:
        """Message types of which anything is kept. Raises ``StorageError``."""
        stored = await self._database.read(partial(chunks.types_of, satellite=satellite))
        return sorted({name for _, name in stored} | {kind[0] for kind in self._pipelines[satellite].topics})

    async def trim(self, before_seconds: float) -> None:
        """Forget what came earlier. Raises ``StorageError``."""
        await self._database.write(partial(chunks.trim, before_seconds=before_seconds))


def _compress(sealing: _Sealing) -> list[SealedChunk]:
    return [
        SealedChunk(
            (sealing.satellite, *kind),
            chunk.shape,
            chunk.columns,
            min(chunk.times),
            max(chunk.times),
            len(chunk.times),
            chunk.seal(),
        )
        for kind, chunk in sealing.chunks
    ]


def history(parts: list[Part], start_seconds: float, end_seconds: float) -> list[backhaul_pb2.TelemetrySample]:
    """The messages themselves, by on-board time, each once."""
    found = {}
    for part in parts:
        for sample in samples_of(part, start_seconds, end_seconds):
            name = (sample.source, sample.key, sample.incarnation, sample.sequence, sample.mission_time_seconds)
            found[name] = sample
    return sorted(found.values(), key=lambda sample: sample.mission_time_seconds)
