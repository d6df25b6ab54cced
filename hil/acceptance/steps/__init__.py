"""The steps of acceptance, by the names that the procedure gives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from hil.acceptance.model import Finding
from hil.acceptance.procedure import Step
from hil.acceptance.rig import Session
from hil.acceptance.steps import calibration, clock, devices, flight, heating, throttle, watchdog

Run = Callable[[Session, Step], Awaitable[Finding]]

STEPS: Mapping[str, Run] = {
    "devices": devices.run,
    "calibration": calibration.run,
    "self-heating": heating.run,
    "throttle": throttle.run,
    "clock": clock.run,
    "job": flight.job,
    "link": flight.link,
    "recovery": flight.recovery,
    "watchdog": watchdog.run,
}
IN_FLIGHT = frozenset({"job", "link", "recovery"})
"""These need the bench to fly."""
