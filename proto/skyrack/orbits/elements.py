"""From a constellation file's elements to positions: SGP4 (Vallado et al., AIAA 2006-6753) by the sgp4 package."""

from __future__ import annotations

import math
from typing import NamedTuple

from sgp4.api import SGP4_ERRORS, WGS72, Satrec

from skyrack.errors import UserError
from skyrack.orbits.constants import (
    SECONDS_PER_DAY,
    SGP4_EARTH_RADIUS_METERS,
    SGP4_GRAVITY_METERS3_PER_SECOND2,
    UNIX_EPOCH_JULIAN_DAY,
)
from skyrack.orbits.vectors import Vector
from skyrack.satellite import ConstellationFile, RelayShell, Satellite

# SGP4 counts its epoch from 1949 December 31, 00:00 UT.
_SGP4_EPOCH_JULIAN_DAY = 2_433_281.5


class OrbitError(UserError):
    """SGP4 cannot say where the satellite is; the message names the reason."""


class OrbitPosition(NamedTuple):
    """Position (m) and velocity (m/s), TEME of date."""

    position_meters: Vector
    velocity_meters_per_second: Vector


def propagate(satrec: Satrec, mission_time_seconds: float) -> OrbitPosition:
    """Position and velocity at a mission time.

    Raises:
        OrbitError: the orbit has decayed, or the elements are beyond SGP4.
    """
    whole, rest = divmod(mission_time_seconds, SECONDS_PER_DAY)
    error, r, v = satrec.sgp4(whole + UNIX_EPOCH_JULIAN_DAY, rest / SECONDS_PER_DAY)
    if error:
        reason = SGP4_ERRORS.get(error, f"error {error}")
        raise OrbitError(
            f"SGP4 has no position for satellite {satrec.satnum} at {mission_time_seconds:.0f} s: {reason}"
        )
    return OrbitPosition((r[0] * 1e3, r[1] * 1e3, r[2] * 1e3), (v[0] * 1e3, v[1] * 1e3, v[2] * 1e3))


def satellite_satrec(constellation: ConstellationFile, name: str) -> Satrec:
    """SGP4 record of a satellite of the constellation.

    Raises:
        OrbitError: no satellite has this name, or SGP4 refuses its elements.
    """
    for number, satellite in enumerate(constellation.satellites, start=1):
        if satellite.name == name:
            return _satellite(satellite, constellation.epoch_seconds, number)
    known = ", ".join(satellite.name for satellite in constellation.satellites)
    raise OrbitError(f'constellation {constellation.name} has no satellite "{name}"; it has {known}')


def relay_satrecs(constellation: ConstellationFile) -> list[tuple[str, Satrec]]:
    """Names and SGP4 records of all relay satellites: ``relay-<plane>-<place in plane>``, counted from 1."""
    found: list[tuple[str, Satrec]] = []
    for shell in constellation.relays:
        found += _walker(shell, constellation.epoch_seconds)
    return found


def orbital_period_seconds(satrec: Satrec) -> float:
    """Nodal-mean period: one turn of the mean anomaly."""
    return float(2.0 * math.pi / satrec.no_kozai * 60.0)


def _satellite(satellite: Satellite, epoch_seconds: float, number: int) -> Satrec:
    return _satrec(
        number,
        epoch_seconds,
        altitude_meters=satellite.altitude_meters,
        inclination_degrees=satellite.inclination_degrees,
        raan_degrees=satellite.raan_degrees,
        mean_anomaly_degrees=satellite.mean_anomaly_degrees,
        eccentricity=satellite.eccentricity,
        argument_of_perigee_degrees=satellite.argument_of_perigee_degrees,
    )


def _walker(shell: RelayShell, epoch_seconds: float) -> list[tuple[str, Satrec]]:
    """Walker delta pattern i: t/p/f (Walker 1984): planes evenly around the equator, each shifted by f * 360/t."""
    total = shell.planes * shell.satellites_per_plane
    found: list[tuple[str, Satrec]] = []
    for plane in range(shell.planes):
        for place in range(shell.satellites_per_plane):
            satrec = _satrec(
                10_000 + plane * shell.satellites_per_plane + place,
                epoch_seconds,
                altitude_meters=shell.altitude_meters,
                inclination_degrees=shell.inclination_degrees,
                raan_degrees=shell.raan_degrees + 360.0 * plane / shell.planes,
                mean_anomaly_degrees=360.0 * place / shell.satellites_per_plane + 360.0 * shell.phasing * plane / total,
                eccentricity=0.0001,
                argument_of_perigee_degrees=0.0,
            )
            found.append((f"{shell.name}-{plane + 1}-{place + 1}", satrec))
    return found


def _satrec(
    number: int,
    epoch_seconds: float,
    *,
    altitude_meters: float,
    inclination_degrees: float,
    raan_degrees: float,
    mean_anomaly_degrees: float,
    eccentricity: float,
    argument_of_perigee_degrees: float,
) -> Satrec:
    semi_major_axis = SGP4_EARTH_RADIUS_METERS + altitude_meters
    mean_motion = math.sqrt(SGP4_GRAVITY_METERS3_PER_SECOND2 / semi_major_axis**3)
    satrec = Satrec()
    satrec.sgp4init(
        WGS72,
        "i",
        number,
        epoch_seconds / SECONDS_PER_DAY + (UNIX_EPOCH_JULIAN_DAY - _SGP4_EPOCH_JULIAN_DAY),
        0.0,  # no drag: the constellation keeps its orbits
        0.0,
        0.0,
        eccentricity,
        math.radians(argument_of_perigee_degrees),
        math.radians(inclination_degrees),
        math.radians(mean_anomaly_degrees % 360.0),
        mean_motion * 60.0,
        math.radians(raan_degrees % 360.0),
    )
    if satrec.error:
        reason = SGP4_ERRORS.get(satrec.error, f"error {satrec.error}")
        raise OrbitError(f"SGP4 refuses the elements of satellite {number} ({altitude_meters:g} m): {reason}")
    return satrec
