"""The hardware watchdog: a device that reboots the board unless it is written to in time."""

from __future__ import annotations

import contextlib
import os
from types import TracebackType
from typing import Self

_KEEP_ALIVE = b"\0"
# The driver stops counting when this is the last byte before a close ("magic close").
_MAGIC_CLOSE = b"V"


class Watchdog:
    """``/dev/watchdog``, or any file that stands in for it.

    Once open, it must be stroked more often than its time-out, or the board reboots. Closed by ``disarm`` it stops;
    if this process dies it goes on, which is the point.

    Raises:
        OSError: the device cannot be opened: missing, or in use by somebody else.
    """

    def __init__(self, path: str) -> None:
        # O_NONBLOCK: a stand-in such as a FIFO must not stop the executive when nobody reads it.
        self._descriptor: int | None = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK)

    def stroke(self) -> None:
        """Put off the reboot."""
        self._write(_KEEP_ALIVE)

    def disarm(self) -> None:
        """Stop the watchdog: for a clean shutdown only. Harmless when called twice."""
        if self._descriptor is not None:
            self._write(_MAGIC_CLOSE)
            os.close(self._descriptor)
            self._descriptor = None

    def abandon(self) -> None:
        """Close without stopping it: the board reboots when its time-out is over."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.disarm()
        else:
            self.abandon()

    def _write(self, data: bytes) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(BlockingIOError):
                os.write(self._descriptor, data)
