"""Everything that draws power, its switches, and where its heat goes; arrays are (satellite, consumer)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil.plant.frames import Array
from hil.plant.layout import SatelliteLayout


class Loads:
    """Demands, switches and shorts of all consumers; sums are made anew only after a change."""

    def __init__(self, satellites: Sequence[SatelliteLayout], thermal_columns: int) -> None:
        shape = (len(satellites), max(len(satellite.consumers) for satellite in satellites))
        self.demand_watts = np.zeros(shape)
        self.short_watts = np.zeros(shape)
        self.closed: NDArray[np.bool_] = np.zeros(shape, dtype=bool)
        self._sheddable: NDArray[np.bool_] = np.zeros(shape, dtype=bool)
        column_of_heat = np.zeros(shape, dtype=np.int64)
        for satellite in satellites:
            row = satellite.index
            for column, consumer in enumerate(satellite.consumers):
                self.demand_watts[row, column] = consumer.watts
                self.closed[row, column] = consumer.kind != "heater"
                self._sheddable[row, column] = consumer.sheddable
                column_of_heat[row, column] = consumer.node
        self._heat_shape = (len(satellites), thermal_columns)
        self._heat_index = (column_of_heat + thermal_columns * np.arange(len(satellites))[:, np.newaxis]).ravel()
        self._sum()

    def arrays(self) -> dict[str, NDArray[Any]]:
        """All state, by name; to be written over in place, before :meth:`changed`."""
        return {
            "loads.demand_watts": self.demand_watts,
            "loads.closed": self.closed,
            "fault.short_watts": self.short_watts,
        }

    def changed(self) -> None:
        """Say that a demand, a switch or a short was set."""
        self._changed = True

    def draw(self) -> tuple[Array, Array]:
        """Power that each satellite's bus is asked for, and its heat on each thermal node, W."""
        if self._changed:
            self._sum()
        return self.total_watts, self._heat_watts

    def shed(self, satellites: NDArray[np.bool_]) -> None:
        """Open the switches of everything that may be shed."""
        self.closed[satellites[:, np.newaxis] & self._sheddable] = False
        self._changed = True

    def _sum(self) -> None:
        self.drawn_watts = (self.demand_watts + self.short_watts) * self.closed
        self.total_watts: Array = self.drawn_watts.sum(axis=1)
        heat = np.bincount(self._heat_index, self.drawn_watts.ravel(), minlength=int(np.prod(self._heat_shape)))
        self._heat_watts: Array = heat.astype(np.float64, copy=False).reshape(self._heat_shape)
        self._changed = False
