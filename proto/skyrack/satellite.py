"""Satellite and constellation files: what they say, and the checks that they add up.

The plant flies a satellite file, flight software knows it, the ground plans with it; each with models of its own.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Meta

from skyrack import files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Inclination = Annotated[float, Meta(ge=0, le=180)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]


class Array(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Solar array; ``tracking`` turns it to the Sun, else it looks along the orbit normal's sunny side."""

    area_m2: Positive
    efficiency_ratio: Ratio
    temperature_coefficient_per_kelvin: float = -0.0025
    ageing_ratio: Ratio = 1.0
    tracking: bool = True


class Battery(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Battery; efficiency each way."""

    capacity_watt_hours: Positive
    nominal_voltage_volts: Positive
    internal_resistance_ohms: NotNegative
    charge_efficiency_ratio: Ratio = 0.95
    discharge_efficiency_ratio: Ratio = 0.95
    maximum_charge_watts: Positive
    maximum_discharge_watts: Positive
    floor_ratio: Ratio = 0.05
    initial_state_of_charge_ratio: Ratio = 0.95


class Thermal(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Thermal network: one chip per rack node -> cold plate -> loop -> radiator; battery and bus beside."""

    chip_heat_capacity_joules_per_kelvin: Positive
    cold_plate_heat_capacity_joules_per_kelvin: Positive
    loop_heat_capacity_joules_per_kelvin: Positive
    radiator_heat_capacity_joules_per_kelvin: Positive
    battery_heat_capacity_joules_per_kelvin: Positive
    chip_to_plate_watts_per_kelvin: Positive
    # At full pump duty; falls with duty to the 0.8th power, with a floor of 2 % for conduction.
    plate_to_loop_watts_per_kelvin: Positive
    loop_to_radiator_watts_per_kelvin: Positive
    battery_to_radiator_watts_per_kelvin: NotNegative = 0.5
    radiator_area_m2: Positive
    # Both faces of a double-sided radiator count.
    radiator_faces: Annotated[int, Meta(ge=1, le=2)] = 2
    radiator_emissivity_ratio: Ratio = 0.9
    radiator_absorptivity_ratio: Ratio = 0.1
    # Part of the radiator's area that the Sun and the Earth see.
    radiator_sun_view_ratio: Ratio = 0.0
    radiator_earth_view_ratio: Ratio = 0.2
    pump_watts: NotNegative
    initial_celsius: float = 20.0


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A consumer behind a switch. Lower priority is shed first; priority 0 may never be shed."""

    name: Name
    watts: NotNegative
    sheddable: bool = True
    priority: Annotated[int, Meta(ge=0, le=100)] = 50


class Heater(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A heater on a thermal node, behind its own switch."""

    name: Name
    node: str
    watts: Positive


class RackNode(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A computer of the rack; also a load behind a switch of the same name."""

    name: Name
    idle_watts: NotNegative
    peak_watts: Positive
    cores: Annotated[int, Meta(ge=1)] = 1
    memory_bytes: Annotated[int, Meta(ge=1)] = 1 << 30
    priority: Annotated[int, Meta(ge=1, le=100)] = 10


class Laser(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A laser terminal."""

    name: Name
    transmit_power_watts: Positive = 2.0
    wavelength_meters: Positive = 1.55e-6
    transmit_aperture_meters: Positive = 0.1
    receive_aperture_meters: Positive = 0.1
    optics_efficiency_ratio: Ratio = 0.7
    beam_divergence_radians: Positive = 80e-6
    field_of_view_radians: Positive = 300e-6
    slew_rate_radians_per_second: Positive = 0.05
    jitter_radians: NotNegative = 3e-6
    pointing_bias_radians: NotNegative = 5e-4
    photons_per_bit: Positive = 100.0
    maximum_rate_bits_per_second: Positive = 100e9
    maximum_range_meters: Positive = 5.4e6
    watts: Positive = 60.0


class Antenna(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The low-rate antenna to ground stations."""

    rate_bits_per_second: Positive = 256e3
    watts: Positive = 15.0


class Device(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which driver serves a device, with settings of its own (noise, bias, bus, address...)."""

    driver: str
    settings: dict[str, float | int | str | bool] = msgspec.field(default_factory=dict)


class SatelliteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A satellite's design."""

    name: str
    description: str = ""
    bus_watts: NotNegative
    array: Array
    battery: Battery
    thermal: Thermal
    loads: tuple[Load, ...] = ()
    heaters: tuple[Heater, ...] = ()
    nodes: Annotated[tuple[RackNode, ...], Meta(min_length=1)]
    lasers: tuple[Laser, ...] = ()
    antenna: Antenna = msgspec.field(default_factory=Antenna)
    # Drivers by device name; a device that is not named here gets the run's default driver.
    devices: dict[str, Device] = msgspec.field(default_factory=dict)
    # Limits by "Message.field" where they differ from the dictionary's: {red_high = 80}.
    limits: dict[str, dict[Literal["red_low", "yellow_low", "yellow_high", "red_high"], float]] = msgspec.field(
        default_factory=dict
    )
    # Parameters by "service.name".
    parameters: dict[str, float] = msgspec.field(default_factory=dict)

    def load_names(self) -> tuple[str, ...]:
        """Everything behind a switch: loads, rack nodes, lasers."""
        named: list[Load | RackNode | Laser] = [*self.loads, *self.nodes, *self.lasers]
        return tuple(item.name for item in named)


class Satellite(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A satellite of the constellation and its orbit (mean elements at the constellation's epoch)."""

    name: Name
    file: str
    altitude_meters: Positive
    inclination_degrees: Inclination
    raan_degrees: float
    mean_anomaly_degrees: float
    eccentricity: NotNegative = 0.0001
    argument_of_perigee_degrees: float = 0.0


class RelayShell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A Walker delta shell of relay satellites (Starlink): total/planes/phasing."""

    name: Name = "relay"
    altitude_meters: Positive
    inclination_degrees: Inclination
    planes: Annotated[int, Meta(ge=1)]
    satellites_per_plane: Annotated[int, Meta(ge=1)]
    phasing: int = 1
    raan_degrees: float = 0.0


class GroundStation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ground antenna."""

    name: Name
    latitude_degrees: Annotated[float, Meta(ge=-90, le=90)]
    longitude_degrees: Annotated[float, Meta(ge=-180, le=180)]
    altitude_meters: float = 0.0
    minimum_elevation_degrees: Annotated[float, Meta(ge=0, le=90)] = 5.0


class ConstellationFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who flies where, over which relays and stations, from which epoch (UTC)."""

    name: str
    description: str = ""
    epoch: datetime
    # Mission time at which a run begins, seconds after the epoch.
    start_seconds: NotNegative = 0.0
    satellites: Annotated[tuple[Satellite, ...], Meta(min_length=1)]
    relays: tuple[RelayShell, ...] = ()
    stations: tuple[GroundStation, ...] = ()

    @property
    def epoch_seconds(self) -> float:
        """The epoch as mission time (Unix seconds, UTC)."""
        return self.epoch.timestamp()


def load_satellite(path: Path) -> SatelliteFile:
    """Read and check a satellite file.

    Raises:
        FileError: what does not add up, with file, key, value and what would be right.
    """
    satellite = files.load(path, SatelliteFile)
    _check_unique(path, "name of load, node or laser", satellite.load_names())
    thermal_nodes = {"cold-plate", "loop", "radiator", "battery", *(node.name for node in satellite.nodes)}
    for heater in satellite.heaters:
        if heater.node not in thermal_nodes:
            right = f"there is no such thermal node; known are {', '.join(sorted(thermal_nodes))}"
            raise files.FileError(path, right, key=f"heaters.{heater.name}.node", value=heater.node)
    for node in satellite.nodes:
        if node.idle_watts >= node.peak_watts:
            right = f"must be less than peak_watts = {node.peak_watts:g}"
            raise files.FileError(path, right, key=f"nodes.{node.name}.idle_watts", value=node.idle_watts)
    battery = satellite.battery
    if battery.floor_ratio >= battery.initial_state_of_charge_ratio:
        right = f"must be more than floor_ratio = {battery.floor_ratio:g}"
        initial = battery.initial_state_of_charge_ratio
        raise files.FileError(path, right, key="battery.initial_state_of_charge_ratio", value=initial)
    return satellite


def load_constellation(path: Path) -> tuple[ConstellationFile, dict[str, SatelliteFile]]:
    """Read a constellation file and the satellite files that it names (beside it, or shipped).

    Returns:
        The constellation, and each satellite's design by the satellite's name.

    Raises:
        FileError: what does not add up, with file, key, value and what would be right.
    """
    constellation = files.load(path, ConstellationFile)
    if constellation.epoch.tzinfo is None:
        right = "must be a time with its zone: 2026-03-20T00:00:00Z"
        raise files.FileError(path, right, key="epoch", value=constellation.epoch.isoformat())
    _check_unique(path, "satellites.name", [satellite.name for satellite in constellation.satellites])
    _check_unique(path, "stations.name", [station.name for station in constellation.stations])
    designs: dict[str, SatelliteFile] = {}
    by_file: dict[str, SatelliteFile] = {}
    for satellite in constellation.satellites:
        if satellite.file not in by_file:
            by_file[satellite.file] = load_satellite(files.find("satellites", satellite.file, beside=path))
        designs[satellite.name] = by_file[satellite.file]
    return constellation, designs


def _check_unique(path: Path, key: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise files.FileError(path, "must be a name that no other has", key=key, value=name)
        seen.add(name)
