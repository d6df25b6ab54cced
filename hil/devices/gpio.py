"""``gpio.load_switch`` and ``gpio.heater``: a relay or MOSFET on a GPIO line.

Settings of both: ``chip`` ("gpiochip0"), ``line`` (offset, or a name such as "GPIO17"), ``active_low`` (a relay that
closes on 0 V), ``watts`` (rating of what is switched).

A load switch also has ``meter``, the name of the device that measures behind it (without one, a closed switch is taken
to draw ``watts``), ``scale`` (satellite watts for one real watt of the rating; a meter has its own), ``feedback_line``
(an input that is active while the load really has power) and ``on_close``.

When the driver lets go: a load switch stays as it is (``on_close = "keep"``), so that a service that is restarted cuts
nobody off, or opens (``on_close = "open"``); a heater is switched off. A process that is killed, and a line that is
released, leave the level to the GPIO chip: fit a resistor that pulls the gate to where it is to be with nobody there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final, cast

from flight.hal import DeviceEnvironment, DeviceError, PowerMeter, Reading
from hil.devices.gpio_line import LINE_SETTINGS, GpioLine, line_of
from hil.devices.host import explain, host_of
from hil.devices.options import Options
from hil.devices.trouble import failed

Settings = Mapping[str, object]

_KEEP: Final = "keep"
_OPEN: Final = "open"


class SwitchedLine:
    """An output and what is known of its level."""

    def __init__(self, name: str, output: GpioLine, feedback: GpioLine | None, environment: DeviceEnvironment) -> None:
        self.name = name
        self._output = output
        self._feedback = feedback
        self._clock = environment.clock
        self._last = Reading(value=False, mission_time_seconds=self._clock.now())

    def claim(self, *, active_when_new: bool) -> None:
        """Take the lines. Raises DeviceError."""
        try:
            self._output.claim_output(active_when_new=active_when_new)
            if self._feedback is not None:
                self._feedback.claim_input()
        except OSError as error:
            raise DeviceError(f"{self.name}: {explain(error)}") from error

    def read(self) -> Reading[bool]:
        """The level, read back from the line, or from the feedback."""
        try:
            active = (self._feedback or self._output).is_active()
        except OSError as error:
            return failed(self.name, self._last, error)
        self._last = Reading(active, self._clock.now())
        return self._last

    def set(self, active: bool) -> None:
        """Drive it. Raises DeviceError when the line is gone."""
        try:
            self._output.set_active(active)
        except OSError as error:
            raise DeviceError(f"{self.name}: {explain(error)}") from error

    def release(self) -> None:
        """Let go."""
        self._output.release()
        if self._feedback is not None:
            self._feedback.release()


class GpioLoadSwitch:
    """A load's switch; satisfies LoadSwitch."""

    def __init__(
        self, line: SwitchedLine, meter: PowerMeter | None, watts: float, on_close: str, environment: DeviceEnvironment
    ) -> None:
        self._line = line
        self._meter = meter
        self._watts = watts
        self._on_close = on_close
        self._clock = environment.clock

    async def read_watts(self) -> Reading[float]:
        """What the meter measures; without one, the rating while the switch is closed."""
        if self._meter is not None:
            return await self._meter.read()
        closed = self._line.read()
        return Reading(
            self._watts if closed.value else 0.0, closed.mission_time_seconds, closed.quality, closed.problem
        )

    async def is_closed(self) -> Reading[bool]:
        """Whether the load is powered."""
        return self._line.read()

    async def set_closed(self, closed: bool) -> None:
        """Power the load, or cut it. Raises DeviceError when the line is gone."""
        self._line.set(closed)

    async def close(self) -> None:
        """Let go; see the module's docstring for what the load does then."""
        if self._on_close == _OPEN:
            with contextlib.suppress(DeviceError):  # it is gone, and so is what it drove
                self._line.set(active=False)
        self._line.release()


class GpioHeater:
    """A heater's switch; satisfies Heater."""

    def __init__(self, line: SwitchedLine, watts: float) -> None:
        self.watts = watts
        self._line = line

    async def is_on(self) -> Reading[bool]:
        """Whether the heater is powered."""
        return self._line.read()

    async def set_on(self, on: bool) -> None:
        """Power the heater, or cut it. Raises DeviceError when the line is gone."""
        self._line.set(on)

    async def close(self) -> None:
        """Switch off: a heater that nobody watches is a fire."""
        with contextlib.suppress(DeviceError):  # it is gone, and so is what it drove
            self._line.set(active=False)
        self._line.release()


def load_switch(name: str, settings: Settings, environment: DeviceEnvironment) -> GpioLoadSwitch:
    """Entry point ``gpio.load_switch``. A line that was no output yet is closed: loads are powered from the start."""
    own = ("watts", "scale", "meter", "feedback_line", "on_close")
    options = Options(name, settings, (*LINE_SETTINGS, *own))
    watts = options.number("watts", 0.0, 0.0) * options.number("scale", 1.0)
    on_close = options.choice("on_close", (_KEEP, _OPEN), _KEEP)
    meter = _meter(name, options.text("meter", ""), environment)
    if meter is None and "watts" not in settings:
        problem = f"{name}: meter or watts is missing: name the device that measures behind the switch, "
        raise DeviceError(f"{problem}or say what the load draws")
    host = host_of(environment)
    feedback = line_of(options, settings, host, "feedback_line") if "feedback_line" in settings else None
    line = SwitchedLine(name, line_of(options, settings, host), feedback, environment)
    line.claim(active_when_new=True)
    return GpioLoadSwitch(line, meter, watts, on_close, environment)


def heater(name: str, settings: Settings, environment: DeviceEnvironment) -> GpioHeater:
    """Entry point ``gpio.heater``. A line that was no output yet is off."""
    options = Options(name, settings, (*LINE_SETTINGS, "watts"))
    watts = heater_watts(name, options, settings, environment)
    line = SwitchedLine(name, line_of(options, settings, host_of(environment)), None, environment)
    line.claim(active_when_new=False)
    return GpioHeater(line, watts)


def heater_watts(name: str, options: Options, settings: Settings, environment: DeviceEnvironment) -> float:
    """Rating of a heater: what the settings say, or else the satellite's design. Raises DeviceError."""
    if "watts" in settings:
        return options.number("watts", 0.0, 0.0)
    own = name.partition(".")[2]
    for design in environment.design.heaters if environment.design is not None else ():
        if design.name == own:
            return design.watts
    raise DeviceError(f'{name}: watts is missing, and the satellite has no heater "{own}" to take it from')


def _meter(name: str, meter: str, environment: DeviceEnvironment) -> PowerMeter | None:
    if not meter:
        return None
    if environment.device is None:
        raise DeviceError(f'{name}: meter = "{meter}" cannot be found: this run gives a device no others')
    found = environment.device(meter)
    if not hasattr(found, "read"):
        raise DeviceError(f'{name}: meter = "{meter}" is no meter; name a device that reads watts, such as i2c.ina226')
    return cast("PowerMeter", found)
