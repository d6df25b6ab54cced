"""A measured number: calibration, plausible span, and what is said when a reading is absurd, stuck, late or gone.

A driver gives :class:`Gauge` a ``sample``: a plain function that measures once, in the unit of the device. It raises
OSError when it cannot, ValueError when what it got is no number, and DeviceError with a sentence of its own when the
device is gone. NaN says that there is no value yet: it takes two looks at a counter to know watts.

A fast sample, a file of sysfs that is kept open, is called where the reading is asked for (until it was late once); a
slow one names its ``bus`` and is done by that bus's thread.

Common settings of every gauge:

=======================  =============================================================================================
``gain``, ``offset``     calibration in the device's unit: ``value = gain * sample + offset``
``scale``                how many satellite units one real unit stands for; it comes last
``low``, ``high``        plausible span in the device's unit, after calibration; what is outside is absurd
``stuck_after_seconds``  a sample that has not moved at all for so long is stuck; 0 (the default) never looks
``timeout_seconds``      a reading that takes longer is late
=======================  =============================================================================================

What cannot be trusted is the last good value again, as old as it is: ``STALE`` when it is absurd, stuck, late or a
passing error, ``ABSENT`` when the device is not there or may not be read. It is tried anew with every read, so a device
that comes back is read again. Before there was any good value, the value is NaN.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Callable, Mapping
from time import monotonic
from typing import cast

from flight.hal import DeviceEnvironment, DeviceError, Quality, Reading
from hil.devices.host import explain, host_of
from hil.devices.options import Options
from hil.devices.trouble import failed

GAUGE_SETTINGS = ("gain", "offset", "scale", "low", "high", "stuck_after_seconds", "timeout_seconds")
TIMEOUT_SECONDS = 1.0
# A file of sysfs may stand for a conversion of 750 ms, as that of a 1-Wire thermometer under hwmon does.
LONGEST_HOLD_SECONDS = 0.05
# The device is there, and has nothing to tell now: a thermal zone of a GPU that is switched off, say.
_NOTHING_NOW = (errno.EAGAIN, errno.ENODATA)

Sample = Callable[[], float]

# Reading's own constructor is written in Python, and takes longer than the rest of a reading.
_make = cast("Callable[[type[Reading[float]], tuple[float, float, Quality, str]], Reading[float]]", tuple.__new__)
_GOOD = Quality.GOOD


class Gauge:
    """One measured number; satisfies PowerMeter, TemperatureSensor and SolarArray of :mod:`flight.hal`.

    Attributes:
        name: of the device.
        unit: of the reading, such as "W" or "°C".
        how: how it is measured, for people: "" or such as "modelled from processor time".
        low, high: plausible span in the device's unit, before ``scale``.
        scale: satellite units for one real unit.
    """

    def __init__(
        self,
        name: str,
        sample: Sample,
        settings: Mapping[str, object],
        environment: DeviceEnvironment,
        unit: str,
        span: tuple[float, float],
        bus: str = "",
        how: str = "",
    ) -> None:
        """Measures once, so that a device that is not there is known at once.

        Settings that are not among :data:`GAUGE_SETTINGS` are the driver's own and are left to it.

        Raises:
            DeviceError: the device is not there or may not be read, or a setting does not fit.
        """
        options = Options(name, settings, (*settings, *GAUGE_SETTINGS))
        self.name = name
        self.unit = unit
        self.how = how
        self.gain = options.number("gain", 1.0)
        self.offset = options.number("offset", 0.0)
        self.scale = options.number("scale", 1.0)
        self.low = options.number("low", span[0])
        self.high = options.number("high", span[1])
        if self.gain == 0.0 or self.scale == 0.0:
            raise DeviceError(f"{name}: gain = 0 or scale = 0 measures nothing; leave them out, or give a number")
        if self.low >= self.high:
            raise DeviceError(f"{name}: low = {self.low:g} must be below high = {self.high:g}")
        self._stuck_after = options.number("stuck_after_seconds", 0.0, 0.0)
        self._timeout = options.number("timeout_seconds", TIMEOUT_SECONDS, 0.001)
        self._late = f"no answer within {self._timeout:g} s; its bus is held up, or it is broken"
        self._patience = min(self._timeout, LONGEST_HOLD_SECONDS)
        self._sample = sample
        # A method of an object is called faster than the object.
        self._measure: Sample = getattr(sample, "__call__", sample)  # noqa: B004
        self._bus = bus
        self._host = host_of(environment)
        self._now = environment.clock.now
        self._rate = environment.clock.rate
        self._last = Reading(math.nan, self._now())
        self._raw = math.nan
        self._moved_at = self._now()
        try:
            self._judge(sample())
        except OSError as error:
            if error.errno not in _NOTHING_NOW:
                raise DeviceError(f"{name}: {explain(error)}") from error
        except (ValueError, DeviceError) as error:
            raise DeviceError(f"{name}: {error}") from error

    async def read(self) -> Reading[float]:
        """Measure once."""
        if self._bus:
            return await self._read_slowly()
        # All of control waits meanwhile. This is the host's time, which has nothing to do with the mission's.
        began = monotonic()
        try:
            raw = self._measure()
        except (OSError, ValueError, DeviceError) as error:
            return failed(self.name, self._last, error)
        took = monotonic() - began
        if took > self._patience:
            # It held up everything else. From now on a thread of its own waits for it.
            self._bus = self.name
            if took > self._timeout:
                return self._stale(f"{self.name}: {self._late}")
        value = raw * self.gain + self.offset
        if self._stuck_after or not self.low <= value <= self.high:
            return self._judge(raw)
        self._last = good = _make(Reading, (value * self.scale, self._now(), _GOOD, ""))
        return good

    async def close(self) -> None:
        """Let go of what the sample holds open."""
        close = getattr(self._sample, "close", None)
        if close is not None:
            close()

    async def _read_slowly(self) -> Reading[float]:
        try:
            raw = await self._host.on_bus(self._bus, self._sample, self._timeout)
        except (OSError, ValueError, DeviceError) as error:
            return failed(self.name, self._last, error, self._late)
        return self._judge(raw)

    def _judge(self, raw: float) -> Reading[float]:
        now = self._now()
        value = raw * self.gain + self.offset
        if math.isnan(raw):
            return self._stale(f"{self.name}: there is no value yet; it takes a moment")
        if not self.low <= value <= self.high:
            span = f"{self.low:g} to {self.high:g} {self.unit}"
            return self._stale(f"{self.name}: {value:g} {self.unit} is absurd, it must be {span}; look at its wiring")
        if raw != self._raw:
            self._raw, self._moved_at = raw, now
        elif self._stuck_after and now - self._moved_at > self._stuck_after * self._rate:
            seconds = (now - self._moved_at) / self._rate
            return self._stale(f"{self.name}: stuck at {value:g} {self.unit} for {seconds:.0f} s; power it off and on")
        self._last = good = Reading(value * self.scale, now)
        return good

    def _stale(self, problem: str) -> Reading[float]:
        return self._last._replace(quality=Quality.STALE, problem=problem)
