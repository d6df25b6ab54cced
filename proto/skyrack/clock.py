"""Mission time: one clock that everything on board and on the ground decides by.

Mission time is ``anchor + rate * (host time since the anchor)``, in seconds since the Unix epoch, UTC. All processes
of a run share one :class:`Anchor`, kept in a file, so that a restarted process rejoins the same time line. Nothing else
in the project reads the host's clocks.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Protocol

from skyrack.errors import UserError

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Clock(Protocol):
    """Mission time; all durations are mission seconds."""

    @property
    def rate(self) -> float:
        """Mission seconds per second of the event loop."""

    def now(self) -> float:
        """Mission time in seconds since the Unix epoch, UTC. Never runs backwards."""

    async def sleep(self, seconds: float) -> None:
        """Sleep for ``seconds`` of mission time; yields once if there is nothing to wait for."""

    async def sleep_until(self, mission_time_seconds: float) -> None:
        """Sleep until ``now() >= mission_time_seconds``; yields once if that is past."""

    def timeout(self, seconds: float) -> AbstractAsyncContextManager[object]:
        """Like :func:`asyncio.timeout` in mission seconds: raises TimeoutError from its body."""


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where mission time and host time meet.

    ``host_time_seconds`` is Unix time of the host. ``monotonic_seconds`` is the same instant on the monotonic clock of
    the boot ``boot_id``: processes of that boot map through it, so that a step of the host's time of day moves nobody.
    """

    mission_time_seconds: float
    host_time_seconds: float
    rate: float = 1.0
    monotonic_seconds: float | None = None
    boot_id: str = ""

    def __post_init__(self) -> None:
        for name in ("mission_time_seconds", "host_time_seconds", "rate"):
            if not math.isfinite(getattr(self, name)):
                raise ValueError(f"{name} of a clock anchor is {getattr(self, name)}; it must be a finite number")
        if self.rate <= 0:
            raise ValueError(f"rate of a clock anchor is {self.rate}; it must be above 0")

    @classmethod
    def here(cls, mission_time_seconds: float, rate: float = 1.0) -> Anchor:
        """The given mission time is now, on this host."""
        return cls(mission_time_seconds, time.time(), rate, time.monotonic(), _boot_id())

    @classmethod
    def utc(cls) -> Anchor:
        """Mission time is UTC, at rate 1, as on a board."""
        monotonic, host = time.monotonic(), time.time()
        return cls(host, host, 1.0, monotonic, _boot_id())


class MissionClock:
    """Clock on top of an asyncio event loop.

    The loop's time is mapped to mission time once, at construction; from then on mission time is an increasing function
    of the loop's time and cannot run backwards whatever happens to the host's time of day.

    ``loop`` defaults to the running loop; without one, loops that run on ``time.monotonic`` are assumed (all of
    asyncio's own do). ``since_anchor_seconds`` says how far the anchor is back, in host seconds; by default the host's
    clocks are asked.
    """

    __slots__ = ("_loop_time", "_loop_zero", "_mission_zero", "anchor", "rate")

    def __init__(
        self,
        anchor: Anchor,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        since_anchor_seconds: float | None = None,
    ) -> None:
        self._loop_time = _time_of(loop)
        self.anchor = anchor
        self.rate = anchor.rate
        if since_anchor_seconds is not None:
            self._loop_zero = self._loop_time() - since_anchor_seconds
        elif anchor.monotonic_seconds is not None and anchor.boot_id and anchor.boot_id == _boot_id():
            # On asyncio's own loops the difference is nothing at all, and every process of the boot agrees exactly.
            self._loop_zero = anchor.monotonic_seconds + _lead_over_monotonic(self._loop_time)
        else:
            self._loop_zero = self._loop_time() - (time.time() - anchor.host_time_seconds)
        self._mission_zero = anchor.mission_time_seconds

    @classmethod
    def starting_at(
        cls, mission_time_seconds: float, rate: float = 1.0, loop: asyncio.AbstractEventLoop | None = None
    ) -> MissionClock:
        """The given mission time is now on the loop; no clock of the host is read, as virtual time needs."""
        return cls(Anchor(mission_time_seconds, mission_time_seconds, rate), loop, since_anchor_seconds=0.0)

    @classmethod
    def from_file(cls, path: Path | str, loop: asyncio.AbstractEventLoop | None = None) -> MissionClock:
        """Join the time line of the anchor in a file. Raises UserError as :func:`read_anchor` does."""
        return cls(read_anchor(path), loop)

    def now(self) -> float:
        return self._mission_zero + self.rate * (self._loop_time() - self._loop_zero)

    def loop_time_of(self, mission_time_seconds: float) -> float:
        """First loop time at which ``now()`` has reached the given mission time, to rounding."""
        when = self._loop_zero + (mission_time_seconds - self._mission_zero) / self.rate
        # The sum in now() rounds to the spacing of doubles near Unix time (0.2 us): step over it, never wake early.
        step = max(math.ulp(when), math.ulp(mission_time_seconds) / self.rate / 2)
        while self._mission_zero + self.rate * (when - self._loop_zero) < mission_time_seconds:
            when += step
        return when

    async def sleep(self, seconds: float) -> None:
        await self.sleep_until(self.now() + seconds) if seconds > 0 else await asyncio.sleep(0)

    async def sleep_until(self, mission_time_seconds: float) -> None:
        loop_time, when = self._loop_time, self.loop_time_of(mission_time_seconds)
        if loop_time() >= when:
            await asyncio.sleep(0)
            return
        loop = asyncio.get_running_loop()
        while True:
            waiter: asyncio.Future[None] = loop.create_future()
            handle = loop.call_at(when, _wake, waiter)
            try:
                await waiter
            except BaseException:
                handle.cancel()
                raise
            if loop_time() >= when:  # asyncio may wake a clock tick early
                return

    def timeout(self, seconds: float) -> asyncio.Timeout:
        return asyncio.timeout(seconds / self.rate)


def write_anchor(path: Path | str, anchor: Anchor) -> None:
    """Write the anchor of a run, atomically: a reader sees the old file or the new one, whole."""
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(asdict(anchor), file)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_anchor(path: Path | str) -> Anchor:
    """Read the anchor of a run. Raises UserError, one sentence, when the file is missing or is not an anchor."""
    path = Path(path)
    try:
        values: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no clock file here; write_anchor makes one before services start") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the clock file cannot be read ({error}); it must be JSON") from None
    known = {field.name for field in fields(Anchor)}
    if not isinstance(values, dict) or not set(values) <= known:
        raise UserError(f"{path}: the clock file must hold an object with the keys {', '.join(sorted(known))}")
    try:
        for name in known - {"boot_id"}:
            if values.get(name) is not None:
                values[name] = float(values[name])
        return Anchor(**values)
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: this is not a clock anchor: {error}") from None


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _time_of(loop: asyncio.AbstractEventLoop | None) -> Callable[[], float]:
    if loop is None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return time.monotonic
    return loop.time


def _boot_id() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _lead_over_monotonic(loop_time: Callable[[], float]) -> float:
    if loop_time is time.monotonic or getattr(loop_time, "__func__", None) is asyncio.BaseEventLoop.time:
        return 0.0
    return loop_time() - time.monotonic()
