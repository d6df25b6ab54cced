"""Drivers of simulated devices: clients of the plant, with noise, bias and failures of their own.

Settings of a device in the satellite file: ``noise`` (standard deviation) and ``bias``, in the device's own unit; both
have defaults that suit the kind. What a unit is: W for array and loads, degrees Celsius for temperatures, A for the
battery (its voltage and temperature keep their own noise), m for the GNSS receiver (its velocity scatters a thousandth
of that per second), rad for laser terminals (of the quadrant detector), and a ratio for pumps.
"""

from __future__ import annotations

from flight.hal import BatteryState, DeviceEnvironment, DeviceError, LaserReading, OrbitFix, Reading
from hil.devices.instrument import Channel, Instrument, Settings
from skyrack.files import suggest
from skyrack.satellite import Heater as HeaterDesign
from skyrack.satellite import SatelliteFile

_BATTERY = ("battery.voltage_volts", "battery.current_amperes", "battery.celsius")
_ORBIT = (
    *(f"orbit.position_{axis}_meters" for axis in "xyz"),
    *(f"orbit.velocity_{axis}_meters_per_second" for axis in "xyz"),
    "orbit.time_seconds",
)
_LASER = (
    "received_watts",
    "error_azimuth_radians",
    "error_elevation_radians",
    "azimuth_radians",
    "elevation_radians",
    "slewing",
)


class SimulatedBattery:
    """Battery monitor."""

    def __init__(self, instrument: Instrument, voltage_noise: float, celsius_noise: float) -> None:
        self._instrument = instrument
        self._noise = (voltage_noise, celsius_noise)
        self._channel = Channel(instrument, self._measure)

    async def read(self) -> Reading[BatteryState]:
        """Voltage, current, temperature."""
        return self._channel.read()

    def _measure(self) -> BatteryState:
        i, gauss = self._instrument, self._instrument.rng.gauss
        voltage, current, celsius = i.sense_together(_BATTERY)
        return BatteryState(
            voltage + gauss(0.0, self._noise[0]), current + i.error(), celsius + gauss(0.0, self._noise[1])
        )


class SimulatedGauge:
    """One number: array power, a temperature."""

    def __init__(self, instrument: Instrument, key: str) -> None:
        self._channel = Channel(instrument, lambda: instrument.sense(key) + instrument.error())

    async def read(self) -> Reading[float]:
        """Measure."""
        return self._channel.read()


class SimulatedLoadSwitch:
    """A load's switch and the power meter behind it."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        name = instrument.name
        # The meter's error is of scale: an open switch reads nothing.
        self._watts = Channel(instrument, lambda: instrument.sense(f"{name}.watts") * (1.0 + instrument.error()))
        self._closed = Channel(instrument, lambda: instrument.sense(f"{name}.closed") > 0.5)
        self._key = f"{name}.switch"

    async def read_watts(self) -> Reading[float]:
        """Power that the load draws, W."""
        return self._watts.read()

    async def is_closed(self) -> Reading[bool]:
        """Whether the load is powered."""
        return self._closed.read()

    async def set_closed(self, closed: bool) -> None:
        """Power the load, or cut it."""
        self._instrument.actuate({self._key: float(closed)})


class SimulatedPump:
    """Coolant pump with a tachometer."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._duty = Channel(
            instrument, lambda: min(1.0, max(0.0, instrument.sense("pump.duty_ratio") + instrument.error()))
        )

    async def read_duty(self) -> Reading[float]:
        """Duty that the pump really runs at."""
        return self._duty.read()

    async def set_duty(self, duty_ratio: float) -> None:
        """Ask for a duty, 0 to 1."""
        self._instrument.actuate({"pump.duty_ratio": duty_ratio})


class SimulatedHeater:
    """Heater with a switch."""

    def __init__(self, instrument: Instrument, watts: float) -> None:
        self.watts = watts
        self._instrument = instrument
        self._on = Channel(instrument, lambda: instrument.sense(f"{instrument.name}.closed") > 0.5)
        self._key = f"{instrument.name}.switch"

    async def is_on(self) -> Reading[bool]:
        """Whether it heats."""
        return self._on.read()

    async def set_on(self, on: bool) -> None:
        """Switch it."""
        self._instrument.actuate({self._key: float(on)})


class SimulatedGnss:
    """GNSS receiver."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._channel = Channel(instrument, self._measure)

    async def read(self) -> Reading[OrbitFix]:
        """Position and velocity, TEME."""
        return self._channel.read()

    def _measure(self) -> OrbitFix:
        i = self._instrument
        # A second between position and time stamp would be eight kilometres.
        sensed = i.sense_together(_ORBIT)
        x, y, z = (value + i.error() for value in sensed[:3])
        u, v, w = (value + i.rng.gauss(0.0, 1e-3 * i.noise) for value in sensed[3:6])
        return OrbitFix((x, y, z), (u, v, w), sensed[6])


class SimulatedLaser:
    """Laser terminal."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._prefix = instrument.name
        self._keys = tuple(f"{instrument.name}.{quantity}" for quantity in _LASER)
        self._channel = Channel(instrument, self._measure)

    async def read(self) -> Reading[LaserReading]:
        """Gimbal angles, received light, quadrant detector."""
        return self._channel.read()

    async def point(
        self,
        azimuth_radians: float,
        elevation_radians: float,
        point_ahead: tuple[float, float] = (0.0, 0.0),
        rates: tuple[float, float] = (0.0, 0.0),
        at_seconds: float | None = None,
    ) -> None:
        """Command the line of sight."""
        prefix = self._prefix
        self._instrument.actuate(
            {
                f"{prefix}.azimuth_radians": azimuth_radians,
                f"{prefix}.elevation_radians": elevation_radians,
                f"{prefix}.azimuth_rate": rates[0],
                f"{prefix}.elevation_rate": rates[1],
                f"{prefix}.at_seconds": self._instrument.clock.now() if at_seconds is None else at_seconds,
                f"{prefix}.ahead_azimuth_radians": point_ahead[0],
                f"{prefix}.ahead_elevation_radians": point_ahead[1],
            }
        )

    async def set_transmitter(self, on: bool) -> None:
        """Switch the transmit beam."""
        self._instrument.actuate({f"{self._prefix}.transmit": float(on)})

    def _measure(self) -> LaserReading:
        i = self._instrument
        received, off_azimuth, off_elevation, azimuth, elevation, slewing = i.sense_together(self._keys)
        error = (off_azimuth + i.error(), off_elevation + i.error()) if received > 0.0 else (0.0, 0.0)
        return LaserReading(
            azimuth_radians=azimuth,
            elevation_radians=elevation,
            received_power_watts=received * (1.0 + i.rng.gauss(0.0, 0.02)),
            tracking_error_radians=error,
            slewing=slewing > 0.5,
        )


class SimulatedAntenna:
    """Receiver of the low-rate antenna: whether it hears a station."""

    def __init__(self, instrument: Instrument) -> None:
        self._channel = Channel(instrument, lambda: instrument.sense("link.antenna.up") > 0.5)

    async def read(self) -> Reading[bool]:
        """Whether a carrier is received."""
        return self._channel.read()


def battery(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedBattery:
    """Entry point ``simulated.battery``."""
    design = _design(name, environment).battery
    full_scale = design.maximum_discharge_watts / design.nominal_voltage_volts
    instrument = Instrument(name, settings, environment, noise=1e-3 * full_scale, bias=2e-4 * full_scale)
    return SimulatedBattery(instrument, voltage_noise=2e-4 * design.nominal_voltage_volts, celsius_noise=0.1)


def array(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedGauge:
    """Entry point ``simulated.array``."""
    full_scale = 1361.0 * _design(name, environment).array.area_m2 * _design(name, environment).array.efficiency_ratio
    return SimulatedGauge(Instrument(name, settings, environment, 1e-3 * full_scale, 1e-3 * full_scale), "array.watts")


def load_switch(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedLoadSwitch:
    """Entry point ``simulated.load_switch``; noise and bias are ratios of the power."""
    return SimulatedLoadSwitch(Instrument(name, settings, environment, noise=2e-3, bias=5e-3))


def temperature(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedGauge:
    """Entry point ``simulated.temperature``."""
    return SimulatedGauge(Instrument(name, settings, environment, noise=0.1, bias=0.3), f"{name}.celsius")


def pump(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedPump:
    """Entry point ``simulated.pump``."""
    return SimulatedPump(Instrument(name, settings, environment, noise=2e-3, bias=0.0))


def heater(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedHeater:
    """Entry point ``simulated.heater``."""
    own = name.partition(".")[2]
    found: list[HeaterDesign] = [heater for heater in _design(name, environment).heaters if heater.name == own]
    if not found:
        known = [heater.name for heater in _design(name, environment).heaters]
        raise DeviceError(f'{name}: the satellite has no heater "{own}"; {suggest(own, known)}')
    return SimulatedHeater(Instrument(name, settings, environment, noise=0.0, bias=0.0), found[0].watts)


def gnss(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedGnss:
    """Entry point ``simulated.gnss``."""
    return SimulatedGnss(Instrument(name, settings, environment, noise=3.0, bias=0.0))


def laser(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedLaser:
    """Entry point ``simulated.laser``."""
    return SimulatedLaser(Instrument(name, settings, environment, noise=2e-6, bias=0.0))


def antenna(name: str, settings: Settings, environment: DeviceEnvironment) -> SimulatedAntenna:
    """Entry point ``simulated.antenna``."""
    return SimulatedAntenna(Instrument(name, settings, environment, noise=0.0, bias=0.0))


def _design(name: str, environment: DeviceEnvironment) -> SatelliteFile:
    if environment.design is None:
        raise DeviceError(f"{name}: a simulated device needs the satellite's design, and the run gives none")
    return environment.design
