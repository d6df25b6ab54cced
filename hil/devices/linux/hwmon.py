"""``linux.hwmon_power``, ``linux.hwmon_temperature``, ``linux.hwmon_fan``: whatever the kernel has a hwmon driver for.

A chip is chosen by name, as in ``/sys/class/hwmon/hwmon*/name``; its number there changes from boot to boot and is
never used. Two chips of one name are told apart by ``device``, such as "1-0040" for I2C bus 1, address 0x40.

A channel is chosen by ``label`` or by ``index``; a chip that has only one needs neither. Units are those of the kernel
documentation, hwmon/sysfs-interface.rst: millivolts, milliamperes, microwatts, thousandths of a degree Celsius.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping
from pathlib import Path

from flight.hal import DeviceEnvironment, DeviceError, Quality, Reading
from hil.devices.gauge import GAUGE_SETTINGS, Gauge, Sample
from hil.devices.host import host_of
from hil.devices.linux.hwmon_chips import CHIP_SETTINGS, Wanted
from hil.devices.options import Options
from hil.devices.sysfs import NumberFile, read_text, text_or, write_text
from hil.devices.throttle import Keepsake, put_back_files, sentences
from hil.devices.trouble import failed

WATTS_SPAN = (-10.0, 5000.0)
CELSIUS_SPAN = (-55.0, 150.0)
FULL_DUTY = 255
# pwmN_enable: software sets the duty.
MANUAL = "1"
_STANDSTILL_DUTY_RATIO = 0.2


class Product:
    """Volts times amperes."""

    __slots__ = ("_amperes", "_volts")

    def __init__(self, volts: NumberFile, amperes: NumberFile) -> None:
        self._volts = volts
        self._amperes = amperes

    def __call__(self) -> float:
        return self._volts() * self._amperes()

    def close(self) -> None:
        """Let go of both files."""
        self._volts.close()
        self._amperes.close()


def watts_of(wanted: Wanted) -> Sample:
    """How to measure watts: the chip's own, or volts times amperes of one channel.

    Where only one of the two has labels, as on the INA3221 (in1_label, but curr1 has none), both have its index.

    Raises:
        DeviceError, OSError: the chip is not there, or measures no watts.
    """
    chip = wanted.find()
    if wanted.channel(chip, "power") is not None:
        return NumberFile(wanted.file("power", ("_input", "_average")), 1e-6)
    volts, amperes = chip.channels("in"), chip.channels("curr")
    if not volts or not amperes:
        raise DeviceError(f"the chip {chip.name} measures no power: it has no powerN, or no inN with currN")
    if wanted.label:
        index = wanted.channel(chip, "curr" if wanted.label in amperes.values() else "in")
    elif wanted.index >= 0 or len(amperes) == 1:
        index = wanted.index if wanted.index >= 0 else next(iter(amperes))
    else:
        index = wanted.channel(chip, "curr")
    if index not in volts or index not in amperes:
        raise DeviceError(f"the chip {chip.name} has no voltage and current of one index {index}")

    def beside(kind: str) -> Callable[[], Path]:
        return lambda: wanted.find().directory / f"{kind}{index}_input"

    return Product(NumberFile(beside("in"), 1e-3), NumberFile(beside("curr"), 1e-3))


def power(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``linux.hwmon_power``: watts of a chip. Settings: chip, device, label or index, and a gauge's."""
    options = Options(name, settings, (*CHIP_SETTINGS, *GAUGE_SETTINGS))
    wanted = Wanted.of(options, host_of(environment))
    with sentences(name):
        sample = watts_of(wanted)
    how = f"hwmon {wanted.chip}" + (", volts times amperes" if isinstance(sample, Product) else "")
    return Gauge(name, sample, settings, environment, "W", WATTS_SPAN, how=how)


def temperature(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``linux.hwmon_temperature``: degrees Celsius. Settings: chip, device, label or index, a gauge's."""
    options = Options(name, settings, (*CHIP_SETTINGS, *GAUGE_SETTINGS))
    wanted = Wanted.of(options, host_of(environment))
    sample = NumberFile(wanted.file("temp"), 1e-3)
    return Gauge(name, sample, settings, environment, "°C", CELSIUS_SPAN, how=f"hwmon {wanted.chip}")


class Fan:
    """A fan, standing for a coolant pump: satisfies Pump of :mod:`flight.hal`; ``read`` gives its speed.

    Taken over from whatever governed it (``pwmN_enable`` = 1) when a duty is first set, and given back on close. On a
    Raspberry Pi 5 and a Jetson something else turns the same fan: the kernel's thermal governor (leave it out with
    ``dtparam=cooling_fan=off``), or ``nvfancontrol`` (stop the service). A chip without pwmN only tells the speed.
    """

    def __init__(self, name: str, wanted: Wanted, environment: DeviceEnvironment) -> None:
        self.name = name
        self.how = f"hwmon {wanted.chip}"
        self._now = environment.clock.now
        self._locate_pwm = wanted.file("pwm", ("",))
        self._duty = NumberFile(self._locate_pwm, 1.0 / FULL_DUTY)
        self._speed: NumberFile | None = NumberFile(wanted.file("fan"))
        with sentences(name):
            chip = wanted.find()
            if wanted.channel(chip, "fan") is None:
                self._speed = None
            self._governable = wanted.channel(chip, "pwm") is not None
            if self._speed is None and not self._governable:
                raise DeviceError(f"the chip {wanted.chip} has no fan: neither fanN nor pwmN")
            now = self._now()
            self._last_duty = Reading(self._measure() if self._governable else math.nan, now)
            self._last_rpm = Reading(self._speed() if self._speed is not None else math.nan, now)
            paths = [self._locate_pwm(), self._enable()] if self._governable else []
            found = {str(path): read_text(path) for path in paths if path.exists()}
        self._keepsake = Keepsake(name, environment, found)

    async def read(self) -> Reading[float]:
        """Speed, revolutions per minute, by its tachometer."""
        if self._speed is None:
            return self._last_rpm._replace(quality=Quality.ABSENT, problem=f"{self.name}: the fan has no tachometer")
        try:
            self._last_rpm = Reading(self._speed(), self._now())
        except (OSError, ValueError, DeviceError) as error:
            return failed(self.name, self._last_rpm, error)
        return self._last_rpm

    async def read_duty(self) -> Reading[float]:
        """Duty that it runs at: what is set, and 0 when its tachometer says that it stands still all the same."""
        try:
            self._last_duty = Reading(self._measure(), self._now())
        except (OSError, ValueError, DeviceError) as error:
            return failed(self.name, self._last_duty, error)
        return self._last_duty

    async def set_duty(self, duty_ratio: float) -> None:
        """Run at a duty from now on. Raises DeviceError with the remedy when it cannot be set."""
        if not 0.0 <= duty_ratio <= 1.0:
            raise DeviceError(f"{self.name}: {duty_ratio!r} is no duty; it must be 0 to 1")
        with sentences(self.name):
            self._keepsake.keep()
            # Whatever governs it may have taken it back.
            enable = self._enable()
            if enable.exists() and text_or(enable, "") != MANUAL:
                write_text(enable, MANUAL)
            write_text(self._locate_pwm(), str(round(duty_ratio * FULL_DUTY)))

    async def close(self) -> None:
        """Give the fan back as it was found."""
        self._duty.close()
        if self._speed is not None:
            self._speed.close()
        # First the duty: a governor that gets the fan back overrules it.
        enables = [path for path in self._keepsake.found if path.endswith("_enable")]
        with contextlib.suppress(OSError):
            put_back_files(self._keepsake, enables)

    def _measure(self) -> float:
        duty = self._duty()
        if duty >= _STANDSTILL_DUTY_RATIO and self._speed is not None and self._speed() == 0.0:
            return 0.0
        return duty

    def _enable(self) -> Path:
        pwm = self._locate_pwm()
        return pwm.with_name(f"{pwm.name}_enable")


def fan(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Fan:
    """Entry point ``linux.hwmon_fan``. Settings: chip, device, index."""
    options = Options(name, settings, ("chip", "device", "index"))
    return Fan(name, Wanted.of(options, host_of(environment)), environment)
