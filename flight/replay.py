"""Replays a recording into one service, in virtual time: it hears again what it heard, and says what it says.

Devices are absent in a replay: each reads as zero, of quality ABSENT. Requests that the service makes are not answered.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import random
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import zmq

from flight import hal
from flight.bus import Endpoints
from flight.context import ServiceContext
from flight.devices import kind_of
from flight.hal import DeviceEnvironment, Quality, Reading
from flight.meter import NullMeter
from flight.recording import Record, read_recording
from flight.service import Service, registry
from skyrack import virtual
from skyrack.clock import Clock, MissionClock
from skyrack.errors import UserError
from skyrack.files import suggest
from skyrack.satellite import ConstellationFile, SatelliteFile

_PROTOCOLS: Mapping[str, type] = {
    "battery": hal.Battery,
    "array": hal.SolarArray,
    "load": hal.LoadSwitch,
    "thermal": hal.TemperatureSensor,
    "pump": hal.Pump,
    "heater": hal.Heater,
    "gnss": hal.GnssReceiver,
    "laser": hal.LaserTerminal,
    "node": hal.RackNode,
}


def replay_into(
    service_name: str,
    path: Path | str,
    satellite: str,
    satellite_file: SatelliteFile,
    constellation: ConstellationFile,
    published: Callable[[bytes, bytes, bytes], None],
) -> int:
    """Run the service over the whole recording; ``published`` hears what it publishes. Returns messages replayed.

    Raises:
        UserError: the recording cannot be read or is empty, or there is no such service.
    """
    service_class = _load(service_name)
    records = [
        (header, record)
        for record in read_recording(path)
        if record.satellite in ("", satellite) and (header := record.read_header()).source != service_name
    ]
    if not records:
        raise UserError(f"{path}: the recording has no message that {service_name} of {satellite} could hear")
    times = [header.mission_time_seconds for header, _ in records]

    async def main() -> int:
        clock = MissionClock.starting_at(min(times))
        with zmq.Context(0) as zmq_context:
            context = ServiceContext(
                satellite=satellite,
                satellite_file=satellite_file,
                constellation=constellation,
                clock=clock,
                endpoints=Endpoints.inproc("replay"),
                devices=_AbsentDevices(clock, satellite),  # type: ignore[arg-type]
                rng=random.Random(0),
                zmq_context=zmq_context,
                meter=NullMeter(),
            )
            service = service_class(context)
            service.bus.taps.append(published)
            await service.start()
            try:
                await _feed(service, clock, [record for _, record in records], times)
                await clock.sleep(1.0)
            finally:
                await service.stop()
        return len(records)

    return virtual.run(main)


async def _feed(service: Service, clock: MissionClock, records: list[Record], times: list[float]) -> None:
    for record, time in zip(records, times, strict=True):
        await clock.sleep_until(time)
        service.bus.inject(record.topic, record.header, record.payload)


def _load(name: str) -> type[Service]:
    from flight.topology import ALL_SERVICES

    if name not in ALL_SERVICES:
        raise UserError(f"there is no service {name}; {suggest(name, ALL_SERVICES)}")
    if name == "executive":
        raise UserError("executive starts the other services and cannot be replayed alone; name one of those")
    importlib.import_module(f"flight.{name}.service")
    return registry[name]


class _AbsentDevices:
    """Stands where the registry of devices stands."""

    def __init__(self, clock: Clock, satellite: str) -> None:
        self.environment = DeviceEnvironment(satellite, clock, random.Random(0), None)
        self._made: dict[str, _AbsentDevice] = {}

    def get(self, name: str, protocol: type | None = None) -> Any:
        if name not in self._made:
            kind = protocol or _PROTOCOLS.get(kind_of(name), object)
            self._made[name] = _AbsentDevice(kind, self.environment.clock)
        return self._made[name]

    async def close(self) -> None:
        pass


class _AbsentDevice:
    """Reads zero, does nothing."""

    def __init__(self, protocol: type, clock: Clock) -> None:
        self._clock = clock
        self._zeros = {
            name: _zero_of(typing.get_type_hints(function).get("return"))
            for name, function in inspect.getmembers(protocol, inspect.isfunction)
        }

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        if name not in self._zeros:
            return 0.0

        async def absent(*_arguments: object, **_keywords: object) -> Any:
            zero = self._zeros[name]
            if isinstance(zero, Reading):
                return zero._replace(mission_time_seconds=self._clock.now())
            return zero

        return absent


def _zero_of(kind: Any) -> Any:
    """Zero of a type that the protocols of devices use."""
    origin = typing.get_origin(kind)
    if origin is Reading:
        return Reading(_zero_of(typing.get_args(kind)[0]), 0.0, Quality.ABSENT)
    if origin is tuple:
        members = typing.get_args(kind)
        return () if Ellipsis in members else tuple(_zero_of(member) for member in members)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{field.name: _zero_of(hints[field.name]) for field in dataclasses.fields(kind)})  # type: ignore[operator]
    return kind() if kind in (bool, int, float, str) else None
