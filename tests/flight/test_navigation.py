"""Navigation's pure modules: state, forecast, residual."""

from __future__ import annotations

import math

import pytest

from flight.navigation.forecast import Forecaster
from flight.navigation.orbit import estimate
from flight.navigation.residual import Agreement, ResidualMonitor
from skyrack import files, orbits
from skyrack.satellite import ConstellationFile, load_constellation


@pytest.fixture(scope="module")
def constellation() -> ConstellationFile:
    return load_constellation(files.shipped("constellations", "demo"))[0]


def test_the_estimate_holds_together(constellation: ConstellationFile) -> None:
    satrec = orbits.satellite_satrec(constellation, "sat-1")
    for minutes in range(0, 100, 7):
        state = estimate(satrec, constellation.epoch_seconds + 60.0 * minutes)
        assert orbits.norm(state.sun_direction) == pytest.approx(1.0)
        assert 1.46e11 < state.sun_distance_meters < 1.53e11
        assert abs(state.place.latitude_degrees) < 53.5
        assert 530e3 < state.place.altitude_meters < 590e3
        assert abs(state.beta_angle_degrees) <= 90.0
        assert orbits.dot(state.position_meters, state.sun_direction) < 0.0 or state.sunlit_ratio == 1.0


def test_the_demonstration_has_an_eclipse_in_its_first_orbit(constellation: ConstellationFile) -> None:
    start = constellation.epoch_seconds + constellation.start_seconds
    for satellite in constellation.satellites:
        satrec = orbits.satellite_satrec(constellation, satellite.name)
        forecast = Forecaster(satrec, constellation.stations, start).forecast(start)
        first, end = forecast.eclipses[0]
        assert 0.0 < first - start < forecast.period_seconds
        assert 1500.0 < end - first < 2300.0


def test_a_forecast_made_bit_by_bit_is_the_one_made_at_once(constellation: ConstellationFile) -> None:
    satrec, start = orbits.satellite_satrec(constellation, "sat-2"), constellation.epoch_seconds
    stepped = Forecaster(satrec, constellation.stations, start)
    for minute in range(200):
        found = stepped.forecast(start + 60.0 * minute)
    fresh = Forecaster(satrec, constellation.stations, start + 60.0 * 199).forecast(start + 60.0 * 199)
    assert found.mission_time_seconds == fresh.mission_time_seconds
    assert found.sunlit_ratio == fresh.sunlit_ratio
    assert len(found.eclipses) == len(fresh.eclipses)
    for a, b in zip(found.eclipses, fresh.eclipses, strict=True):
        assert a[1] == pytest.approx(b[1], abs=0.05)
    assert [c.station for c in found.contacts] == [c.station for c in fresh.contacts]
    assert found.horizon_seconds == pytest.approx(2 * found.period_seconds, abs=30.0)


def test_the_sunlit_profile_and_the_eclipses_agree(constellation: ConstellationFile) -> None:
    satrec, start = orbits.satellite_satrec(constellation, "sat-1"), constellation.epoch_seconds
    forecast = Forecaster(satrec, (), start).forecast(start + 45.0)
    assert forecast.mission_time_seconds == start + 30.0
    for k, ratio in enumerate(forecast.sunlit_ratio):
        time = forecast.mission_time_seconds + k * forecast.step_seconds
        inside = any(a < time < b for a, b in forecast.eclipses)
        assert ratio < 1.0 if inside else ratio == 1.0 or time < start + 45.0
    first = forecast.eclipses[0]
    assert forecast.next_eclipse_seconds(first[0] - 10.0) == pytest.approx(10.0)
    assert forecast.next_eclipse_seconds(first[0] + 10.0) == 0.0


def test_without_eclipses_the_next_one_is_beyond_the_horizon() -> None:
    constellation = load_constellation(files.shipped("constellations", "dawn-dusk"))[0]
    satrec = orbits.satellite_satrec(constellation, constellation.satellites[0].name)
    forecast = Forecaster(satrec, (), constellation.epoch_seconds).forecast(constellation.epoch_seconds)
    assert forecast.eclipses == ()
    assert forecast.next_eclipse_seconds(constellation.epoch_seconds) == forecast.horizon_seconds
    assert set(forecast.sunlit_ratio) == {1.0}


def test_one_bad_fix_is_noise_and_several_are_news() -> None:
    monitor = ResidualMonitor(1000.0, persistence=3)
    here, there = (7e6, 0.0, 0.0), (7e6, 2000.0, 0.0)
    assert monitor.update(here, there) is Agreement.UNCHANGED
    assert monitor.update(here, here) is Agreement.UNCHANGED
    told = [monitor.update(here, there) for _ in range(5)]
    assert told == [Agreement.UNCHANGED, Agreement.UNCHANGED, Agreement.LOST, Agreement.UNCHANGED, Agreement.UNCHANGED]
    assert monitor.residual_meters == pytest.approx(2000.0)
    told = [monitor.update(here, here) for _ in range(3)]
    assert told[-1] is Agreement.REGAINED
    assert math.isclose(monitor.residual_meters, 0.0)
