"""Free TCP ports for a run's processes."""

from __future__ import annotations

import random
import socket
from collections.abc import Sequence

# Below the ranges that systems hand out for outgoing connections, so that none of those takes a port in between.
FIRST, LAST = 20_000, 32_000


def free_ports(count: int, rng: random.Random) -> list[int]:
    """Ports of loopback that nobody listens on; two runs that begin together draw different ones, most likely.

    Raises:
        OSError: no free port was found.
    """
    return free_rows([1] * count, rng)


def free_rows(lengths: Sequence[int], rng: random.Random, low: int = FIRST, high: int = LAST) -> list[int]:
    """First ports of rows of so many free ones each, which follow one another, all of them from ``low`` on.

    Raises:
        OSError: they were not found.
    """
    found: list[int] = []
    taken: set[int] = set()
    for _ in range(1000):
        if len(found) == len(lengths):
            return found
        first = rng.randrange(low, high)
        row = range(first, first + lengths[len(found)])
        if taken.isdisjoint(row) and all(map(_is_free, row)):
            found.append(first)
            taken.update(row)
    message = f"no {sum(lengths)} free TCP ports between {low} and {high} on this machine"
    raise OSError(message)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
