"""Tells a repeated event once in a while."""

from __future__ import annotations

from collections.abc import Hashable


class Throttle:
    """Admits each kind of event once per period, and says how many were held back since."""

    __slots__ = ("_kinds", "_period")

    def __init__(self, period_seconds: float) -> None:
        self._period = period_seconds
        self._kinds: dict[Hashable, tuple[float, int]] = {}

    def admit(self, kind: Hashable, now: float) -> tuple[bool, int]:
        """Whether to tell it now, and how many of this kind were not told since the last one that was."""
        last, untold = self._kinds.get(kind, (float("-inf"), 0))
        if now - last < self._period:
            self._kinds[kind] = (last, untold + 1)
            return False, untold + 1
        self._kinds[kind] = (now, 0)
        return True, untold
