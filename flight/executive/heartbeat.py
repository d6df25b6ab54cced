"""Shows those who watch the executive that it lives: the hardware watchdog and systemd."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from flight.executive.sd_notify import Notifier
from flight.executive.watchdog import Watchdog

_STROKE_SECONDS = 5.0


class Heartbeat:
    """Strokes both while the loop turns and ``is_well()``. Host seconds throughout."""

    def __init__(self, device: str, notifier: Notifier, is_well: Callable[[], bool]) -> None:
        self.notifier = notifier
        self._device = device
        self._is_well = is_well
        self._watchdog: Watchdog | None = None

    def open(self) -> bool:
        """Arm the watchdog; whether there is anything to stroke.

        Raises:
            OSError: the device cannot be opened; systemd is still told.
        """
        if self._device:
            self._watchdog = Watchdog(self._device)
        return self._watchdog is not None or self.notifier.watchdog_seconds is not None

    async def run(self) -> None:
        """Stroke until cancelled."""
        systemd = self.notifier.watchdog_seconds
        period = min(_STROKE_SECONDS, systemd / 3) if systemd is not None else _STROKE_SECONDS
        while True:
            if self._is_well():
                if self._watchdog is not None:
                    with contextlib.suppress(OSError):
                        self._watchdog.stroke()
                self.notifier.watchdog()
            await asyncio.sleep(period)

    def close(self, *, disarm: bool) -> None:
        """End; a watchdog that is not disarmed reboots the board unless the next executive is quick."""
        if self._watchdog is not None:
            if disarm:
                self._watchdog.disarm()
            else:
                self._watchdog.abandon()
        self.notifier.close()
