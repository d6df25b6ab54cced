import warnings
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from hil.plant import eclipse, frames, sun

EARTH_RADIUS = 6_400_000.0
SUN_RADIUS = 696_000_000.0
# Orekit, EclipseDetectorTest.
EPOCH_TT = (datetime(1969, 7, 28, 4, tzinfo=UTC) - datetime(2000, 1, 1, 12, tzinfo=UTC)).total_seconds()
MU = 3.9860047e14
POSITION = (-6142438.668, 3492467.560, -25767.2568)
VELOCITY = (505.8479685, 942.7809215, 7435.922231)


@pytest.fixture(scope="module")
def orbit() -> Callable[[float], frames.Array]:
    def two_body(_: float, state: frames.Array) -> frames.Array:
        return np.concatenate([state[3:], -MU * state[:3] / np.linalg.norm(state[:3]) ** 3])

    flown = solve_ivp(two_body, (0.0, 6000.0), [*POSITION, *VELOCITY], rtol=1e-12, atol=1e-6, dense_output=True)
    return lambda seconds: flown.sol(seconds)[:3]


def lit(orbit: Callable[[float], frames.Array], seconds: float, radius: float, flattening: float) -> float:
    t = np.array([(EPOCH_TT + seconds) / 86_400.0 / 36_525.0])
    return float(
        eclipse.sunlit_fraction(orbit(seconds)[np.newaxis], sun.sun_j2000(t), radius, SUN_RADIUS, flattening)[0]
    )


def edge(is_after: Callable[[float], bool], low: float, high: float) -> float:
    while high - low > 1e-5:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if is_after(middle) else (middle, high)
    return high


def test_eclipse_of_orekit_to_three_hundredths_of_a_second(orbit: Callable[[float], frames.Array]) -> None:
    umbra_entry = edge(lambda s: lit(orbit, s, EARTH_RADIUS, 0.0) <= 0.0, 2200.0, 2400.0)
    penumbra_exit = edge(lambda s: lit(orbit, s, EARTH_RADIUS, 0.0) >= 1.0, 4300.0, 4500.0)
    assert umbra_entry == pytest.approx(2303.1835, abs=0.03)
    assert penumbra_exit == pytest.approx(4388.156, abs=0.03)


def test_flattening_shortens_the_eclipse_by_about_12_s(orbit: Callable[[float], frames.Array]) -> None:
    def duration(flattening: float) -> float:
        entry = edge(lambda s: lit(orbit, s, 6_378_137.0, flattening) < 0.5, 2200.0, 2450.0)
        return edge(lambda s: lit(orbit, s, 6_378_137.0, flattening) > 0.5, 4200.0, 4500.0) - entry

    assert duration(0.0) - duration(1.0 / 298.257) == pytest.approx(12.0, abs=1.0)


def test_sun_agrees_with_the_ephemeris_to_15_arcseconds() -> None:
    from skyfield.api import Loader
    from skyfield_data import get_skyfield_data_path

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load = Loader(get_skyfield_data_path(), verbose=False)
        times = load.timescale(builtin=True).tt_jd(np.linspace(2_440_423.0, 2_440_423.0 + 60 * 365.25, 500))
        bodies = load("de421.bsp")
        truth = (bodies["sun"] - bodies["earth"]).at(times).position.m.T
        in_teme = _teme_from_icrf(truth, times)
    ours = sun.sun_j2000((times.tt - 2_451_545.0) / 36_525.0)
    assert separation(ours, truth).max() < 15.0
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1) / np.linalg.norm(truth, axis=1), 1.0, atol=1e-4)
    utc = (times.tt - 2_440_587.5) * 86_400.0 - frames.TT_MINUS_UTC_SECONDS
    assert separation(sun.sun_teme(utc), in_teme).max() < 16.0


def _teme_from_icrf(position: frames.Array, times: object) -> frames.Array:
    from skyfield.sgp4lib import TEME

    rotated: frames.Array = np.einsum("ijt,tj->ti", TEME.rotation_at(times), position)
    return rotated


def separation(a: frames.Array, b: frames.Array) -> frames.Array:
    cross = np.linalg.norm(np.cross(a, b), axis=1)
    arcseconds: frames.Array = np.degrees(np.arctan2(cross, np.einsum("ti,ti->t", a, b))) * 3600.0
    return arcseconds


@given(st.floats(0.0, 2.0 * np.pi), st.floats(6.6e6, 5e7))
def test_light_falls_from_one_to_zero_through_the_shadow_edge(angle: float, radius: float) -> None:
    sun_position = np.array([1.496e11, 0.0, 0.0])
    angles = angle + np.linspace(0.0, np.pi, 50)
    satellites = radius * np.stack([np.cos(angles), np.sin(angles), np.zeros(50)], axis=-1)
    fraction = eclipse.sunlit_fraction(satellites, sun_position)
    assert ((fraction >= 0.0) & (fraction <= 1.0)).all()
    sunward = satellites[:, 0] > 0.0
    assert (fraction[sunward] == 1.0).all()


def test_half_the_sun_is_seen_about_where_its_centre_sets() -> None:
    sun_position = np.array([1.496e11, 0.0, 0.0])
    radius = 7e6
    below = np.pi / 2 + np.arccos(6_378_137.0 / radius) + np.linspace(-0.01, 0.01, 2001)
    fraction = eclipse.sunlit_fraction(
        radius * np.stack([np.cos(below), np.sin(below), 0 * below], axis=-1), sun_position, flattening=0.0
    )
    assert (np.diff(fraction) <= 0.0).all()
    assert abs(below[np.argmin(np.abs(fraction - 0.5))] - below[1000]) < 2e-4
