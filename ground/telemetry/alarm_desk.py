"""The alarms' shell: the book, what keeps it, and what people do with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from ground.errors import UnknownError
from ground.store import alarms as store
from ground.store.alarms import AlarmRecord
from ground.telemetry.alarms import Alarm, AlarmBook, Change, Point
from ground.telemetry.watch import Crossing
from skyrack.errors import UserError
from skyrack.storage import Storage

__all__ = ["AlarmDesk"]

_SHELVE_MAXIMUM_SECONDS: Final = 30 * 86_400.0
_TEXT_MAXIMUM: Final = 500
_UNWRITTEN_MAXIMUM: Final = 10_000
_ORDER: Final = {"active": 0, "returned": 1, "acknowledged": 2, "shelved": 3, "cleared": 4}


class AlarmDesk:
    """Alarms of all satellites and of the ground. ``changed`` is called when one has changed durably."""

    def __init__(self, database: Storage[Any], changed: Callable[[], None], persistence_seconds: float) -> None:
        self._database = database
        self._changed = changed
        self._persistence_seconds = persistence_seconds
        self._ids: dict[Point, int] = {}
        self._unwritten: list[Change] = []
        self.book = AlarmBook((), persistence_seconds)

    async def open(self) -> None:
        """Take up what an earlier life left. Raises ``StorageError``."""
        found = await self._database.read(store.load)
        self._ids = {alarm.point: number for number, alarm in found}
        self.book = AlarmBook((alarm for _, alarm in found), self._persistence_seconds)

    def replay(self, satellite: str, crossings: Iterable[Crossing]) -> None:
        """Levels found again in what an earlier life had taken in: what it knew already changes nothing."""
        fresh = []
        for crossing in crossings:
            known = self.book.alarms.get(Point(satellite, crossing.field, ",".join(crossing.labels)))
            if known is None or crossing.mission_time_seconds > known.changed_seconds:
                fresh.append(crossing)
        self._note(self.book.observe(satellite, fresh, 0.0))

    def observe(self, satellite: str, crossings: Iterable[Crossing], now: float) -> None:
        """Fields have changed their levels."""
        self._note(self.book.observe(satellite, crossings, now))

    def condition(self, point: Point, severity: int, text: str, now: float, *, is_on: bool) -> None:
        """Something that the ground looks at again and again."""
        self._note(self.book.condition(point, severity, text, now, is_on=is_on))

    def tick(self, on_board: dict[str, float], now: float) -> None:
        """Time has passed; ``on_board`` is the newest on-board time of each satellite."""
        self._note(self.book.tick(on_board, now))

    def _note(self, changes: list[Change]) -> None:
        # What cannot be written for long is told by its newest.
        self._unwritten = (self._unwritten + changes)[-_UNWRITTEN_MAXIMUM:]

    async def write(self, now: float) -> None:
        """Make durable what has changed. Raises ``StorageError``; then it is tried again at the next call."""
        changes, self._unwritten = self._unwritten, []
        if not changes:
            return
        try:
            self._ids |= await self._database.write(partial(store.save, changes=changes, now=now))
        except BaseException:
            self._unwritten = changes + self._unwritten
            raise
        self._changed()

    def records(self, satellite: str = "", *, with_cleared: bool = False) -> list[AlarmRecord]:
        """Alarms that are of interest, or all: what needs somebody first, the severest of these first."""
        found = [
            alarm
            for point, alarm in self.book.alarms.items()
            if point in self._ids
            and (not satellite or point.satellite == satellite)
            and (with_cleared or alarm.state != "cleared")
        ]
        found.sort(key=lambda alarm: (_ORDER[alarm.state], -alarm.severity, -alarm.raised_seconds, str(alarm.point)))
        return [store.record(self._ids[alarm.point], alarm) for alarm in found]

    async def record(self, alarm_id: int) -> AlarmRecord:
        """An alarm with its history. Raises ``UnknownError`` and ``StorageError``."""
        alarm = self._alarm(alarm_id)
        steps = await self._database.read(partial(store.history, alarm_id=alarm_id))
        return store.record(alarm_id, alarm, steps)

    async def acknowledge(self, alarm_id: int, who: str, comment: str, now: float) -> AlarmRecord:
        """Somebody has seen it; once more changes nothing. Raises ``UnknownError`` and ``StorageError``."""
        point = self._alarm(alarm_id).point
        return await self._do(
            alarm_id,
            self.book.alarms[point],
            now,
            lambda: self.book.acknowledge(point, who, _text("comment", comment), now),
        )

    async def shelve(self, alarm_id: int, until_seconds: float, who: str, reason: str, now: float) -> AlarmRecord:
        """Trouble nobody with it until then. Raises ``UserError``, ``UnknownError`` and ``StorageError``."""
        if not now < until_seconds <= now + _SHELVE_MAXIMUM_SECONDS:
            raise UserError(f"until_seconds is {until_seconds:.0f}: must be later than now, by at most 30 days")
        if not reason.strip():
            raise UserError("reason is missing: whoever comes next must know why the alarm is shelved")
        point = self._alarm(alarm_id).point
        return await self._do(
            alarm_id,
            self.book.alarms[point],
            now,
            lambda: self.book.shelve(point, until_seconds, who, _text("reason", reason), now),
        )

    async def unshelve(self, alarm_id: int, who: str, now: float) -> AlarmRecord:
        """Trouble people with it again. Raises ``UnknownError`` and ``StorageError``."""
        alarm = self._alarm(alarm_id)
        return await self._do(
            alarm_id,
            alarm,
            now,
            lambda: self.book.unshelve(alarm.point, who, now) if alarm.shelved_until_seconds else None,
        )

    async def _do(self, alarm_id: int, before: Alarm, now: float, act: Callable[[], Change | None]) -> AlarmRecord:
        await self.write(now)
        change = act()
        if change is not None:
            try:
                await self._database.write(partial(store.save, changes=[change], now=now))
            except BaseException:
                if self.book.alarms[before.point] is change.alarm:
                    self.book.alarms[before.point] = before
                raise
            self._changed()
        return await self.record(alarm_id)

    def _alarm(self, alarm_id: int) -> Alarm:
        for point, number in self._ids.items():
            if number == alarm_id:
                return self.book.alarms[point]
        raise UnknownError(f"there is no alarm {alarm_id}; `skyrack alarms` lists them")


def _text(name: str, text: str) -> str:
    if len(text) > _TEXT_MAXIMUM:
        raise UserError(f"{name} has {len(text)} characters, at most {_TEXT_MAXIMUM} are kept")
    return text.strip()
