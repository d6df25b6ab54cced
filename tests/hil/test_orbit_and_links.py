import math

import numpy as np
import pytest
from sgp4.api import WGS72, Satrec

from hil.plant import optics
from hil.plant.antenna import Stations
from hil.plant.frames import geodetic_to_itrf, itrf_to_teme
from hil.plant.orbit import OrbitError, Orbits
from skyrack.satellite import GroundStation

EPOCH = (2_433_281.5 + 27_000 - 2_440_587.5) * 86_400.0


def satrec(mean_anomaly: float, radius: float = 6_928_137.0, drag: float = 0.0) -> Satrec:
    record = Satrec()
    motion = math.sqrt(3.986008e14 / radius**3) * 60.0
    record.sgp4init(WGS72, "i", 1, 27_000.0, drag, 0.0, 0.0, 1e-3, 0.0, math.radians(53.0), mean_anomaly, motion, 0.0)
    return record


@pytest.mark.parametrize("step", [0.5, 1.0, 7.0, 30.0])
def test_interpolation_agrees_with_sgp4_to_ten_centimetres(step: float) -> None:
    orbits = Orbits([satrec(0.0), satrec(2.0)], ["a", "b"])
    start = EPOCH + 12_345.678
    exact, _ = orbits.states(start + step * np.arange(100, dtype=np.float64))
    assert np.abs(orbits.positions(start, step, 100) - exact).max() < 0.1


def test_a_position_does_not_depend_on_where_its_block_begins() -> None:
    orbits = Orbits([satrec(1.0)], ["a"])
    long, short = orbits.positions(EPOCH, 1.0, 200), orbits.positions(EPOCH + 150.0, 1.0, 50)
    np.testing.assert_allclose(long[150:], short, atol=1e-6)


def test_a_decayed_orbit_is_named() -> None:
    with pytest.raises(OrbitError, match="orbit of low:"):
        Orbits([satrec(0.0, 6_400_000.0, 0.1)], ["low"]).states(np.array([EPOCH + 86_400.0 * 100]))


def test_line_of_sight_clips_to_the_segment() -> None:
    a = np.array([7e6, 0.0, 0.0])
    assert optics.line_of_sight(a, np.array([9e6, 0.0, 0.0]))  # the Earth is behind a, not between
    assert not optics.line_of_sight(a, np.array([-7e6, 0.0, 0.0]))
    low, high = 6_378_137.0 + 79_000.0, 6_378_137.0 + 81_000.0
    assert not optics.line_of_sight(np.array([low, -1e6, 0.0]), np.array([low, 1e6, 0.0]))
    assert optics.line_of_sight(np.array([high, -1e6, 0.0]), np.array([high, 1e6, 0.0]))


def test_directions_in_the_orbital_frame() -> None:
    position, velocity = np.array([7e6, 0.0, 0.0]), np.array([0.0, 7500.0, 0.0])
    ahead = optics.sight(position, velocity, position + np.array([0.0, 1e6, 0.0]), velocity)
    assert (ahead.azimuth, ahead.elevation) == pytest.approx((0.0, 0.0))
    above = optics.sight(position, velocity, position + np.array([1e6, 0.0, 0.0]), velocity)
    assert above.elevation == pytest.approx(math.pi / 2)
    # z to the Earth, x along the velocity: y is against the orbit's normal.
    side = optics.sight(position, velocity, position + np.array([0.0, 0.0, -1e6]), velocity)
    assert side.azimuth == pytest.approx(math.pi / 2)


def test_point_ahead_is_twice_the_crossing_speed_over_c() -> None:
    position, velocity = np.array([7e6, 0.0, 0.0]), np.array([0.0, 7500.0, 0.0])
    view = optics.sight(
        position, velocity, position + np.array([0.0, 1e6, 0.0]), velocity + np.array([0.0, 0.0, -3000.0])
    )
    assert view.ahead_azimuth == pytest.approx(2.0 * 3000.0 / 299_792_458.0)
    assert view.ahead_elevation == pytest.approx(0.0, abs=1e-12)


def test_link_budget_by_hand() -> None:
    half_angle, wavelength = np.array([40e-6]), np.array([1.55e-6])
    gain = optics.path_gain(half_angle, np.array([0.1]), wavelength)
    # A Gaussian beam lights its axis with 2 P / (pi w^2 d^2); the aperture takes pi D^2 / 4 of it.
    by_area = 2.0 / (math.pi * 40e-6**2) * math.pi * 0.1**2 / 4.0
    assert gain[0] == pytest.approx(by_area)
    assert optics.pointing_loss(half_angle, half_angle)[0] == pytest.approx(math.exp(-2.0))
    photon = 6.62607015e-34 * 299_792_458.0 / 1.55e-6
    assert optics.rate_bits_per_second(np.array([100.0 * photon]), np.array([100.0]), wavelength)[0] == pytest.approx(
        1.0
    )


def test_the_highest_station_above_its_mask_is_taken() -> None:
    def station(name: str, longitude: float, mask: float = 5.0) -> GroundStation:
        return GroundStation(
            name=name, latitude_degrees=0.0, longitude_degrees=longitude, minimum_elevation_degrees=mask
        )

    stations = Stations((station("west", -5.0), station("east", 3.0), station("steep", 1.0, 80.0)))
    times = np.array([EPOCH])
    overhead = itrf_to_teme(geodetic_to_itrf(0.0, 0.0, 550e3)[np.newaxis, np.newaxis], times[:, np.newaxis])
    index, distance = stations.best(overhead, times)
    assert stations.names[index[0, 0]] == "east"
    ground = geodetic_to_itrf(0.0, math.radians(3.0), 0.0)
    assert distance[0, 0] == pytest.approx(np.linalg.norm(geodetic_to_itrf(0.0, 0.0, 550e3) - ground))
    assert stations.best(-overhead, times)[0][0, 0] == -1
