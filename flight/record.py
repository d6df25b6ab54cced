"""Records what the services of running satellites publish, over their sockets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from flight.board import SERVICES
from flight.bus import Bus, Endpoints
from flight.recording import Recorder
from skyrack.clock import Clock

_FLUSH_SECONDS = 1.0
ALL_SERVICES = ("executive", *SERVICES)


async def record(
    recorder: Recorder,
    run_directories: Mapping[str, Path],
    clock: Clock,
    stop: asyncio.Event,
    services: Iterable[str] = ALL_SERVICES,
) -> None:
    """Write all that is published on the buses of these satellites (name to run directory) until ``stop`` is set."""
    buses = []
    for satellite, directory in run_directories.items():
        bus = Bus(f"recorder-{os.getpid()}", Endpoints.ipc(directory), clock, int(clock.now() * 1e6))
        bus.subscribe_raw(tuple(services), recorder.tap(satellite))
        buses.append(bus)
    try:
        for bus in buses:
            await bus.open()
        while not stop.is_set():
            try:
                async with asyncio.timeout(_FLUSH_SECONDS):
                    await stop.wait()
            except TimeoutError:
                recorder.flush()
    finally:
        for bus in buses:
            await bus.close()
        recorder.close()
