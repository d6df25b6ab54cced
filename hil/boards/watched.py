"""One device of a board under examination: made, read again and again, exercised; and what is to be said of it.

What a device is shows in what it can do: the protocols of :mod:`flight.hal`, whoever wrote the driver.
"""

from __future__ import annotations

import asyncio
import math
import statistics
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from flight.hal import BatteryState, BoardState, DeviceError, LaserReading, NodeState, OrbitFix, Quality, Reading

REMEMBERED = 200
SETTLE_SECONDS = 0.3
FAN_SECONDS = 1.5
SERVO_SECONDS = 1.0
_DUTY_TOLERANCE = 0.25
_RATIO_TOLERANCE = 0.05
# Angles of the satellite: a bench's servo turns by degrees for them.
_TURN_RADIANS = 100e-6
_TURN_TOLERANCE_RADIANS = 50e-6
# What the device itself cannot say: units by the kind in its name.
_UNITS = {"thermal": "°C", "meter": "W", "array": "W", "load": "W", "node": "W", "throttle": "of 1", "pump": "of 1"}


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a device.

    Attributes:
        device, driver: as in the bench file.
        how: how it is measured, where the driver says so.
        value, text, unit: the last reading, as a number where it is one, and as text.
        noise: standard deviation of the readings so far.
        period_seconds: how long a value stays the same, on average; None as long as it has not changed.
        read_seconds: median time of a reading.
        quality: "good", "stale" or "absent".
        problem: why it is not good, with the remedy.
        away: how often it went away.
        exercise: "" when it was not exercised, else what was done and seen.
        failed: whether the exercise failed.
    """

    device: str
    driver: str
    how: str = ""
    value: float | None = None
    text: str = ""
    unit: str = ""
    noise: float | None = None
    period_seconds: float | None = None
    read_seconds: float | None = None
    quality: str = Quality.ABSENT.value
    problem: str = ""
    away: int = 0
    exercise: str = ""
    failed: bool = False

    @property
    def good(self) -> bool:
        """Whether the device can be flown with."""
        return self.quality == Quality.GOOD.value and not self.failed

    @property
    def verdict(self) -> str:
        """In a word."""
        if self.good:
            return f"ok, was away {self.away}x" if self.away else "ok"
        return "does not obey" if self.failed and self.quality == Quality.GOOD.value else self.quality


Make = Callable[[str], Any]
"""Makes a device by name. Raises DeviceError."""


class Watched:
    """A device, and what was seen of it. A device that cannot be made is tried again with every look."""

    def __init__(self, name: str, driver: str, make: Make) -> None:
        self._name = name
        self._driver = driver
        self._make = make
        self._device: Any = None
        self._values: deque[float] = deque(maxlen=REMEMBERED)
        self._costs: deque[float] = deque(maxlen=REMEMBERED)
        self._changes: deque[float] = deque(maxlen=REMEMBERED)
        self._row = Row(device=name, driver=driver)

    @property
    def row(self) -> Row:
        """What is known now."""
        return self._row

    async def look(self) -> Row:
        """Read once; raises nothing."""
        was_good = self._row.quality == Quality.GOOD.value
        seen = await self._read()
        away = self._row.away + (was_good and seen.quality is not Quality.GOOD)
        value, text, unit = _shown(seen.value)
        if seen.good and value is not None:
            now = time.monotonic()
            if not self._values or value != self._values[-1]:
                self._changes.append(now)
            self._values.append(value)
        good = [one for one in self._values if math.isfinite(one)]
        self._row = msgspec.structs.replace(
            self._row,
            how=getattr(self._device, "how", "") or self._row.how,
            value=value if value is not None and math.isfinite(value) else None,
            text=text,
            unit=getattr(self._device, "unit", "") or unit or _UNITS.get(self._name.partition(".")[0], ""),
            noise=statistics.stdev(good) if len(good) > 1 else None,
            period_seconds=_mean_step(self._changes),
            read_seconds=statistics.median(self._costs) if self._costs else None,
            quality=seen.quality.value,
            problem=self._said_once(seen.problem) if not seen.good else "",
            away=away,
        )
        return self._row

    async def exercise(self, *, dangerous: bool) -> Row:
        """Have it do what it is for, and read that back; what switches or moves something only when allowed.

        Everything is put back as it was. What was tried already is not tried again.
        """
        if self._device is None or self._row.exercise or self._row.quality != Quality.GOOD.value:
            return self._row
        for does, is_dangerous, run in _EXERCISES:
            if not hasattr(self._device, does):
                continue
            if is_dangerous and not dangerous:
                told, failed = "not moved: --exercise does", False
            else:
                told, failed = await _tried(run, self._device)
            self._row = msgspec.structs.replace(self._row, exercise=told, failed=failed)
            break
        return self._row

    def _said_once(self, problem: str) -> str:
        """Drivers begin with the device's name, and so does whoever makes them."""
        name = f"{self._name}: "
        return name + problem.replace(name, "") if problem.startswith(name) else problem

    async def _read(self) -> Reading[Any]:
        if self._device is None:
            try:
                self._device = self._make(self._name)
            except DeviceError as error:
                return Reading(None, math.nan, Quality.ABSENT, str(error))
        began = time.perf_counter()
        try:
            for does in ("read", "read_ratio", "read_duty", "is_closed", "is_on"):
                if hasattr(self._device, does):
                    reading: Reading[Any] = await getattr(self._device, does)()
                    break
            else:
                return Reading(None, math.nan, Quality.GOOD)
            if hasattr(self._device, "read_watts"):
                reading = _with_watts(reading, await self._device.read_watts())
        # A driver is other people's code, and may break its promise.
        except (DeviceError, LookupError, ValueError, TypeError, OSError, ArithmeticError) as error:
            return Reading(None, math.nan, Quality.ABSENT, f"{self._name}: {error}")
        self._costs.append(time.perf_counter() - began)
        return reading


@dataclass(frozen=True, slots=True)
class _SwitchState:
    closed: bool
    watts: float


def _with_watts(closed: Reading[bool], watts: Reading[float]) -> Reading[Any]:
    worst = watts if closed.good else closed
    return Reading(_SwitchState(closed.value, watts.value), worst.mission_time_seconds, worst.quality, worst.problem)


def _shown(value: object) -> tuple[float | None, str, str]:  # noqa: PLR0911 - a table
    """A reading as a number, a text, and the number's unit where the kind of reading says it."""
    match value:
        case bool():
            return float(value), "on" if value else "off", "on"
        case int() | float():
            return float(value), f"{value:.4g}", ""
        case _SwitchState():
            return value.watts, f"{'closed' if value.closed else 'open'}, {value.watts:.3g} W", "W"
        case BatteryState():
            text = f"{value.voltage_volts:.2f} V, {value.current_amperes:.2f} A, {value.temperature_celsius:.1f} °C"
            return value.voltage_volts, text, "V"
        case NodeState():
            return value.draw_watts, f"{value.draw_watts:.4g} W{'' if value.powered else ', off'}", "W"
        case LaserReading():
            degrees = f"{math.degrees(value.azimuth_radians):.1f}°, {math.degrees(value.elevation_radians):.1f}°"
            return value.received_power_watts, f"{degrees}, {value.received_power_watts:.3g} W", "W"
        case OrbitFix():
            return None, "a fix", ""
        case BoardState():
            flags = [name.replace("_", " ") for name in BoardState.__dataclass_fields__ if getattr(value, name)]
            return float(len(flags)), ", ".join(flags) or "nothing to report", ""
        case _:
            return None, "" if value is None else str(value), ""


def _mean_step(changes: Sequence[float]) -> float | None:
    return (changes[-1] - changes[0]) / (len(changes) - 1) if len(changes) > 1 else None


async def _tried(run: Callable[[Any], Awaitable[str]], device: Any) -> tuple[str, bool]:
    try:
        return await run(device), False
    except _DoesNotObeyError as error:
        return str(error), True
    except (DeviceError, LookupError, ValueError, TypeError, OSError) as error:
        return str(error), True


class _DoesNotObeyError(Exception):
    """What was read back is not what was set."""


async def _step_throttle(device: Any) -> str:
    before = (await device.read_ratio()).value
    wanted = 0.0 if before > 0.5 else 1.0
    try:
        await device.set_ratio(wanted)
        await asyncio.sleep(SETTLE_SECONDS)
        seen = (await device.read_ratio()).value
    finally:
        await device.set_ratio(before)
    after = (await device.read_ratio()).value
    if abs(seen - before) < _RATIO_TOLERANCE:
        raise _DoesNotObeyError(f"set to {wanted:g}, it stays at {seen:.2f}; something else holds it there")
    if abs(after - before) > _RATIO_TOLERANCE:
        raise _DoesNotObeyError(f"put back to {before:.2f}, it says {after:.2f}")
    return f"stepped to {seen:.2f} and back"


async def _spin_pump(device: Any) -> str:
    before = (await device.read_duty()).value
    wanted = 0.5 if before > 0.75 else 1.0
    try:
        await device.set_duty(wanted)
        await asyncio.sleep(FAN_SECONDS)
        seen = (await device.read_duty()).value
    finally:
        await device.set_duty(before)
    if abs(seen - wanted) > _DUTY_TOLERANCE:
        raise _DoesNotObeyError(f"set to {wanted:g}, it runs at {seen:.2f}; look at its supply and its wires")
    return f"ran at {seen:.2f}, and back"


async def _toggle_switch(device: Any) -> str:
    return await _toggle(device.is_closed, device.set_closed, "closed", "opened")


async def _toggle_heater(device: Any) -> str:
    return await _toggle(device.is_on, device.set_on, "switched on", "switched off")


async def _toggle(
    read: Callable[[], Awaitable[Reading[bool]]], write: Callable[[bool], Awaitable[None]], on: str, off: str
) -> str:
    before = (await read()).value
    try:
        await write(not before)
        await asyncio.sleep(SETTLE_SECONDS)
        seen = (await read()).value
    finally:
        await write(before)
    await asyncio.sleep(SETTLE_SECONDS)
    if seen == before:
        raise _DoesNotObeyError(f"{off if before else on}, and it reads back as before; look at its driver stage")
    if (await read()).value != before:
        raise _DoesNotObeyError(f"{off if before else on}, and it does not come back")
    return f"{off if before else on} and back"


async def _move_laser(device: Any) -> str:
    before = (await device.read()).value
    # Where it looks now is what it turns away from.
    await device.point(before.azimuth_radians, before.elevation_radians)
    try:
        await device.point(before.azimuth_radians + _TURN_RADIANS, before.elevation_radians)
        await asyncio.sleep(SERVO_SECONDS)
        seen = (await device.read()).value
    finally:
        await device.point(before.azimuth_radians, before.elevation_radians)
    turned = seen.azimuth_radians - before.azimuth_radians
    if abs(turned - _TURN_RADIANS) > _TURN_TOLERANCE_RADIANS:
        told = f"told to turn {1e6 * _TURN_RADIANS:.0f} µrad, it turned {1e6 * turned:.0f} µrad"
        raise _DoesNotObeyError(f"{told}; look at the servos' supply and wires")
    return f"turned {1e6 * turned:.0f} µrad and back"


# What a device can do, whether it switches or moves something, and how it is tried. The first that fits counts.
_EXERCISES: tuple[tuple[str, bool, Callable[[Any], Awaitable[str]]], ...] = (
    ("set_ratio", False, _step_throttle),
    ("set_duty", False, _spin_pump),
    ("set_closed", True, _toggle_switch),
    ("set_on", True, _toggle_heater),
    ("point", True, _move_laser),
)
