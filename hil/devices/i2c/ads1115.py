"""``i2c.thermistor`` and ``i2c.photodiode``: voltages of an ADS1115, and what they mean.

Settings beside those of every gauge: ``bus`` (1), ``address`` (0x48), ``channel`` (0 to 3, against ground).

A thermistor is one half of a divider: ``series_ohms`` (10000) to ``supply_volts`` (3.3), the thermistor to ground, or
the other way round with ``to_supply = true``. Either ``nominal_ohms`` (10000), ``nominal_celsius`` (25) and ``beta``
(3950), or ``steinhart_a``, ``steinhart_b``, ``steinhart_c``. A wire that is off or a short is said.

A photodiode's current flows through ``resistor_ohms`` (100000) and is ``responsivity_amperes_per_watt`` (0.5) times the
light; ``dark_volts`` (0) is what the channel shows in darkness.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from typing import Final

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.host import host_of
from hil.devices.i2c.chip import Chip, ChipDriver, ChipFaultError
from hil.devices.i2c.thermistors import Divider, Thermistor, WireError
from hil.devices.options import Options

Settings = Mapping[str, object]

# Full scale in volts and its code; data sheet SBAS444, configuration register, and drivers/iio/adc/ti-ads1015.c.
FULL_SCALES_VOLTS: Final = (6.144, 4.096, 2.048, 1.024, 0.512, 0.256)

_CONVERSION: Final = 0x00
_CONFIGURATION: Final = 0x01
_START: Final = 0x8000  # written: begin; read: idle
_AGAINST_GROUND: Final = 0x4
_SINGLE_SHOT: Final = 0x0100
_NO_COMPARATOR: Final = 0x0003
# Samples a second and their code.
RATES: Final = {8: 0, 16: 1, 32: 2, 64: 3, 128: 4, 250: 5, 475: 6, 860: 7}
# The internal oscillator may be a tenth slow.
_SLOWEST_RATIO: Final = 1.1
_PATIENCE: Final = 4


class Ads1115:
    """The converter: one conversion at a time, begun here and waited for."""

    def __init__(self, chip: Chip, rate: int = 128) -> None:
        """``rate`` is in samples a second, one of :data:`RATES`."""
        self.chip = chip
        self._rate = rate

    def volts(self, channel: int, full_scale_volts: float) -> float:
        """Voltage of a channel against ground; blocks for a conversion.

        Raises:
            ChipFaultError: the chip does not answer, does not finish, or the voltage is over full scale.
        """
        configuration = self._configuration(channel, full_scale_volts)
        chip = self.chip
        chip.write_word(_CONFIGURATION, _START | configuration)
        for _ in range(_PATIENCE):
            time.sleep(_SLOWEST_RATIO / self._rate)
            state = chip.read_word(_CONFIGURATION)
            if state & ~_START != configuration:
                problem = f"the {chip.where} has other settings than were written (0x{state & ~_START:04x}): "
                raise ChipFaultError(errno.EAGAIN, f"{problem}its supply dipped, or it is no ADS1115")
            if state & _START:
                break
        else:
            raise ChipFaultError(errno.EAGAIN, f"the {chip.where} does not finish its conversion; switch it off and on")
        bits = chip.read_signed_word(_CONVERSION)
        if bits in (0x7FFF, -0x8000):
            problem = f"channel {channel} of the {chip.where} is over its full scale of {full_scale_volts:g} V"
            raise ChipFaultError(errno.ERANGE, problem)
        return bits * full_scale_volts / 32768.0

    def _configuration(self, channel: int, full_scale_volts: float) -> int:
        gain = FULL_SCALES_VOLTS.index(full_scale_volts)
        return (_AGAINST_GROUND | channel) << 12 | gain << 9 | _SINGLE_SHOT | RATES[self._rate] << 5 | _NO_COMPARATOR


class AnalogueSensor(ChipDriver):
    """A channel of an ADS1115 and what its voltage means."""

    def __init__(
        self, converter: Ads1115, channel: int, full_scale_volts: float, meaning: Callable[[float], float]
    ) -> None:
        super().__init__(converter.chip)
        self._converter = converter
        self._channel = channel
        self._full_scale_volts = full_scale_volts
        self._meaning = meaning

    def prepare(self) -> None:
        """It has no identity; the first conversion shows that its registers hold what is written."""
        self._converter.volts(self._channel, self._full_scale_volts)

    def measure(self) -> float:
        volts = self._converter.volts(self._channel, self._full_scale_volts)
        try:
            return self._meaning(volts)
        except WireError as error:
            where = f"channel {self._channel} of the {self.chip.where}"
            raise ChipFaultError(errno.EREMOTEIO, f"{where}: {error}") from error


def smallest_full_scale(volts: float) -> float:
    """The full scale that holds a voltage with the finest steps. The inputs bear no more than the chip's supply."""
    return min((scale for scale in FULL_SCALES_VOLTS if scale >= volts), default=FULL_SCALES_VOLTS[0])


def light_watts(volts: float, resistor_ohms: float, responsivity_amperes_per_watt: float) -> float:
    """Light on a photodiode whose current flows through a resistor."""
    return volts / resistor_ohms / responsivity_amperes_per_watt


_PLACE: Final = ("bus", "address", "channel", "samples_per_second")


def _converter(options: Options, environment: DeviceEnvironment) -> tuple[Ads1115, int, str]:
    bus = options.whole("bus", 1, 0, 255)
    address = options.whole("address", 0x48, 0x48, 0x4B)
    rate = options.whole("samples_per_second", 128, 8, 860)
    if rate not in RATES:
        raise DeviceError(f"{options.name}: samples_per_second = {rate} must be one of {', '.join(map(str, RATES))}")
    chip = Chip("ADS1115", host_of(environment), bus, address)
    return Ads1115(chip, rate), options.whole("channel", 0, 0, 3), f"i2c-{bus}"


def _begun(name: str, sensor: AnalogueSensor) -> Callable[[], float]:
    try:
        sensor.begin()
    except DeviceError as error:
        raise DeviceError(f"{name}: {error}") from error
    return sensor.sample


def thermistor(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.thermistor``."""
    known = ("series_ohms", "supply_volts", "to_supply", "nominal_ohms", "nominal_celsius", "beta")
    steinhart = ("steinhart_a", "steinhart_b", "steinhart_c")
    options = Options(name, settings, (*_PLACE, *known, *steinhart, *GAUGE_SETTINGS))
    supply = options.number("supply_volts", 3.3, 0.5, 5.5)
    divider = Divider(
        supply_volts=supply,
        series_ohms=options.number("series_ohms", 10e3, 1.0, 1e8),
        to_supply=options.flag("to_supply", default=False),
    )
    given = [key for key in steinhart if key in settings]
    if given and len(given) < len(steinhart):
        missing = next(key for key in steinhart if key not in settings)
        raise DeviceError(f"{name}: {missing} is missing: Steinhart and Hart's equation needs all three coefficients")
    if given:
        curve = Thermistor(*(options.number(key, 0.0, -1.0, 1.0) for key in steinhart))
    else:
        curve = Thermistor.of_beta(
            options.number("nominal_ohms", 10e3, 1.0, 1e8),
            options.number("nominal_celsius", 25.0, -100.0, 300.0),
            options.number("beta", 3950.0, 100.0, 20e3),
        )
    converter, channel, bus = _converter(options, environment)
    # Up to the supply, where a broken wire shows.
    full_scale = smallest_full_scale(supply)
    sensor = AnalogueSensor(converter, channel, full_scale, lambda volts: curve.celsius(divider.ohms(volts)))
    return Gauge(name, _begun(name, sensor), settings, environment, "°C", (-60.0, 200.0), bus=bus)


def photodiode(name: str, settings: Settings, environment: DeviceEnvironment) -> Gauge:
    """Entry point ``i2c.photodiode``: light in watts."""
    known = ("resistor_ohms", "responsivity_amperes_per_watt", "dark_volts", "full_scale_volts")
    options = Options(name, settings, (*_PLACE, *known, *GAUGE_SETTINGS))
    ohms = options.number("resistor_ohms", 100e3, 1.0, 1e9)
    responsivity = options.number("responsivity_amperes_per_watt", 0.5, 1e-3, 10.0)
    dark = options.number("dark_volts", 0.0, -0.5, 5.0)
    full_scale = options.number("full_scale_volts", 4.096)
    if full_scale not in FULL_SCALES_VOLTS:
        words = ", ".join(f"{volts:g}" for volts in FULL_SCALES_VOLTS)
        raise DeviceError(f"{name}: full_scale_volts = {full_scale:g} must be one of {words}")
    converter, channel, bus = _converter(options, environment)
    most = light_watts(full_scale, ohms, responsivity)
    sensor = AnalogueSensor(converter, channel, full_scale, lambda volts: light_watts(volts - dark, ohms, responsivity))
    return Gauge(name, _begun(name, sensor), settings, environment, "W", (-0.05 * most, most), bus=bus)
