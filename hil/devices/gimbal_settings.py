"""Settings of ``gimbal.laser``, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.i2c.ads1115 import FULL_SCALES_VOLTS, RATES
from hil.devices.options import Options

_KNOWN: Final = (
    "bus",
    "servo_address",
    "converter_address",
    "frequency_hertz",
    "pan_channel",
    "tilt_channel",
    "transmitter_channel",
    "pan_centre_microseconds",
    "tilt_centre_microseconds",
    "microseconds_per_degree",
    "pan_reversed",
    "tilt_reversed",
    "shortest_microseconds",
    "longest_microseconds",
    "degrees_per_second",
    "settle_seconds",
    "degrees_per_microradian",
    "detector",
    "detector_channel",
    "resistor_ohms",
    "responsivity_amperes_per_watt",
    "dark_volts",
    "noise_volts",
    "full_scale_volts",
    "samples_per_second",
    "scale",
    "acceptance_microradians",
    "dither_microradians",
    "quadrant_slope_microradians",
    "period_seconds",
)
NO_CHANNEL: Final = -1
QUADRANT: Final = "quadrant"
_PHOTODIODE: Final = "photodiode"
_USUAL_FIELD_RADIANS: Final = 300e-6
# Flight takes less than a twentieth of the light for noise, and light half a field away for the partner's: the
# acceptance at which the one is the other, exp(-2 x^2) = 0.05.
_FIELD_OVER_ACCEPTANCE: Final = 1.22
_DITHER_OVER_ACCEPTANCE: Final = 0.35


@dataclass(frozen=True, slots=True)
class GimbalSettings:
    """See ``hil.devices.gimbal``; lengths of pulses are in seconds here, angles of the satellite in radians."""

    bus: int
    servo_address: int
    converter_address: int
    frequency_hertz: float
    channels: tuple[int, int]
    transmitter_channel: int
    centres_seconds: tuple[float, float]
    seconds_per_degree: tuple[float, float]
    shortest_seconds: float
    longest_seconds: float
    degrees_per_second: float
    settle_seconds: float
    degrees_per_radian: float
    detector: str
    detector_channel: int
    resistor_ohms: float
    responsivity: float
    dark_volts: float
    noise_volts: float
    full_scale_volts: float
    samples_per_second: int
    scale: float
    half_field_radians: float
    acceptance_radians: float
    dither_radians: float
    quadrant_slope_radians: float
    period_seconds: float


def read_settings(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> GimbalSettings:
    """Raises DeviceError for what does not fit."""
    o = Options(name, settings, _KNOWN)
    half_field = 0.5 * _field(name, environment)
    acceptance = 1e-6 * o.number("acceptance_microradians", 1e6 * half_field / _FIELD_OVER_ACCEPTANCE, 0.1, 1e5)
    per_degree = 1e-6 * o.number("microseconds_per_degree", 2000.0 / 180.0, 1.0, 100.0)
    shortest, longest = (
        1e-6 * o.number(key, usual, 200.0, 3000.0)
        for key, usual in (("shortest_microseconds", 600.0), ("longest_microseconds", 2400.0))
    )
    centres = tuple(1e-6 * o.number(f"{axis}_centre_microseconds", 1500.0, 200.0, 3000.0) for axis in ("pan", "tilt"))
    if not shortest < min(centres) <= max(centres) < longest:
        raise DeviceError(f"{name}: the centres' pulses must be between shortest_microseconds and longest_microseconds")
    channels = (o.whole("pan_channel", 0, 0, 15), o.whole("tilt_channel", 1, 0, 15))
    transmitter = o.whole("transmitter_channel", NO_CHANNEL, NO_CHANNEL, 15)
    if len({*channels, transmitter}) < 3:
        raise DeviceError(f"{name}: pan_channel, tilt_channel and transmitter_channel must be three different ones")
    rate, full_scale = o.whole("samples_per_second", 860, 8, 860), o.number("full_scale_volts", 4.096)
    if rate not in RATES:
        raise DeviceError(f"{name}: samples_per_second = {rate} must be one of {', '.join(map(str, RATES))}")
    if full_scale not in FULL_SCALES_VOLTS:
        words = ", ".join(f"{volts:g}" for volts in FULL_SCALES_VOLTS)
        raise DeviceError(f"{name}: full_scale_volts = {full_scale:g} must be one of {words}")
    signs = tuple(-1.0 if o.flag(f"{axis}_reversed", default=False) else 1.0 for axis in ("pan", "tilt"))
    return GimbalSettings(
        bus=o.whole("bus", 1, 0, 255),
        servo_address=o.whole("servo_address", 0x40, 0x40, 0x7F),
        converter_address=o.whole("converter_address", 0x48, 0x48, 0x4B),
        frequency_hertz=o.number("frequency_hertz", 50.0, 24.0, 400.0),
        channels=channels,
        transmitter_channel=transmitter,
        centres_seconds=(centres[0], centres[1]),
        seconds_per_degree=(signs[0] * per_degree, signs[1] * per_degree),
        shortest_seconds=shortest,
        longest_seconds=longest,
        degrees_per_second=o.number("degrees_per_second", 300.0, 1.0, 5000.0),
        settle_seconds=o.number("settle_seconds", 0.06, 0.0, 5.0),
        degrees_per_radian=1e6 * o.number("degrees_per_microradian", 0.02, 1e-6, 10.0),
        detector=o.choice("detector", (_PHOTODIODE, QUADRANT), _PHOTODIODE),
        detector_channel=o.whole("detector_channel", 0, 0, 3),
        resistor_ohms=o.number("resistor_ohms", 100e3, 1.0, 1e9),
        responsivity=o.number("responsivity_amperes_per_watt", 0.5, 1e-3, 10.0),
        dark_volts=o.number("dark_volts", 0.0, -0.5, 5.0),
        noise_volts=o.number("noise_volts", 0.005, 1e-6, 1.0),
        full_scale_volts=full_scale,
        samples_per_second=rate,
        scale=o.number("scale", 1.0, 1e-12),
        half_field_radians=half_field,
        acceptance_radians=acceptance,
        dither_radians=1e-6 * o.number("dither_microradians", 1e6 * acceptance * _DITHER_OVER_ACCEPTANCE, 0.01, 1e5),
        quadrant_slope_radians=1e-6 * o.number("quadrant_slope_microradians", 1e6 * half_field, 0.1, 1e5),
        period_seconds=o.number("period_seconds", 0.1, 0.01, 10.0),
    )


def _field(name: str, environment: DeviceEnvironment) -> float:
    own = name.partition(".")[2]
    for laser in environment.design.lasers if environment.design is not None else ():
        if laser.name == own:
            return laser.field_of_view_radians
    return _USUAL_FIELD_RADIANS
