"""The on-board bus: brokerless ZeroMQ, driven from the event loop.

Each service binds one XPUB socket for what it publishes and one ROUTER socket for requests to it; the others connect to
it by name. It finds out what was lost and counts it; it never blocks and never waits for anybody.
"""

from flight.bus.bus import Bus
from flight.bus.counters import BusCounters
from flight.bus.endpoints import Endpoints
from flight.bus.errors import (
    BusError,
    EndpointError,
    RequestRefused,
    RequestRefusedError,
    RequestTimeout,
    RequestTimeoutError,
)
from skyrack.v1.common_pb2 import Header

__all__ = [
    "Bus",
    "BusCounters",
    "BusError",
    "EndpointError",
    "Endpoints",
    "Header",
    "RequestRefused",
    "RequestRefusedError",
    "RequestTimeout",
    "RequestTimeoutError",
]
