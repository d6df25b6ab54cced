"""What a twin run is judged by: the truth of the plant, watched while it flies, and the fate of the jobs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hil.plant.constants import ZERO_CELSIUS

if TYPE_CHECKING:
    from ground.records import JobRecord
    from hil.plant.plant import Plant

WATCH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class SatelliteReport:
    """One satellite over a run; ratios are of time, temperatures in degrees Celsius."""

    satellite: str
    sunlit_ratio: float
    optical_ratio: float
    antenna_ratio: float
    lowest_state_of_charge_ratio: float
    hottest_chip_celsius: float
    compute_joules: float
    brownouts: int


@dataclass(frozen=True, slots=True)
class TwinReport:
    """A whole run. ``digest`` is equal for equal runs."""

    constellation: str
    seed: int
    mission_seconds: float
    host_seconds: float
    messages: int
    digest: str
    jobs: dict[str, int]
    preemptions: int
    satellites: tuple[SatelliteReport, ...]

    @property
    def speed(self) -> float:
        """Mission seconds per host second."""
        return self.mission_seconds / self.host_seconds if self.host_seconds > 0 else float("inf")


@dataclass(slots=True)
class _Tally:
    samples: int = 0
    sunlit: float = 0.0
    links: Counter[str] = field(default_factory=Counter)
    lowest_charge: float = 1.0
    hottest_chip: float = -ZERO_CELSIUS
    compute_joules: float = 0.0


class Observer:
    """Looks at the plant every :data:`WATCH_SECONDS`."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._tallies = {name: _Tally() for name in plant.names}
        self._nodes = {layout.name: [node.name for node in layout.design.nodes] for layout in plant.layouts}

    def look(self) -> None:
        """Take the present truth in."""
        truth = self._plant.snapshot()
        for i, (name, tally) in enumerate(self._tallies.items()):
            tally.samples += 1
            tally.sunlit += float(truth.sunlit_ratio[i])
            tally.lowest_charge = min(tally.lowest_charge, float(truth.state_of_charge_ratio[i]))
            for link in ("optical", "antenna"):
                tally.links[link] += self._plant.link(name, link).up
            for node in self._nodes[name]:
                chip = self._plant.read(name, f"thermal.{node}.celsius")
                tally.hottest_chip = max(tally.hottest_chip, chip)
                tally.compute_joules += self._plant.read(name, f"load.{node}.watts") * WATCH_SECONDS

    def satellites(self) -> tuple[SatelliteReport, ...]:
        """What was seen."""
        return tuple(
            SatelliteReport(
                satellite=name,
                sunlit_ratio=tally.sunlit / max(1, tally.samples),
                optical_ratio=tally.links["optical"] / max(1, tally.samples),
                antenna_ratio=tally.links["antenna"] / max(1, tally.samples),
                lowest_state_of_charge_ratio=tally.lowest_charge,
                hottest_chip_celsius=tally.hottest_chip,
                compute_joules=tally.compute_joules,
                brownouts=int(np.asarray(self._plant.brownouts)[i]),
            )
            for i, (name, tally) in enumerate(self._tallies.items())
        )


def fates(records: list[JobRecord]) -> dict[str, int]:
    """How many jobs are in each state, by the state's name."""
    return dict(sorted(Counter(record.state for record in records).items()))
