"""What the map shows: the Sun, satellites, relays and stations, and which of them are linked.

Positions go to the browser as vectors with a time; there they are moved on between two messages.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sgp4.api import Satrec

from ground.picture import Picture
from ground.records import SatelliteRecord
from skyrack.orbits import propagate, relay_satrecs, sidereal_angle_radians, sun_position
from skyrack.satellite import ConstellationFile
from skyrack.v1 import gateway_pb2, laser_pb2, navigation_pb2

__all__ = ["Scenery", "heaven"]

Scene = dict[str, Any]

_RELAYS_SECONDS: Final = 900.0
"""Relays are moved on as two bodies in the browser, which the Earth's flattening bends by 0.1 degrees in this time."""
_RELAYS_MAXIMUM: Final = 1000


def heaven(now: float) -> Scene:
    """Where the Sun stands over the turning Earth: right ascension and declination in degrees."""
    x, y, z = sun_position(now)
    return {
        "time": now,
        "sidereal": sidereal_angle_radians(now),
        "ascension": math.degrees(math.atan2(y, x)),
        "declination": math.degrees(math.atan2(z, math.hypot(x, y))),
    }


@dataclass(slots=True)
class Scenery:
    """Makes scenes; knows the relays and stations of a constellation."""

    constellation: ConstellationFile | None
    _relays: list[tuple[str, Satrec]] = field(default_factory=list)
    _relays_at: float = -math.inf
    _drawn: list[Scene] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.constellation is not None:
            self._relays = relay_satrecs(self.constellation)[:_RELAYS_MAXIMUM]

    def stations(self) -> list[Scene]:
        """The ground stations."""
        if self.constellation is None:
            return []
        return [
            {"name": station.name, "latitude": station.latitude_degrees, "longitude": station.longitude_degrees}
            for station in self.constellation.stations
        ]

    def relays(self, now: float) -> list[Scene]:
        """The relays; the same list again until it has become inexact."""
        if now - self._relays_at > _RELAYS_SECONDS or now < self._relays_at:
            self._relays_at = now
            self._drawn = [
                {"name": name, "time": now, "body": _body(*propagate(satrec, now))} for name, satrec in self._relays
            ]
        return self._drawn

    def satellite(self, picture: Picture, record: SatelliteRecord, level: str, href: str) -> Scene:
        """One satellite; without a body while nobody knows where it is."""
        found = picture.newest(record.name, "OrbitState")
        scene: Scene = {"name": record.name, "href": href, "level": level, "summary": _summary(record)}
        if found is not None and isinstance(found[1], navigation_pb2.OrbitState):
            state = found[1]
            r, v = state.position_meters, state.velocity_meters_per_second
            scene["time"] = state.mission_time_seconds or found[0]
            if math.hypot(r.x, r.y, r.z) > 1e6 and math.hypot(v.x, v.y, v.z) > 1.0:
                scene["body"] = _body((r.x, r.y, r.z), (v.x, v.y, v.z))
            scene["lit"] = state.sunlit_ratio > 0.5
        return scene

    def links(self, picture: Picture, record: SatelliteRecord, now: float) -> Iterator[Scene]:
        """Links of a satellite that are up, by what it said last."""
        if not record.is_reachable:
            return
        for message in picture.instances(record.name, "LaserStatus"):
            if isinstance(message, laser_pb2.LaserStatus) and message.peer and message.state == _COMMUNICATE:
                yield {"a": record.name, "b": message.peer, "kind": "optical"}
        link, forecast = picture.newest(record.name, "LinkStatus"), picture.newest(record.name, "OrbitForecast")
        if link is None or forecast is None:
            return
        status, ahead = link[1], forecast[1]
        if not isinstance(status, gateway_pb2.LinkStatus) or not isinstance(ahead, navigation_pb2.OrbitForecast):
            return
        if status.link == "antenna":
            for contact in ahead.contacts:
                if contact.link == "antenna" and contact.start_seconds <= now < contact.end_seconds:
                    yield {"a": record.name, "b": contact.peer, "kind": "antenna"}


_COMMUNICATE: Final = laser_pb2.LASER_STATE_COMMUNICATE


def _body(position: tuple[float, float, float], velocity: tuple[float, float, float]) -> list[float]:
    """Kilometres and kilometres per second, to the metre."""
    return [round(part / 1e3, 3) for part in position] + [round(part / 1e3, 6) for part in velocity]


def _summary(record: SatelliteRecord) -> str:
    parts: list[Mapping[str, Any] | str] = [record.mode or "not heard yet"]
    if record.state_of_charge_ratio is not None:
        parts.append(f"battery {record.state_of_charge_ratio:.0%}")
    if record.sunlit_ratio is not None:
        parts.append("in sunlight" if record.sunlit_ratio > 0.5 else "in eclipse")
    if record.jobs_open:
        parts.append(f"{record.jobs_open} job{'s' if record.jobs_open > 1 else ''}")
    if record.heard_seconds is not None and not record.is_reachable:
        parts.append("out of contact")
    return ", ".join(map(str, parts))
