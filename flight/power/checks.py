"""Whether the power meters may be believed: what the array gives is what battery, loads and bus take.

One balance for all meters: it tells that one of them is wrong, or that something draws what no meter sees. Which one,
is told where it can be: a meter that is silent, or has not moved while the others say that it should have.
"""

from __future__ import annotations

import math
from typing import Final

from flight.power.meters import Readings
from flight.sensor_check import SensorCheck, Tolerance, told

BALANCE: Final = "power balance"
_SCATTER_RATIO: Final = 0.03
"""Of the array's full scale. Usual are 0.006."""
_RESIDUAL_RATIO: Final = 0.06
"""Of the array's full scale. Usual are 0.022: heaters, losses, and what meters are off by when they are made."""
_MOVED_RATIO: Final = 0.1
_REPEATS: Final = 60


class PowerChecks:
    """All power meters of a satellite; ``always_on_watts`` is drawn and not metered."""

    def __init__(
        self, full_scale_watts: float, always_on_watts: float, loads: tuple[str, ...], patience_seconds: float
    ) -> None:
        self._always_on_watts = always_on_watts
        self._balance = SensorCheck(
            BALANCE, Tolerance(_SCATTER_RATIO * full_scale_watts, _RESIDUAL_RATIO * full_scale_watts)
        )
        moved = Tolerance(moved=_MOVED_RATIO * full_scale_watts, repeats=_REPEATS)
        self._array = SensorCheck("array", moved, patience_seconds=patience_seconds)
        # Who is silent is told of as battery_unreadable.
        self._battery = SensorCheck("battery", Tolerance(repeats=_REPEATS), patience_seconds=math.inf)
        self._loads = {
            name: SensorCheck(f"load.{name}", Tolerance(repeats=_REPEATS), patience_seconds=patience_seconds)
            for name in loads
        }

    def look(self, now: float, readings: Readings, battery_watts: float | None) -> list[tuple[str, str, str]]:
        """Judge a second's readings: name, text and sensor of the events to tell."""
        loads = readings.loads
        changes = [
            change
            for name, check in self._loads.items()
            for change in check.look(now, loads[name].watts if loads[name].fresh else None, loads[name].watts)
        ]
        taken = sum(reading.watts for reading in loads.values()) + self._always_on_watts
        array = readings.array_watts
        if battery_watts is not None:
            changes += self._battery.look(now, battery_watts, battery_watts)
            changes += self._array.look(now, array, battery_watts + taken)
            if array is not None and all(reading.fresh for reading in loads.values()):
                changes += self._balance.look(now, array, battery_watts + taken)
        elif array is None:
            changes += self._array.look(now, None, 0.0)
        return [(*told(change, "W"), change.sensor) for change in changes]
