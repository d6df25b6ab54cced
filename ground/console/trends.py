"""Values over time for plots: what was, from the archive, and what is planned, from the newest budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message

from ground.segment import GroundSegment
from skyrack.dictionary import message_type
from skyrack.limits import LimitSet
from skyrack.v1 import navigation_pb2, power_pb2, thermal_pb2

__all__ = ["Trends", "thinned"]

Point = tuple[float, float | None]
Panel = dict[str, Any]

_PAST_SECONDS: Final = 3 * 3600.0
_AHEAD_SECONDS: Final = 2 * 3600.0
_POINTS: Final = 360
_READ_SECONDS: Final = 900.0
_GAP_SECONDS: Final = 300.0
_PACKAGE: Final = "skyrack.v1."

Getter = Callable[[Any], float]

_SERIES: Final[dict[str, dict[str, Getter]]] = {
    "PowerStatus": {
        "charge": lambda message: message.state_of_charge_ratio,
        "array": lambda message: message.array_power_watts,
        "load": lambda message: message.load_power_watts,
    },
    "ThermalStatus": {
        "chip": lambda message: message.chip_maximum_celsius,
        "radiator": lambda message: message.radiator_celsius,
        "battery": lambda message: message.battery_celsius,
    },
    "ComputeStatus": {
        "draw": lambda message: message.draw_watts,
        "budget": lambda message: message.budget_watts,
    },
    "OrbitState": {"sunlit": lambda message: message.sunlit_ratio},
}


def thinned(points: Sequence[tuple[float, float]], step: float, gap: float = _GAP_SECONDS) -> list[Point]:
    """At most one low and one high of each step, in their order; a hole where nothing came for long."""
    found: list[Point] = []
    bucket: list[tuple[float, float]] = []

    def flush() -> None:
        if bucket:
            low = min(bucket, key=lambda point: point[1])
            high = max(bucket, key=lambda point: point[1])
            found.extend(sorted({low, high}))
            bucket.clear()

    before = -math.inf
    for at, value in points:
        if not math.isfinite(value):
            continue
        if bucket and (at // step != bucket[0][0] // step):
            flush()
        if at - before > gap and found:
            flush()
            found.append((before, None))
        bucket.append((at, value))
        before = at
    flush()
    return found


@dataclass(slots=True)
class Trends:
    """The plots of one satellite; keeps what it has read, and reads on from there."""

    segment: GroundSegment
    satellite: str
    limits: LimitSet
    _kept: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _read_to: float = -math.inf

    async def read(self) -> None:
        """Read on, up to now. Samples may come late: the last minutes are read again."""
        now = self.segment.clock.now()
        oldest = now - _PAST_SECONDS
        start = max(oldest, self._read_to - _READ_SECONDS)
        for kind, series in _SERIES.items():
            samples = await self.segment.history(self.satellite, _PACKAGE + kind, start, math.inf)
            parse = message_type(_PACKAGE + kind).FromString
            messages = [(sample.mission_time_seconds, parse(sample.payload)) for sample in samples]
            for name, getter in series.items():
                kept = [point for point in self._kept.get(name, []) if oldest <= point[0] < start]
                self._kept[name] = kept + [(at, float(getter(message))) for at, message in messages]
        self._read_to = now

    def data(self) -> dict[str, Any]:
        """What the plot draws."""
        now = self.segment.clock.now()
        start, end = now - _PAST_SECONDS, now + _AHEAD_SECONDS
        first = min((points[0][0] for points in self._kept.values() if points), default=now - 600.0)
        start = max(start, first)
        budget = self._ahead(now)
        panels: list[Panel] = [
            {
                "title": "Battery",
                "unit": "ratio",
                "high": 1,
                "series": [self._series("State of charge", "charge", start)],
                "limits": self._limits("PowerStatus.state_of_charge_ratio"),
            },
            {
                "title": "Compute",
                "unit": "watts",
                "low": 0,
                "series": [
                    self._series("Use", "draw", start),
                    self._series("Budget", "budget", start, is_step=True),
                    {"title": "Budget ahead", "points": budget, "steps": True, "style": "ahead", "until": end},
                ],
            },
            {
                "title": "Power",
                "unit": "watts",
                "low": 0,
                "series": [self._series("Array", "array", start), self._series("Loads", "load", start)],
            },
            {
                "title": "Temperature",
                "unit": "celsius",
                "series": [
                    self._series("Hottest chip", "chip", start),
                    self._series("Radiator", "radiator", start),
                    self._series("Battery", "battery", start),
                ],
                "limits": self._limits("ThermalStatus.chip_maximum_celsius"),
            },
        ]
        label = f"{self.satellite} over time: battery, compute, power and temperature"
        return {"start": start, "end": end, "panels": panels, "nights": self._nights(start, end), "label": label}

    def _series(self, title: str, name: str, start: float, *, is_step: bool = False) -> dict[str, Any]:
        step = (_PAST_SECONDS + _AHEAD_SECONDS) / _POINTS
        points = [
            (round(at, 1), None if value is None else float(f"{value:.5g}"))
            for at, value in thinned(self._kept.get(name, []), step)
            if at >= start
        ]
        return {"title": title, "points": points, "steps": is_step}

    def _limits(self, name: str) -> list[dict[str, Any]]:
        return [
            {"value": edge, "level": side.partition("_")[0]}
            for side, edge in self.limits.of(name).items()
            if edge is not None
        ]

    def _ahead(self, now: float) -> list[Point]:
        """The lesser of what power and cooling will allow."""
        budgets = [self._newest("PowerBudget"), self._newest("ThermalBudget")]
        found = [budget for budget in budgets if isinstance(budget, power_pb2.PowerBudget | thermal_pb2.ThermalBudget)]
        if not found:
            return []
        end = min(budget.end_seconds for budget in found)
        times = sorted(
            {now, *(s.start_seconds for budget in found for s in budget.compute if now < s.start_seconds < end)}
        )
        points: list[Point] = [(at, min(_watts(budget.compute, at) for budget in found)) for at in times if at < end]
        return [*points, (end, None)] if points else []

    def _nights(self, start: float, end: float) -> list[tuple[float, float]]:
        """When the satellite was, and will be, in the Earth's shadow."""
        found: list[tuple[float, float]] = []
        since: float | None = None
        last = start
        for at, ratio in self._kept.get("sunlit", []):
            if ratio < 0.5 and since is None:
                since = at
            elif ratio >= 0.5 and since is not None:
                found.append((since, at))
                since = None
            last = at
        if since is not None:
            found.append((since, last))
        forecast = self._newest("OrbitForecast")
        if isinstance(forecast, navigation_pb2.OrbitForecast):
            found += [
                (max(eclipse.start_seconds, last), eclipse.end_seconds)
                for eclipse in forecast.eclipses
                if eclipse.end_seconds > last and eclipse.start_seconds < end
            ]
        return found

    def _newest(self, name: str) -> Message | None:
        found = self.segment.picture.newest(self.satellite, name)
        return None if found is None else found[1]


def _watts(slices: Iterable[power_pb2.BudgetSlice], at: float) -> float:
    watts = 0.0
    for piece in slices:
        if piece.start_seconds > at:
            break
        watts = piece.watts
    return watts
