"""Slows down those who guess: each address has a few wrong tokens free, and then one every few seconds."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address
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
        debt = self._full_until.get(_network(address), 0.0) - self._now()
        return max(0.0, debt - (self._burst - 1) * self._seconds_each)

    def refused(self, address: str) -> None:
        """A wrong token came from this address."""
        now, network = self._now(), _network(address)
        self._full_until[network] = max(now, self._full_until.pop(network, 0.0)) + self._seconds_each
        if len(self._full_until) > _ADDRESSES:
            self._full_until.popitem(last=False)


def _network(address: str) -> str:
    """Whom an address belongs to: with IPv6 one machine has the 2^64 of its network."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    return str(int(found) >> 64) if isinstance(found, IPv6Address) and found.ipv4_mapped is None else address
