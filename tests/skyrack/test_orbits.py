"""Orbits against published figures and against Skyfield with the JPL ephemeris DE421."""

from __future__ import annotations

import math
import warnings
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyrack import files, orbits
from skyrack.satellite import ConstellationFile, GroundStation, load_constellation

START = datetime(2026, 3, 20, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def constellation() -> ConstellationFile:
    return load_constellation(files.shipped("constellations", "demo"))[0]


@pytest.fixture(scope="module")
def sky() -> Any:
    load = pytest.importorskip("skyfield.api").Loader
    package = pytest.importorskip("skyfield_data")
    with warnings.catch_warnings():
        # It warns of its Earth orientation file, which is not read here.
        warnings.simplefilter("ignore", RuntimeWarning)
        data = package.get_skyfield_data_path()
    loader = load(data, expire=False, verbose=False)
    return loader.timescale(builtin=True), loader("de421.bsp")


def at(sky: Any, mission_time: float) -> Any:
    return sky[0].from_datetime(datetime.fromtimestamp(mission_time, UTC))


def degrees_between(a: Any, b: Any) -> float:
    u, v = (orbits.unit((float(c[0]), float(c[1]), float(c[2]))) for c in (a, b))
    return math.degrees(math.atan2(orbits.norm(orbits.cross(u, v)), orbits.dot(u, v)))


def test_teme_to_itrf_is_vallados_example() -> None:
    # AIAA 2006-6753, appendix C; polar motion is left out here, which moves this point by some 14 m.
    teme = (5094.18016210e3, 6127.64465950e3, 6380.34453270e3)
    time = datetime(2004, 4, 6, 7, 51, 28, 386_000, tzinfo=UTC).timestamp()
    itrf = orbits.teme_to_itrf(teme, orbits.sidereal_angle_radians(time, ut1_minus_utc_seconds=-0.439961))
    assert orbits.distance(itrf, (-1033.47938300e3, 7901.29527540e3, 6380.35659580e3)) < 20.0
    back = orbits.itrf_to_teme(itrf, orbits.sidereal_angle_radians(time, -0.439961))
    assert orbits.distance(back, teme) < 1e-6


@pytest.mark.parametrize("days", [0, 80, 200, 300, 2000])
def test_sun_agrees_with_the_ephemeris(sky: Any, days: int) -> None:
    from skyfield.sgp4lib import TEME

    time = START + days * 86_400.0
    moment = at(sky, time)
    sun = sky[1]["earth"].at(moment).observe(sky[1]["sun"])
    oracle = sun.frame_xyz(TEME).m
    found = orbits.sun_position(time)
    assert degrees_between(found, oracle) < 0.015
    assert orbits.norm(found) == pytest.approx(sun.distance().m, rel=2e-4)


def test_propagation_place_and_elevation_agree_with_skyfield(sky: Any, constellation: ConstellationFile) -> None:
    from skyfield.api import EarthSatellite, wgs84

    satrec = orbits.satellite_satrec(constellation, "sat-1")
    satellite = EarthSatellite.from_satrec(satrec, sky[0])
    for minutes in range(0, 200, 17):
        time = START + minutes * 60.0
        position, velocity = orbits.propagate(satrec, time)
        oracle = satellite.at(at(sky, time))
        angle = orbits.sidereal_angle_radians(time)
        place, expected = orbits.geodetic(position, angle), wgs84.geographic_position_of(oracle)
        assert place.latitude_degrees == pytest.approx(expected.latitude.degrees, abs=2e-3)
        assert place.longitude_degrees == pytest.approx(expected.longitude.degrees, abs=6e-3)
        assert place.altitude_meters == pytest.approx(expected.elevation.m, abs=30.0)
        assert orbits.norm(velocity) == pytest.approx(float(oracle.speed().m_per_s), abs=0.5)
        station = constellation.stations[0]
        topos = wgs84.latlon(station.latitude_degrees, station.longitude_degrees)
        elevation = (satellite - topos).at(at(sky, time)).altaz()[0].radians
        view = orbits.StationView(station)
        assert view.elevation_radians(orbits.teme_to_itrf(position, angle)) == pytest.approx(elevation, abs=1e-3)


def test_eclipses_agree_with_skyfield_but_for_the_penumbra(sky: Any, constellation: ConstellationFile) -> None:
    from skyfield.api import EarthSatellite

    satrec = orbits.satellite_satrec(constellation, "sat-1")
    satellite = EarthSatellite.from_satrec(satrec, sky[0])
    dark = orbits.intervals(lambda t: eclipse_margin(satrec, t), START, START + 12_000.0, 30.0)
    assert len(dark) in {2, 3}
    for start, end in dark:
        inside = [satellite.at(at(sky, t)).is_sunlit(sky[1]) for t in (start + 40.0, 0.5 * (start + end), end - 40.0)]
        outside = [satellite.at(at(sky, t)).is_sunlit(sky[1]) for t in (start - 40.0, end + 40.0)]
        assert (inside, outside) == ([False] * 3, [True] * 2)


def eclipse_margin(satrec: Any, time: float) -> float:
    return orbits.eclipse_margin_radians(orbits.propagate(satrec, time).position_meters, orbits.sun_position(time))


def test_eclipse_of_orekits_detector_test() -> None:
    # Two-body motion from Orekit's EclipseDetectorTest; the Sun here stays in the equinox of date, which costs 5 s.
    begin = datetime(1969, 7, 28, 4, tzinfo=UTC).timestamp() - 39.0  # TT - UTC was 39 s, to the second
    r = (-6142438.668, 3492467.560, -25767.2568)
    v = (505.8479685, 942.7809215, 7435.922231)

    def place(seconds: float) -> orbits.Vector:
        return two_body(r, v, seconds)

    def umbra(t: float) -> float:
        ratio = orbits.sunlit_ratio(place(t), orbits.sun_position(begin + t), 6.4e6, 6.96e8, flattening=0.0)
        return 0.5 if ratio == 0.0 else -0.5

    def penumbra(t: float) -> float:
        return orbits.eclipse_margin_radians(place(t), orbits.sun_position(begin + t), 6.4e6, 6.96e8, flattening=0.0)

    assert orbits.intervals(umbra, 0.0, 6000.0, 30.0)[0][0] == pytest.approx(2303.1835, abs=6.0)
    assert orbits.intervals(penumbra, 0.0, 6000.0, 30.0)[0][1] == pytest.approx(4388.156, abs=6.0)


def two_body(r: orbits.Vector, v: orbits.Vector, seconds: float) -> orbits.Vector:
    """Kepler's motion by Lagrange's f and g (Bate, Mueller, White, ch. 4)."""
    mu = 3.9860047e14
    distance, radial = orbits.norm(r), orbits.dot(r, v)
    a = 1.0 / (2.0 / distance - orbits.dot(v, v) / mu)
    n, root = math.sqrt(mu / a**3), math.sqrt(mu * a)
    x = n * seconds
    for _ in range(50):
        change = (x - (1 - distance / a) * math.sin(x) + radial / root * (1 - math.cos(x)) - n * seconds) / (
            1 - (1 - distance / a) * math.cos(x) + radial / root * math.sin(x)
        )
        x -= change
        if abs(change) < 1e-14:
            break
    f = 1 - a / distance * (1 - math.cos(x))
    g = seconds - (x - math.sin(x)) / n
    return (f * r[0] + g * v[0], f * r[1] + g * v[1], f * r[2] + g * v[2])


def test_sunlight_falls_smoothly_from_one_to_nought_through_the_penumbra() -> None:
    sun = (1.496e11, 0.0, 0.0)
    radius = 6_928_137.0
    angles = [math.radians(90.0 + 0.01 * k) for k in range(3000)]
    lit = [orbits.sunlit_ratio((radius * math.cos(a), radius * math.sin(a), 0.0), sun) for a in angles]
    assert lit[0] == 1.0
    assert lit[-1] == 0.0
    assert all(a >= b for a, b in pairwise(lit))
    assert max(a - b for a, b in pairwise(lit)) < 0.03


def test_orbital_frame_and_angles() -> None:
    frame = orbits.orbital_frame((7e6, 0.0, 0.0), (0.0, 7.5e3, 10.0))
    x, y, z = frame
    assert z == pytest.approx((-1.0, 0.0, 0.0))
    assert orbits.dot(x, (0.0, 1.0, 0.0)) > 0.99
    assert orbits.cross(z, x) == pytest.approx(y)
    assert orbits.azimuth_elevation(x, frame) == pytest.approx((0.0, 0.0))
    assert orbits.azimuth_elevation(y, frame) == pytest.approx((math.pi / 2, 0.0))
    # Up, away from the Earth, is positive.
    assert orbits.azimuth_elevation((1.0, 0.0, 0.0), frame)[1] == pytest.approx(math.pi / 2)


@given(st.floats(-3.1, 3.1), st.floats(-1.5, 1.5))
def test_angles_lead_back_to_the_direction(azimuth: float, elevation: float) -> None:
    frame = orbits.orbital_frame((3e6, -5e6, 4e6), (6e3, 4e3, 1e3))
    direction = orbits.direction_from_angles(azimuth, elevation, frame)
    assert orbits.norm(direction) == pytest.approx(1.0)
    assert orbits.azimuth_elevation(direction, frame) == pytest.approx((azimuth, elevation), abs=1e-9)


@given(st.floats(-89.9, 89.9), st.floats(-179.9, 179.9), st.floats(-100.0, 2e6))
def test_geodetic_coordinates_lead_back_to_themselves(latitude: float, longitude: float, altitude: float) -> None:
    fixed = orbits.geodetic_to_itrf(orbits.Geodetic(latitude, longitude, altitude))
    assert orbits.geodetic(fixed, 0.0) == pytest.approx((latitude, longitude, altitude), abs=1e-3)


def test_line_of_sight_clears_the_atmosphere() -> None:
    a = (7e6, 0.0, 0.0)
    assert orbits.line_of_sight(a, (0.0, 7e6, 0.0)) is False
    assert orbits.line_of_sight(a, (7e6 * math.cos(0.5), 7e6 * math.sin(0.5), 0.0)) is True
    # The Earth lies behind, not between.
    assert orbits.line_of_sight((7e6, 0.0, 0.0), (9e6, 0.0, 0.0)) is True
    assert orbits.line_of_sight(a, a) is True


def test_walker_shell_is_even(constellation: ConstellationFile) -> None:
    relays = orbits.relay_satrecs(constellation)
    shell = constellation.relays[0]
    assert len({name for name, _ in relays}) == shell.planes * shell.satellites_per_plane
    by_name = dict(relays)
    first, second = by_name["relay-1-1"], by_name["relay-2-1"]
    turn = 2.0 * math.pi
    assert (second.nodeo - first.nodeo) % turn == pytest.approx(turn / shell.planes)
    shift = shell.phasing * turn / (shell.planes * shell.satellites_per_plane)
    assert (second.mo - first.mo) % turn == pytest.approx(shift)


def test_unknown_satellite_is_named(constellation: ConstellationFile) -> None:
    with pytest.raises(orbits.OrbitError, match='no satellite "moon"; it has sat-1, sat-2'):
        orbits.satellite_satrec(constellation, "moon")


def test_intervals_finds_what_is_shorter_than_a_step() -> None:
    found = orbits.intervals(lambda t: 0.1 - abs(t - 47.0) / 30.0, 0.0, 120.0, 30.0)
    assert found == [pytest.approx((44.0, 50.0), abs=0.02)]


@given(st.floats(100.0, 900.0), st.floats(0.0, 6.28), st.floats(-0.9, 0.9), st.integers(1, 20))
def test_extending_bit_by_bit_finds_the_same(period: float, phase: float, level: float, bits: int) -> None:
    def margin(t: float) -> float:
        return math.sin(2 * math.pi * t / period + phase) - level

    at_once = orbits.intervals(margin, 0.0, 3000.0, 10.0)
    finder = orbits.IntervalFinder(margin, 0.0, 10.0)
    for k in range(bits):
        finder.extend(3000.0 * (k + 1) / bits)
    assert finder.current(-1.0) == at_once
    assert all(margin(0.5 * (a + b)) > -1e-3 for a, b in at_once)
    assert sum(b - a for a, b in at_once) == pytest.approx(3000.0 * math.acos(level) / math.pi, abs=period)


def test_contact_window_ends_at_the_minimum_elevation(constellation: ConstellationFile) -> None:
    satrec = orbits.satellite_satrec(constellation, "sat-1")
    station = GroundStation(name="here", latitude_degrees=40.0, longitude_degrees=10.0, minimum_elevation_degrees=10.0)
    view = orbits.StationView(station)

    def margin(t: float) -> float:
        position = orbits.propagate(satrec, t).position_meters
        return view.margin_radians(orbits.teme_to_itrf(position, orbits.sidereal_angle_radians(t)))

    found = orbits.intervals(margin, START, START + 86_400.0, 30.0)
    assert len(found) >= 2
    for start, end in found:
        assert 0.0 < end - start < 900.0
        assert margin(start) == pytest.approx(0.0, abs=1e-4)
