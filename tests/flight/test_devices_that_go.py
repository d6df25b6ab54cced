"""Actuators that are gone cost their own service nothing but themselves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import msgspec

from flight.hal import DeviceError, Reading
from flight.power.protection import Cause, Order
from flight.power.service import PowerManager
from flight.thermal.devices import Heaters
from skyrack import files
from skyrack.satellite import Heater, load_satellite


class Switch:
    watts = 10.0

    def __init__(self) -> None:
        self.on = False

    async def is_on(self) -> Reading[bool]:
        return Reading(self.on, 0.0)

    async def set_on(self, on: bool) -> None:
        self.on = on

    async def set_closed(self, closed: bool) -> None:
        self.on = closed


class Gone(Switch):
    async def set_on(self, on: bool) -> None:
        raise DeviceError("heater.first: line 3 is absent")

    async def set_closed(self, closed: bool) -> None:
        raise DeviceError("load.node-1: line 5 is absent")


def test_a_heater_that_is_gone_keeps_no_other_from_being_switched() -> None:
    made = {"heater.first": Gone(), "heater.second": Switch()}
    satellite = msgspec.structs.replace(
        load_satellite(files.shipped("satellites", "pathfinder")),
        heaters=tuple(Heater(name=name, node="battery", watts=10.0) for name in ("first", "second")),
    )
    heaters = Heaters(SimpleNamespace(get=made.__getitem__), satellite)  # type: ignore[arg-type]
    asyncio.run(heaters.step({"battery": -10.0}, 0.0))
    assert made["heater.second"].on
    assert heaters.watts == {"battery": 10.0}
    assert [str(failure) for failure in heaters.failures] == ["heater.first: line 3 is absent"]


def test_a_load_switch_that_is_gone_is_told_and_does_not_stop_the_others() -> None:
    told: list[str] = []
    switches = {"node-1": Gone(), "node-2": Switch()}
    service = SimpleNamespace(
        _meters=SimpleNamespace(switches=switches),
        _readings=SimpleNamespace(loads={}),
        failed=lambda where, error: told.append(f"{where}: {error}"),
        event=lambda name, *_arguments, **_keywords: told.append(name),
    )

    async def obey() -> None:
        for load in switches:
            await PowerManager._obey(service, Order(load, closed=True, cause=Cause.RECOVERED))  # type: ignore[arg-type]

    asyncio.run(obey())
    assert switches["node-2"].on
    assert told == ["switching node-1: load.node-1: line 5 is absent", "load_restored"]
