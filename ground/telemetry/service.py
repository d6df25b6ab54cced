"""Telemetry's shell: takes batches in, and from time to time seals, alarms, and asks for what is missing."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

from ground.lifecycle import Note, note
from ground.picture import Picture
from ground.remote_write import RemoteWriter
from ground.telemetry.alarm_desk import AlarmDesk
from ground.telemetry.alarms import PERSISTENCE_SECONDS, Point
from ground.telemetry.archiver import Archiver, ArchiveSettings
from ground.telemetry.backfill import Backfiller, BackfillSettings, Missing, missing_of
from ground.telemetry.pipeline import SatellitePipeline
from skyrack.clock import Anchor, Clock
from skyrack.storage import Storage
from skyrack.v1 import backhaul_pb2, gateway_pb2
from skyrack.v1.common_pb2 import SEVERITY_CRITICAL, SEVERITY_WARNING
from skyrack.v1.gateway_pb2 import BackfillRequest

__all__ = ["GapRecord", "TelemetryService", "TelemetrySettings"]

_LINK_STATUS: Final = (gateway_pb2.LinkStatus.DESCRIPTOR.full_name, "gateway", "")
_OPTICAL: Final = "optical"
_STORAGE: Final = Point("", "storage")
_LINK: Final = Point("", "link")

SendBackfill = Callable[[str, BackfillRequest], Awaitable[None]]
"""Sends a request to a satellite, durably. What it raises is told, and the request made again later."""


@dataclass(frozen=True, slots=True)
class TelemetrySettings:
    """How telemetry is kept and watched; times in mission seconds."""

    archive: ArchiveSettings = field(default_factory=ArchiveSettings)
    backfill: BackfillSettings = field(default_factory=BackfillSettings)
    alarm_persistence_seconds: float = PERSISTENCE_SECONDS
    """A limit must be left for so long, on board, before its alarm is raised."""
    silence_seconds: float = 7200.0
    """A satellite that was not heard for so long is an alarm."""
    link_seconds: float = 120.0
    """So is a broker that cannot be reached for so long."""
    disk_bytes: int = 2 << 30
    """And less room than this where the archive lies."""


@dataclass(frozen=True, slots=True)
class GapRecord:
    """What is missing of one life of a topic, and what came late; times in mission seconds."""

    satellite: str
    message_type: str
    source: str
    key: str
    incarnation: int
    # Messages that have not come, in how many gaps, and between which times; the start is 0 where nothing came before.
    missing: int
    gaps: int
    start_seconds: float
    end_seconds: float
    # Messages that came after later ones, most of them sent again from the recorder.
    filled: int
    # Messages that were asked for in vain.
    lost: int


class TelemetryService:
    """Everything about telemetry that a ground does; ``open`` comes first, ``step`` again and again."""

    def __init__(
        self,
        picture: Picture,
        database: Storage[Any],
        clock: Clock,
        settings: TelemetrySettings,
        changed: Callable[[], None],
        send_backfill: SendBackfill,
        directory: Path | None = None,
    ) -> None:
        self.settings = settings
        self.pipelines: Mapping[str, SatellitePipeline] = picture.pipelines
        self.archiver = Archiver(self.pipelines, database, settings.archive)
        self.alarms = AlarmDesk(database, changed, settings.alarm_persistence_seconds)
        self._picture = picture
        self._clock = clock
        self._send_backfill = send_backfill
        self._directory = directory
        self._backfillers = {name: Backfiller(settings.backfill) for name in self.pipelines}
        self._database = database
        self._refused: dict[str, int] = {}
        self.remote_writer: RemoteWriter | None = None
        self._disconnected_since: float | None = None
        self._opened_seconds = clock.now()

    async def open(self) -> None:
        """Take up what an earlier life left. Raises ``StorageError``."""
        await self.alarms.open()
        for satellite, at in (await self.archiver.open(self.alarms.replay)).items():
            self._picture.heard(satellite, at)

    def follow(self, url: str, anchor: Anchor) -> None:
        """Send all that comes from now on to a Prometheus, too; ``run`` does it."""
        self.archiver.keep_for_sending = True
        self.remote_writer = RemoteWriter(url, self._database, anchor, self._note_refused)

    def _note_refused(self, samples: int, reason: str) -> None:
        self._refused[reason] = self._refused.get(reason, 0) + samples

    async def run(self) -> None:
        """What goes on beside the steps, until cancelled."""
        if self.remote_writer is not None:
            await self.remote_writer.run()

    def take(self, satellite: str, batch_id: int | None, batch: backhaul_pb2.TelemetryBatch, now: float) -> None:
        """A batch has been committed."""
        crossings = self._picture.update(satellite, batch, now)
        if batch_id is not None:
            self.archiver.note(satellite, batch_id, now)
        if crossings:
            self.alarms.observe(satellite, crossings, now)

    async def step(self, now: float, *, is_connected: bool) -> None:
        """Do what is due. Raises ``StorageError``; then what was not done is done at the next step."""
        self.alarms.tick({name: pipeline.newest_seconds for name, pipeline in self.pipelines.items()}, now)
        await self._conditions(now, is_connected=is_connected)
        await self.alarms.write(now)
        await self._tell_refused(now)
        await self.archiver.seal(self.archiver.due(now))
        if is_connected:
            for satellite in self.pipelines:
                await self._backfill(satellite, now)

    async def _tell_refused(self, now: float) -> None:
        refused, self._refused = self._refused, {}
        if refused:
            reason, _ = max(refused.items(), key=lambda item: item[1])
            text = f"Prometheus refused {sum(refused.values())} samples, which are left out: {reason}"
            told = Note("remote_write_refused", SEVERITY_WARNING, text)
            await self._database.write(partial(note, found=told, now=now))

    def storage_failed(self, problem: str, now: float) -> None:
        """The database did not do what was asked: told by an alarm, which is kept as soon as it does again."""
        self.alarms.condition(_STORAGE, SEVERITY_CRITICAL, problem, now, is_on=True)

    async def _conditions(self, now: float, *, is_connected: bool) -> None:
        settings, alarms = self.settings, self.alarms
        for name in self.pipelines:
            heard = self._picture.heard_seconds(name)
            silent = now - max(self._opened_seconds if heard is None else heard, 0.0)
            text = f"not heard for {silent / 60:.0f} minutes" if silent > settings.silence_seconds else "heard again"
            alarms.condition(
                Point(name, "silence"), SEVERITY_WARNING, text, now, is_on=silent > settings.silence_seconds
            )
        if is_connected:
            self._disconnected_since = None
        elif self._disconnected_since is None:
            self._disconnected_since = now
        since = self._disconnected_since
        is_down = since is not None and now - since > settings.link_seconds
        text = "the broker is not reached" if is_down else "the broker is reached again"
        alarms.condition(_LINK, SEVERITY_CRITICAL, text, now, is_on=is_down)
        free = await self._free_bytes()
        is_short = free < settings.disk_bytes
        text = f"{free / (1 << 30):.1f} GiB are left for the archive" if is_short else "storage works"
        alarms.condition(_STORAGE, SEVERITY_WARNING, text, now, is_on=is_short)

    async def _free_bytes(self) -> float:
        if self._directory is None:
            return float("inf")
        usage = await asyncio.get_running_loop().run_in_executor(None, partial(shutil.disk_usage, self._directory))
        return float(usage.free)

    def _contact(self, satellite: str, now: float) -> int | None:
        """What tells this optical contact of the satellite from others; None when there is none."""
        latest = self.pipelines[satellite].samples.get(_LINK_STATUS)
        heard = self._picture.heard_seconds(satellite)
        if latest is None or heard is None or now - heard > self.settings.backfill.settle_seconds * 2:
            return None
        status: Any = latest.message
        return int(status.reconnects_total) if status.connected and status.link == _OPTICAL else None

    async def _backfill(self, satellite: str, now: float) -> None:
        contact = self._contact(satellite, now)
        if contact is not None:
            request = self._backfillers[satellite].next_request(self.pipelines[satellite], contact, now)
            if request is not None:
                await self._send_backfill(satellite, request)

    def gaps(self, satellite: str) -> list[GapRecord]:
        """What is missing of a satellite, and what was filled, by topic."""
        found: dict[tuple[Any, int], list[Missing]] = {}
        for missing in missing_of(self.pipelines[satellite]):
            found.setdefault((missing.kind, missing.incarnation), []).append(missing)
        records = []
        for kind, topic in sorted(self.pipelines[satellite].topics.items()):
            for life, received in topic.lives().items():
                gaps = [missing.gap for missing in found.get((kind, life), [])]
                if gaps or received.filled or received.forgotten:
                    records.append(
                        GapRecord(
                            satellite,
                            message_type=kind[0],
                            source=kind[1],
                            key=kind[2],
                            incarnation=life,
                            missing=sum(gap.missing for gap in gaps),
                            gaps=len(gaps),
                            start_seconds=min((gap.start_seconds for gap in gaps), default=0.0),
                            end_seconds=max((gap.end_seconds for gap in gaps), default=0.0),
                            filled=received.filled,
                            lost=received.forgotten,
                        )
                    )
        return records

    async def close(self) -> None:
        """Finish what was begun; what is not sealed stays as it came. Raises ``StorageError``."""
        await self.archiver.finish()
