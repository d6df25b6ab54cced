"""``pwm.pump`` and ``pwm.heater``: a duty from sysfs PWM.

Settings of both: ``chip`` ("pwmchip0"), ``channel`` (0), ``frequency_hertz``, ``inverted``.

A pump (or fan) of four wires wants 25 kHz (Intel, "4-Wire Pulse Width Modulation Controlled Fans"). ``minimum_ratio``
is the least duty at which it turns: what is asked between 0 and that becomes that. What it really does is told by
``tachometer``, the name of a device that reads revolutions per minute (linux.hwmon_fan), or by a tachometer wire on a
GPIO line (``tachometer_chip``, ``tachometer_line``, ``pulses_per_revolution``), against ``full_speed_rpm``. Without
one, the duty is read back from the chip, and a pump that is stuck is not seen.

A heater is on at ``duty_ratio`` (1) of ``watts``, its rating; 10 Hz suit a MOSFET and spare it.

When the driver lets go, the pump goes on as it is, since the loop must not boil while a service restarts, and the
heater is switched off. A board that resets stops both: fit a pull-up to a pump that must run then.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from typing import Final, cast

from flight.hal import DeviceEnvironment, DeviceError, Reading, TemperatureSensor
from hil.devices.gpio import heater_watts
from hil.devices.gpio_line import line_of
from hil.devices.host import explain, host_of
from hil.devices.options import Options
from hil.devices.pwm_channel import CHANNEL_SETTINGS, PwmChannel, channel_of
from hil.devices.tachometer import EdgeTachometer
from hil.devices.trouble import failed

Settings = Mapping[str, object]

_PUMP_HERTZ: Final = 25e3
_HEATER_HERTZ: Final = 10.0


class Duty:
    """A channel and the last that is known of it."""

    def __init__(self, name: str, channel: PwmChannel, environment: DeviceEnvironment) -> None:
        self.name = name
        self._channel = channel
        self._clock = environment.clock
        self._last = Reading(0.0, self._clock.now())

    def read(self, measure: Callable[[], float] | None = None) -> Reading[float]:
        """The duty, or what ``measure`` gives instead."""
        try:
            value = (measure or self._channel.read_ratio)()
        except OSError as error:
            return failed(self.name, self._last, error)
        self._last = Reading(value, self._clock.now())
        return self._last

    def set(self, ratio: float) -> None:
        """Raises DeviceError when the channel is gone, or ``ratio`` is no duty."""
        if not 0.0 <= ratio <= 1.0:
            raise DeviceError(f"{self.name}: a duty of {ratio:g} cannot be; it must be 0 to 1")
        try:
            self._channel.set_ratio(ratio)
        except OSError as error:
            raise DeviceError(f"{self.name}: {explain(error)}") from error


class PwmPump:
    """Satisfies Pump."""

    def __init__(
        self, duty: Duty, minimum_ratio: float, speed: EdgeTachometer | TemperatureSensor | None, full_rpm: float
    ) -> None:
        self._duty = duty
        self._minimum_ratio = minimum_ratio
        self._speed = speed
        self._full_rpm = full_rpm

    async def read_duty(self) -> Reading[float]:
        """What the tachometer shows; without one, the duty that the chip has."""
        speed = self._speed
        if speed is None:
            return self._duty.read()
        if isinstance(speed, EdgeTachometer):
            return self._duty.read(lambda: self._ratio(speed.rpm()))
        reading = await speed.read()
        return reading._replace(value=self._ratio(reading.value))

    async def set_duty(self, duty_ratio: float) -> None:
        """Ask for a duty. Raises DeviceError when the channel is gone."""
        self._duty.set(max(duty_ratio, self._minimum_ratio) if duty_ratio > 0.0 else duty_ratio)

    async def close(self) -> None:
        """Let go; it runs on."""
        if isinstance(self._speed, EdgeTachometer):
            self._speed.close()

    def _ratio(self, rpm: float) -> float:
        return min(1.0, max(0.0, rpm / self._full_rpm))


class PwmHeater:
    """Satisfies Heater."""

    def __init__(self, duty: Duty, on_ratio: float, watts: float) -> None:
        self.watts = watts * on_ratio
        self._duty = duty
        self._on_ratio = on_ratio

    async def is_on(self) -> Reading[bool]:
        """Whether the heater is powered."""
        reading = self._duty.read()
        return Reading(reading.value > 0.0, reading.mission_time_seconds, reading.quality, reading.problem)

    async def set_on(self, on: bool) -> None:
        """Power the heater, or cut it. Raises DeviceError when the channel is gone."""
        self._duty.set(self._on_ratio if on else 0.0)

    async def close(self) -> None:
        """Switch off: a heater that nobody watches is a fire."""
        with contextlib.suppress(DeviceError):  # it is gone, and so is what it drove
            self._duty.set(0.0)


def pump(name: str, settings: Settings, environment: DeviceEnvironment) -> PwmPump:
    """Entry point ``pwm.pump``."""
    own = ("minimum_ratio", "tachometer", "tachometer_chip", "tachometer_line", "pulses_per_revolution")
    options = Options(name, settings, (*CHANNEL_SETTINGS, *own, "full_speed_rpm"))
    minimum = options.number("minimum_ratio", 0.0, 0.0, 1.0)
    speed = _speed(options, settings, environment)
    full_rpm = options.number("full_speed_rpm", 3000.0, 1.0, 1e6)
    if speed is not None and "full_speed_rpm" not in settings:
        raise DeviceError(f"{name}: full_speed_rpm is missing: say what the tachometer shows at a duty of 1")
    channel = channel_of(options, host_of(environment), _PUMP_HERTZ)
    return PwmPump(Duty(name, channel, environment), minimum, speed, full_rpm)


def heater(name: str, settings: Settings, environment: DeviceEnvironment) -> PwmHeater:
    """Entry point ``pwm.heater``."""
    options = Options(name, settings, (*CHANNEL_SETTINGS, "duty_ratio", "watts"))
    ratio = options.number("duty_ratio", 1.0, 0.01, 1.0)
    watts = heater_watts(name, options, settings, environment)
    channel = channel_of(options, host_of(environment), _HEATER_HERTZ)
    return PwmHeater(Duty(name, channel, environment), ratio, watts)


def _speed(
    options: Options, settings: Settings, environment: DeviceEnvironment
) -> EdgeTachometer | TemperatureSensor | None:
    name, device = options.name, options.text("tachometer", "")
    if device:
        if environment.device is None:
            raise DeviceError(f'{name}: tachometer = "{device}" cannot be found: this run gives a device no others')
        found = environment.device(device)
        if not hasattr(found, "read"):
            raise DeviceError(f'{name}: tachometer = "{device}" reads nothing; name one such as linux.hwmon_fan')
        return cast("TemperatureSensor", found)
    if "tachometer_line" not in settings:
        return None
    chip = {"chip": options.text("tachometer_chip", "gpiochip0"), "line": settings["tachometer_line"]}
    line = line_of(Options(name, chip, chip), chip, host_of(environment))
    try:
        line.claim_input(falling_edges=True)
    except OSError as error:
        raise DeviceError(f"{name}: {explain(error)}") from error
    return EdgeTachometer(line, options.whole("pulses_per_revolution", 2, 1, 100), environment.clock)
