"""Which link to hold a session over. Plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

OPTICAL: Final = "optical"
ANTENNA: Final = "antenna"

_FIRST_BACKOFF_SECONDS: Final = 0.5
_LONGEST_BACKOFF_SECONDS: Final = 8.0
_DESPERATE_FAILURES: Final = 3
_LASER_SILENT_SECONDS: Final = 15.0
"""After so long without a word nobody knows what a laser does; mission time."""


@dataclass(slots=True)
class _Record:
    failures: int = 0
    not_before: float = 0.0
    connected_at: float | None = None


class LinkChooser:
    """Optical first, the antenna when the laser does not communicate or its sessions fail.

    All times are seconds of the event loop, given by the caller. Hysteresis: the laser must have communicated for
    ``settle_seconds`` before a session over the antenna is given up for it, and must have been silent for
    ``fade_seconds`` before a session over it is.
    """

    def __init__(self, links: Iterable[str], settle_seconds: float = 3.0, fade_seconds: float = 3.0) -> None:
        self._records: dict[str, _Record] = {link: _Record() for link in (OPTICAL, ANTENNA) if link in set(links)}
        self._settle_seconds = settle_seconds
        self._fade_seconds = fade_seconds
        self._communicating: bool | None = None
        self._since = 0.0

    def laser(self, communicating: bool | None, now: float) -> None:
        """Hear whether a laser communicates; ``None`` when nobody knows."""
        if communicating is not self._communicating:
            self._communicating = communicating
            self._since = now

    def choose(self, now: float) -> str | None:
        """The link to connect over now; ``None`` to wait."""
        for link, record in self._records.items():
            if now >= record.not_before and self._promising(link):
                return link
        return None

    def _promising(self, link: str) -> bool:
        if link != OPTICAL or self._communicating is not False:
            return True
        # The laser is said to be silent: believe it as long as the antenna works, or may.
        antenna = self._records.get(ANTENNA)
        return antenna is None or antenna.failures >= _DESPERATE_FAILURES

    def leave(self, link: str, now: float) -> bool:
        """Whether to end a session over ``link`` because another is better."""
        steady = now - self._since
        if link == ANTENNA and OPTICAL in self._records:
            return (
                self._communicating is True
                and steady >= self._settle_seconds
                and now >= self._records[OPTICAL].not_before
            )
        return (
            link == OPTICAL
            and ANTENNA in self._records
            and self._communicating is False
            and steady >= self._fade_seconds
        )

    def connected(self, link: str, now: float) -> None:
        """A session over ``link`` began."""
        self._records[link].connected_at = now

    def ended(self, link: str, now: float, by_choice: bool) -> None:
        """A session over ``link`` ended, or could not begin."""
        record = self._records[link]
        lasted = now - record.connected_at if record.connected_at is not None else 0.0
        record.connected_at = None
        if by_choice or lasted > _LONGEST_BACKOFF_SECONDS:
            record.failures = 0
        else:
            record.failures += 1
        backoff = min(_FIRST_BACKOFF_SECONDS * 2 ** min(record.failures, 10), _LONGEST_BACKOFF_SECONDS)
        record.not_before = now if by_choice else now + backoff


class Lasers:
    """What the terminals last said of themselves; all times are mission seconds."""

    def __init__(self) -> None:
        self._said: dict[str, tuple[float, bool]] = {}

    def hear(self, terminal: str, is_communicating: bool, now: float) -> None:
        """A terminal tells whether it communicates."""
        self._said[terminal] = now, is_communicating

    def communicating(self, now: float) -> bool | None:
        """Whether any communicates; ``None`` when nobody knows."""
        fresh = [on for at, on in self._said.values() if now - at < _LASER_SILENT_SECONDS]
        return any(fresh) if fresh else None


def window_bytes(rate_bits_per_second: float, seconds: float = 4.0) -> int:
    """Bytes that may be on the way over a link: what it carries in ``seconds``, within reason.

    ``rate_bits_per_second`` is per second of the event loop.
    """
    return int(min(max(rate_bits_per_second * seconds / 8, 16_384), 1 << 20))
