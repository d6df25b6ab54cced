"""Values over time for plots: what was, from the archive, and what is planned, from the newest budgets."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from google.protobuf.message import Message

from ground.segment import GroundSegment
from ground.telemetry.query import TelemetrySeries, history_of
from skyrack.limits import LimitSet
from skyrack.v1 import navigation_pb2, power_pb2, thermal_pb2

__all__ = ["Trends"]

Point = tuple[float, float | None]
Panel = dict[str, Any]

_PAST_SECONDS: Final = 3 * 3600.0
_AHEAD_SECONDS: Final = 2 * 3600.0
_POINTS: Final = 360
_GAP_SECONDS: Final = 300.0
_SPIKE_RATIO: Final = 0.06

_FIELDS: Final = {
    "charge": "PowerStatus.state_of_charge_ratio",
    "array": "PowerStatus.array_power_watts",
    "load": "PowerStatus.load_power_watts",
    "chip": "ThermalStatus.chip_maximum_celsius",
    "radiator": "ThermalStatus.radiator_celsius",
    "battery": "ThermalStatus.battery_celsius",
    "draw": "ComputeStatus.draw_watts",
    "budget": "ComputeStatus.budget_watts",
    "sunlit": "OrbitState.sunlit_ratio",
}


def _points(series: TelemetrySeries, *, is_step: bool) -> list[Point]:
    """The mean of each step, or least and greatest where they lie far apart; a hole where nothing came for long."""
    numbers = [value for value in (*series.minimum, *series.maximum) if value is not None]
    spike = _SPIKE_RATIO * (max(numbers) - min(numbers)) if numbers else 0.0
    found: list[Point] = []
    before = math.inf
    columns = (series.mission_time_seconds, series.minimum, series.maximum, series.value)
    for at, low, high, mean in zip(*columns, strict=True):
        if at - before > _GAP_SECONDS:
            found.append((before, None))
        before = at
        if is_step or low is None or high is None or high - low < spike:
            found.append((at, _short(mean)))
        else:
            found += [(at, _short(low)), (at, _short(high))]
    return found


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


@dataclass(slots=True)
class Trends:
    """The plots of one satellite; keeps what it has read, and reads on from there."""

    segment: GroundSegment
    satellite: str
    limits: LimitSet
    _kept: dict[str, TelemetrySeries] = field(default_factory=dict)

    async def read(self) -> None:
        """Read what was, up to now."""
        now = self.segment.clock.now()
        step = (_PAST_SECONDS + _AHEAD_SECONDS) / _POINTS
        start = (now - _PAST_SECONDS) // step * step
        archiver = self.segment.telemetry_service.archiver
        fields = tuple(_FIELDS.values())
        found = await history_of(archiver, self.satellite, fields, self.limits, start, now + step, step)
        by_field = {series.field: series for series in found.series}
        self._kept = {name: by_field[field] for name, field in _FIELDS.items() if field in by_field}

    def data(self) -> dict[str, Any]:
        """What the plot draws."""
        now = self.segment.clock.now()
        start, end = now - _PAST_SECONDS, now + _AHEAD_SECONDS
        firsts = [series.mission_time_seconds[0] for series in self._kept.values() if series.mission_time_seconds]
        first = min(firsts, default=now - 600.0)
        start = max(start, first)
        budget = self._ahead(now, end)
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
        kept = self._kept.get(name)
        points = [] if kept is None else [point for point in _points(kept, is_step=is_step) if point[0] >= start]
        return {"title": title, "points": points, "steps": is_step}

    def _limits(self, name: str) -> list[dict[str, Any]]:
        return [
            {"value": edge, "level": side.partition("_")[0]}
            for side, edge in self.limits.of(name).items()
            if edge is not None
        ]

    def _ahead(self, now: float, until: float) -> list[Point]:
        """The lesser of what power and cooling will allow."""
        budgets = [self._newest("PowerBudget"), self._newest("ThermalBudget")]
        found = [budget for budget in budgets if isinstance(budget, power_pb2.PowerBudget | thermal_pb2.ThermalBudget)]
        if not found:
            return []
        end = min(until, *(budget.end_seconds for budget in found))
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
        kept = self._kept.get("sunlit")
        for at, ratio in zip(kept.mission_time_seconds, kept.value, strict=True) if kept else ():
            if ratio is None:
                continue
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
