"""What every open page hears: one look at the segment for all of them, at most twice a second, while anybody looks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from ground.command_records import QueueRecord, SequenceRecord
from ground.console import rows
from ground.console.highlights import REPEATED
from ground.console.scene import Scenery, heaven
from ground.records import EventRecord, JobRecord, TelecommandRecord
from ground.segment import GroundSegment
from ground.store import jobs
from ground.store.alarms import AlarmRecord
from skyrack.database import StorageError
from skyrack.dictionary import default_limits
from skyrack.limits import LimitSet
from skyrack.logging import get_logger

__all__ = ["Feed", "Frame"]

Row = dict[str, Any]

_LISTED: Final = 100
_SEQUENCES: Final = 30
_NOTABLE: Final = 16
_PAUSE_SECONDS: Final = 0.5
_PERIOD_SECONDS: Final = 1.0


@dataclass(slots=True)
class Frame:
    """The segment at one moment, as pages show it."""

    status: Row = field(default_factory=dict)
    scene: Row = field(default_factory=dict)
    satellites: list[Row] = field(default_factory=list)
    # Rows that differ from those of the frame before.
    changed: list[Row] = field(default_factory=list)
    jobs: list[JobRecord] = field(default_factory=list)
    job_totals: dict[str, int] = field(default_factory=dict)
    commands: list[TelecommandRecord] = field(default_factory=list)
    sequences: list[SequenceRecord] = field(default_factory=list)
    queues: list[QueueRecord] = field(default_factory=list)
    events: list[EventRecord] = field(default_factory=list)
    # The newest, but for what a busy machine tells again and again.
    notable_events: list[EventRecord] = field(default_factory=list)
    # What stands, or has ended unseen; the worst first.
    alarms: list[AlarmRecord] = field(default_factory=list)
    # Jobs, commands or events changed since the frame before.
    is_news: bool = True


Listener = Callable[[Frame], None]


class Feed:
    """Looks at the segment while anybody listens."""

    def __init__(self, segment: GroundSegment, scenery: Scenery, prefix: str) -> None:
        self.segment = segment
        self.scenery = scenery
        self.prefix = prefix
        self.frame = Frame()
        self.limits: LimitSet = default_limits()
        self._listeners: dict[object, Listener] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_stale = True
        self._log = get_logger("console")

    async def current(self) -> Frame:
        """The frame of now: looked at anew when nobody was listening."""
        if self._task is None or self._is_stale:
            await self._look(is_news=True)
        return self.frame

    def listen(self, who: object, listener: Listener) -> None:
        """Call back with every frame, until ``leave``."""
        self._listeners[who] = listener
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._watch(), name="console feed")

    def leave(self, who: object) -> None:
        """Call back no more; harmless when nobody did."""
        self._listeners.pop(who, None)

    async def _watch(self) -> None:
        changed = self.segment.changed.waiter()
        try:
            while self._listeners and not self.segment.is_closing:
                await asyncio.wait([changed], timeout=_PERIOD_SECONDS)
                is_news = changed.done()
                if is_news:
                    changed = self.segment.changed.waiter()  # before looking, so that no beat is missed
                try:
                    await self._look(is_news=is_news)
                except StorageError:
                    self._is_stale = True  # the pages keep what they have, and hear all when it works again
                else:
                    self._tell()
                await asyncio.sleep(_PAUSE_SECONDS)  # edges live in wall time
        finally:
            changed.cancel()
            self._task = None
            self._is_stale = True

    def _tell(self) -> None:
        for listener in list(self._listeners.values()):
            try:
                listener(self.frame)
            except Exception:  # noqa: BLE001 - one bad page must not cost the others
                self._log.exception("page_failed")

    async def _look(self, *, is_news: bool) -> None:
        segment, before = self.segment, self.frame
        is_news = is_news or self._is_stale
        now = segment.clock.now()
        records = await segment.satellites()
        alarms = segment.telemetry_service.alarms.records()
        raised = {alarm.satellite: _level(alarm) for alarm in reversed(alarms) if alarm.state in _RAISED}
        levels = {
            record.name: rows.satellite_level(record, self.limits, raised.get(record.name, "nominal"))
            for record in records
        }
        found = [
            rows.satellite_row(record, self.limits, f"{self.prefix}/satellites/{record.name}", levels[record.name])
            for record in records
        ]
        frame = Frame(satellites=found, alarms=alarms, is_news=is_news)
        known = {row["key"]: row for row in before.satellites}
        frame.changed = [row for row in found if known.get(row["key"]) != row]
        if is_news:
            frame.jobs = list(reversed(await segment.jobs(_LISTED)))
            frame.job_totals = await segment.database.read(jobs.totals)
            frame.commands = list(reversed(await segment.telecommands(_LISTED, only_of_people=True)))
            frame.sequences = list(reversed(await segment.sequence_desk.sequences(_SEQUENCES)))
            frame.queues = await segment.command_desk.queues()
            frame.events = list(reversed(await segment.events(limit=_LISTED)))
            frame.notable_events = list(reversed(await segment.events(limit=_NOTABLE, leave_out=REPEATED)))
        else:
            frame.jobs, frame.job_totals = before.jobs, before.job_totals
            frame.commands, frame.sequences, frame.queues = before.commands, before.sequences, before.queues
            frame.events, frame.notable_events = before.events, before.notable_events
        picture = segment.picture
        frame.scene = {
            "clock": [now, segment.clock.rate],
            "sky": heaven(now),
            "satellites": [
                self.scenery.satellite(picture, record, levels[record.name], f"{self.prefix}/satellites/{record.name}")
                for record in records
            ],
            "links": [link for record in records for link in self.scenery.links(picture, record, now)],
        }
        is_open = sum(count for state, count in frame.job_totals.items() if state in _OPEN)
        waiting = [_level(alarm) for alarm in alarms if alarm.state in ("active", "returned")]
        frame.status = {
            "mission": now,
            "rate": segment.clock.rate,
            "connected": segment.link.connected,
            "satellites": len(records),
            "reachable": sum(record.is_reachable for record in records),
            "jobs_open": is_open,
            "alarms": len(waiting),
            "alarm_level": "critical" if "critical" in waiting else "caution",
        }
        self.frame = frame
        self._is_stale = False


def _level(alarm: AlarmRecord) -> str:
    return "critical" if alarm.severity in ("ERROR", "CRITICAL") else "caution"


_RAISED: Final = frozenset({"active", "acknowledged"})
_OPEN: Final = frozenset({"SUBMITTED", "PLACED", "ACCEPTED", "RUNNING", "PREEMPTED"})
