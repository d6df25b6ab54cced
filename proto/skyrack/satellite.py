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
    from pathlib import Path

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")]


class _Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class Array(_Struct):
    """Solar array; ``tracking`` turns it to the Sun, else it looks along the orbit normal's sunny side."""

    area_m2: Positive
    efficiency_ratio: Ratio
    temperature_coefficient_per_kelvin: float = -0.0025
    ageing_ratio: Ratio = 1.0
    tracking: bool = True


class Battery(_Struct):
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


class Thermal(_Struct):
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


class Load(_Struct):
    """A consumer behind a switch. Lower priority is shed first; priority 0 may never be shed."""

    name: Name
    watts: NotNegative
    sheddable: bool = True
    priority: Annotated[int, Meta(ge=0, le=100)] = 50


class Heater(_Struct):
    """A heater on a thermal node, behind its own switch."""

    name: Name
    node: str
    watts: Positive


class RackNode(_Struct):
    """A computer of the rack; also a load behind a switch of the same name."""

    name: Name
    idle_watts: NotNegative
    peak_watts: Positive
    cores: Annotated[int, Meta(ge=1)] = 1
    memory_bytes: Annotated[int, Meta(ge=1)] = 1 << 30
    priority: Annotated[int, Meta(ge=1, le=100)] = 10


class Laser(_Struct):
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


class Antenna(_Struct):
    """The low-rate antenna to ground stations."""

    rate_bits_per_second: Positive = 256e3
    watts: Positive = 15.0


class Device(_Struct):
    """Which driver serves a device, with settings of its own (noise, bias, bus, address...)."""

    driver: str
    settings: dict[str, float | int | str | bool] = {}


class SatelliteFile(_Struct):
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
    antenna: Antenna = Antenna()
    # Drivers by device name; a device that is not named here gets the run's default driver.
    devices: dict[str, Device] = {}
    # Limits by "Message.field" where they differ from the dictionary's: {red_high = 80}.
    limits: dict[str, dict[Literal["red_low", "yellow_low", "yellow_high", "red_high"], float]] = {}
    # Parameters by "service.name".
    parameters: dict[str, float] = {}

    def load_names(self) -> tuple[str, ...]:
        """Everything behind a switch: loads, rack nodes, lasers."""
        return tuple(item.name for item in (*self.loads, *self.nodes, *self.lasers))


class Satellite(_Struct):
    """A satellite of the constellation and its orbit (mean elements at the constellation's epoch)."""

    name: Name
    file: str
    altitude_meters: Positive
    inclination_degrees: float
    raan_degrees: float
    mean_anomaly_degrees: float
    eccentricity: NotNegative = 0.0001
    argument_of_perigee_degrees: float = 0.0


class RelayShell(_Struct):
    """A Walker delta shell of relay satellites (Starlink): total/planes/phasing."""

    name: Name = "relay"
    altitude_meters: Positive
    inclination_degrees: float
    planes: Annotated[int, Meta(ge=1)]
    satellites_per_plane: Annotated[int, Meta(ge=1)]
    phasing: int = 1
    raan_degrees: float = 0.0


class GroundStation(_Struct):
    """A ground antenna."""

    name: Name
    latitude_degrees: Annotated[float, Meta(ge=-90, le=90)]
    longitude_degrees: Annotated[float, Meta(ge=-180, le=180)]
    altitude_meters: float = 0.0
    minimum_elevation_degrees: Annotated[float, Meta(ge=0, le=90)] = 5.0


class ConstellationFile(_Struct):
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
            right = f"one of {', '.join(sorted(thermal_nodes))}"
            raise files.FileError(path, f"heaters.{heater.name}.node", heater.node, right)
    for node in satellite.nodes:
        if node.idle_watts >= node.peak_watts:
            raise files.FileError(
                path, f"nodes.{node.name}.idle_watts", node.idle_watts, f"less than peak_watts = {node.peak_watts:g}"
            )
    battery = satellite.battery
    if battery.floor_ratio >= battery.initial_state_of_charge_ratio:
        raise files.FileError(
            path,
            "battery.initial_state_of_charge_ratio",
            battery.initial_state_of_charge_ratio,
            f"more than floor_ratio = {battery.floor_ratio:g}",
        )
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
        raise files.FileError(path, "epoch", constellation.epoch.isoformat(), "a time with its zone: 2026-03-20T00:00:00Z")
    _check_unique(path, "satellites.name", [satellite.name for satellite in constellation.satellites])
    _check_unique(path, "stations.name", [station.name for station in constellation.stations])
    designs: dict[str, SatelliteFile] = {}
    by_file: dict[str, SatelliteFile] = {}
    for satellite in constellation.satellites:
        if satellite.file not in by_file:
            beside = path.parent / satellite.file
            found = beside if beside.is_file() else files.shipped("satellites", satellite.file)
            by_file[satellite.file] = load_satellite(found)
        designs[satellite.name] = by_file[satellite.file]
    return constellation, designs


def _check_unique(path: Path, key: str, names: tuple[str, ...] | list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise files.FileError(path, key, name, "a name that no other has")
        seen.add(name)
