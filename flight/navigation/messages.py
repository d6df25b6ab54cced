"""Navigation's values as messages of the contract."""

from __future__ import annotations

from flight.navigation.forecast import Forecast
from flight.navigation.orbit import OrbitEstimate
from skyrack.orbits import Vector
from skyrack.v1.navigation_pb2 import Contact, Interval, OrbitForecast, OrbitState, Vector3


def orbit_state(state: OrbitEstimate, gnss_residual_meters: float) -> OrbitState:
    """State of the orbit."""
    return OrbitState(
        mission_time_seconds=state.mission_time_seconds,
        position_meters=_vector(state.position_meters),
        velocity_meters_per_second=_vector(state.velocity_meters_per_second),
        sun_direction=_vector(state.sun_direction),
        sun_distance_meters=state.sun_distance_meters,
        sunlit_ratio=state.sunlit_ratio,
        latitude_degrees=state.place.latitude_degrees,
        longitude_degrees=state.place.longitude_degrees,
        altitude_meters=state.place.altitude_meters,
        beta_angle_degrees=state.beta_angle_degrees,
        gnss_residual_meters=gnss_residual_meters,
    )


def orbit_forecast(forecast: Forecast, now: float) -> OrbitForecast:
    """Eclipses and contacts ahead of mission time ``now``."""
    return OrbitForecast(
        mission_time_seconds=forecast.mission_time_seconds,
        horizon_seconds=forecast.horizon_seconds,
        period_seconds=forecast.period_seconds,
        eclipses=[Interval(start_seconds=start, end_seconds=end) for start, end in forecast.eclipses],
        contacts=[
            Contact(
                peer=contact.station,
                start_seconds=contact.start_seconds,
                end_seconds=contact.end_seconds,
                link="antenna",
            )
            for contact in forecast.contacts
        ],
        next_eclipse_seconds=forecast.next_eclipse_seconds(now),
        step_seconds=forecast.step_seconds,
        sunlit_ratio=forecast.sunlit_ratio,
    )


def _vector(value: Vector) -> Vector3:
    x, y, z = value
    return Vector3(x=x, y=y, z=z)
