"""Free TCP ports for a run's processes."""

from __future__ import annotations

import random
import socket

# Below the ranges that systems hand out for outgoing connections, so that none of those takes a port in between.
FIRST, LAST = 20_000, 32_000


def free_ports(count: int, rng: random.Random) -> list[int]:
    """Ports of loopback that nobody listens on; two runs that begin together draw different ones, most likely.

    Raises:
        OSError: no free port was found.
    """
    found: list[int] = []
    for _ in range(1000):
        port = rng.randrange(FIRST, LAST)
        if port in found:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
        if len(found) == count:
            return found
    message = f"no {count} free TCP ports between {FIRST} and {LAST} on this machine"
    raise OSError(message)
