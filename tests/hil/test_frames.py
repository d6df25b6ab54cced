from datetime import UTC, datetime

import numpy as np
import pytest

from hil.plant import frames

# Vallado et al., AIAA 2006-6753, appendix C.
EPOCH = datetime(2004, 4, 6, 7, 51, 28, 386_009, tzinfo=UTC).timestamp()
TEME = np.array([5094.18016210, 6127.64465950, 6380.34453270]) * 1e3
ITRF = np.array([-1033.47938300, 7901.29527540, 6380.35659580]) * 1e3


def test_teme_to_itrf_agrees_with_vallado_to_the_rounding_of_his_julian_date() -> None:
    ours = frames.teme_to_itrf(TEME, EPOCH, -0.439961, (-0.140682, 0.333309))
    # His Julian date is one double: 40 us, or 2 cm of the Earth's turning.
    assert np.abs(ours - ITRF).max() < 0.02
    assert ours[2] == pytest.approx(ITRF[2], abs=1e-3)


def test_leaving_out_polar_motion_and_ut1_costs_what_is_said() -> None:
    assert np.linalg.norm(frames.teme_to_itrf(TEME, EPOCH) - ITRF) < 420.0


def test_itrf_to_teme_undoes_teme_to_itrf() -> None:
    times = EPOCH + np.arange(5) * 1000.0
    there = frames.teme_to_itrf(np.broadcast_to(TEME, (5, 3)), times)
    np.testing.assert_allclose(frames.itrf_to_teme(there, times), np.broadcast_to(TEME, (5, 3)), atol=1e-6)


def test_geodetic_places() -> None:
    pole = frames.geodetic_to_itrf(np.pi / 2, 0.0, 100.0)
    assert pole[2] == pytest.approx(6_356_752.314 + 100.0, abs=1e-3)
    assert frames.geodetic_to_itrf(0.0, np.pi / 2, 0.0)[1] == pytest.approx(6_378_137.0)


def test_julian_day_keeps_microseconds() -> None:
    day, fraction = frames.julian_day(EPOCH)
    assert float(day) == 2453101.5
    assert float(fraction) * 86_400.0 == pytest.approx(7 * 3600 + 51 * 60 + 28.386009, abs=2e-6)
