"""Slows down those who guess: each address has a few wrong tokens free, and then one every few seconds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

__all__ = ["Throttle"]

_ADDRESSES: Final = 4096


class Throttle:
    """A bucket of refusals per address; ``now`` gives loop seconds."""

    def __init__(self, now: Callable[[], float], burst: int = 20, seconds_each: float = 3.0) -> None:
        self._now = now
        self._burst = burst
        self._seconds_each = seconds_each
        # Address -> time at which the last of its refusals is forgiven. The oldest is dropped first.
        self._full_until: OrderedDict[str, float] = OrderedDict()

    def wait_seconds(self, address: str) -> float:
        """How long this address must wait before a token of it is looked at; 0 for now."""
        debt = self._full_until.get(address, 0.0) - self._now()
        return max(0.0, debt - (self._burst - 1) * self._seconds_each)

    def refused(self, address: str) -> None:
        """A wrong token came from this address."""
        now = self._now()
        self._full_until[address] = max(now, self._full_until.pop(address, 0.0)) + self._seconds_each
        if len(self._full_until) > _ADDRESSES:
            self._full_until.popitem(last=False)
