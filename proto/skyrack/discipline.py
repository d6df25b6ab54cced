"""A mission clock that can be put right while it runs: what a board needs whose crystal is not the bench computer's.

The anchor in the clock file may be replaced by a better one of the same rate and boot. The clock goes over to it
without a step: for some seconds it runs a little faster or slower, and is monotonic throughout.
"""

from __future__ import annotations

import asyncio
import math
from pathlib import Path
from typing import Self

from skyrack.clock import Anchor, MissionClock, read_anchor
from skyrack.errors import UserError

SLEW_SECONDS = 10.0
"""Time of the event loop in which an error is removed."""
MOST_SLEW_RATIO = 0.02
"""Never faster or slower than by this part of the rate: a larger error takes longer."""
LOOK_SECONDS = 2.0


class DisciplinedClock(MissionClock):
    """A :class:`MissionClock` with :meth:`steer`."""

    __slots__ = ("_slew_begin", "_slew_from", "_slew_rate", "_slew_until")

    def __init__(
        self,
        anchor: Anchor,
        loop: asyncio.AbstractEventLoop | None = None,
        *,
        since_anchor_seconds: float | None = None,
    ) -> None:
        super().__init__(anchor, loop, since_anchor_seconds=since_anchor_seconds)
        # While the loop's time is below _slew_until, mission time is _slew_from + _slew_rate * (time - _slew_begin).
        self._slew_until = -math.inf
        self._slew_begin = self._slew_from = 0.0
        self._slew_rate = self.rate

    @classmethod
    def from_file(cls, path: Path | str, loop: asyncio.AbstractEventLoop | None = None) -> Self:
        """Join the time line of the anchor in a file. Raises UserError as :func:`read_anchor` does."""
        return cls(read_anchor(path), loop)

    def now(self) -> float:
        loop_time = self._loop_time()
        if loop_time < self._slew_until:
            return self._slew_from + self._slew_rate * (loop_time - self._slew_begin)
        return self._mission_zero + self.rate * (loop_time - self._loop_zero)

    def loop_time_of(self, mission_time_seconds: float) -> float:
        if self._loop_time() < self._slew_until:
            when = self._slew_begin + (mission_time_seconds - self._slew_from) / self._slew_rate
            if when < self._slew_until:
                return when
        return super().loop_time_of(mission_time_seconds)

    async def sleep_until(self, mission_time_seconds: float) -> None:
        await super().sleep_until(mission_time_seconds)
        # It may have been slowed down meanwhile, and within a slew nobody stepped over the rounding.
        while self.now() < mission_time_seconds:
            await super().sleep_until(max(mission_time_seconds, self.now() + 1e-6 * self.rate))

    def steer(self, anchor: Anchor) -> float:
        """Go over to another anchor; how much mission time had to be put right, seconds. To be called in the loop.

        Raises:
            ValueError: its rate is another.
        """
        if anchor.rate != self.rate:
            raise ValueError(f"a clock of rate {self.rate:g} cannot go over to an anchor of rate {anchor.rate:g}")
        loop_time, now = self._loop_time(), self.now()
        target = MissionClock(anchor)
        error = target.now() - now
        ratio = min(MOST_SLEW_RATIO, abs(error) / (self.rate * SLEW_SECONDS))
        if ratio > 0.0:
            self._slew_begin, self._slew_from = loop_time, now
            self._slew_rate = self.rate * (1.0 + math.copysign(ratio, error))
            self._slew_until = loop_time + abs(error) / (self.rate * ratio)
        self.anchor = anchor
        self._mission_zero, self._loop_zero = target._mission_zero, target._loop_zero  # noqa: SLF001 - one of ours
        return error

    async def follow(self, path: Path | str, look_seconds: float = LOOK_SECONDS) -> None:
        """Go over to whatever anchor the clock file holds, again and again, until cancelled.

        A file that cannot be read, or an anchor of another rate, changes nothing.
        """
        path = Path(path)
        seen = _seen(path)
        while True:
            await asyncio.sleep(look_seconds)
            found = _seen(path)
            if found == seen:
                continue
            seen = found
            try:
                anchor = read_anchor(path)
                if anchor != self.anchor:
                    self.steer(anchor)
            except (UserError, ValueError):
                continue


def _seen(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return (0, 0)
    return (found.st_ino, found.st_mtime_ns)
