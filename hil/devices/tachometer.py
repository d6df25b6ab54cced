"""Revolutions per minute from the edges of a tachometer wire."""

from __future__ import annotations

from typing import Final

from hil.devices.gpio_line import GpioLine
from skyrack.clock import Clock

# Without an edge for so long, it stands: 30 revolutions a minute with one pulse each.
_STANDS_SECONDS: Final = 2.0


class EdgeTachometer:
    """Counts the falling edges of a line.

    The kernel keeps the newest few; their numbers go on, so that what was lost does not count as slower.
    """

    def __init__(self, line: GpioLine, pulses_per_revolution: int, clock: Clock) -> None:
        self._line = line
        self._pulses = pulses_per_revolution
        self._clock = clock
        self._last: tuple[int, int] | None = None
        self._seen_at = clock.now()
        self._rpm = 0.0

    def rpm(self) -> float:
        """Revolutions per minute since the last look. Raises OSError when the line is gone."""
        now = self._clock.now()
        found = self._line.edges()
        if not found:
            if now - self._seen_at > _STANDS_SECONDS * self._clock.rate:
                self._rpm, self._last = 0.0, None
            return self._rpm
        first, last = self._last or found[0], found[-1]
        if last[1] > first[1] and last[0] > first[0]:
            self._rpm = 60e9 * (last[0] - first[0]) / (last[1] - first[1]) / self._pulses
        self._last, self._seen_at = last, now
        return self._rpm

    def close(self) -> None:
        """Let go of the line."""
        self._line.release()
