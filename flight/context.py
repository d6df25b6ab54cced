"""What a service is given at its start: everything that differs between a board, a bench and the twin."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import zmq

from flight.board import SERVICES, Board
from flight.bus import Endpoints
from flight.bus.publisher import Tap
from flight.devices import DeviceRegistry
from flight.meter import HostMeter, Meter
from skyrack.clock import Clock
from skyrack.disk import Disk, HostDisk, MemoryDisk, Mount
from skyrack.satellite import ConstellationFile, SatelliteFile


def random_id() -> str:
    """An id that nobody else has."""
    return uuid.uuid4().hex


@dataclass(frozen=True, kw_only=True)
class ServiceContext:
    """Services take these and nothing from anywhere else.

    Without ``state_dir`` what must last is in ``mount``, as in the twin. ``parameters`` override defaults, by name.
    ``services`` are all services on this satellite. ``attachments`` are the run's far ends (plant, backhauls).
    ``incarnation`` 0 takes mission time in microseconds, which grows with every start. ``taps``
    hear topic, header and payload of everything that the service publishes.
    """

    satellite: str
    satellite_file: SatelliteFile
    constellation: ConstellationFile
    clock: Clock
    endpoints: Endpoints
    devices: DeviceRegistry
    rng: random.Random
    zmq_context: zmq.Context[Any] | None = None
    meter: Meter = field(default_factory=HostMeter)
    state_dir: Path | None = None
    new_id: Callable[[], str] = random_id
    parameters: Mapping[str, float] = field(default_factory=dict)
    board: Board | None = None
    attachments: Mapping[str, object] = field(default_factory=dict)
    services: tuple[str, ...] = ("executive", *SERVICES)
    incarnation: int = 0
    taps: tuple[Tap, ...] = ()
    mount: Mount = field(default_factory=lambda: MemoryDisk().mount())

    @property
    def disk(self) -> Disk:
        """Where this service keeps what outlives it."""
        return self.mount if self.state_dir is None else HostDisk(self.state_dir)
