"""What a twin run is judged by: the truth of the plant, watched while it flies, and the fate of the jobs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from hil.plant.constants import ZERO_CELSIUS

if TYPE_CHECKING:
    from ground.records import JobRecord
    from hil.fault_watch import FaultOutcome
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
    faults: tuple[FaultOutcome, ...] = ()

    @property
    def speed(self) -> float:
        """Mission seconds per host second."""
        return self.mission_seconds / self.host_seconds if self.host_seconds > 0 else float("inf")


@dataclass(frozen=True, slots=True)
class Moment:
    """The truth of one satellite at a time, seconds after the start; temperatures in degrees Celsius."""

    seconds: float
    sunlit_ratio: float
    state_of_charge_ratio: float
    array_watts: float
    load_watts: float
    compute_watts: float
    chip_celsius: float
    radiator_celsius: float
    optical: bool


@dataclass(slots=True)
class _Tally:
    samples: int = 0
    sunlit: float = 0.0
    links: Counter[str] = field(default_factory=Counter)
    lowest_charge: float = 1.0
    hottest_chip: float = -ZERO_CELSIUS
    compute_joules: float = 0.0
    trace: list[Moment] = field(default_factory=list)


class Observer:
    """Looks at the plant every :data:`WATCH_SECONDS`."""

    def __init__(self, plant: Plant) -> None:
        self._plant = plant
        self._start = plant.time
        self._tallies = {name: _Tally() for name in plant.names}
        self._nodes = {layout.name: [node.name for node in layout.design.nodes] for layout in plant.layouts}

    def look(self) -> None:
        """Take the present truth in."""
        truth = self._plant.snapshot()
        for i, (name, tally) in enumerate(self._tallies.items()):
            nodes = self._nodes[name]
            moment = Moment(
                seconds=truth.mission_time_seconds - self._start,
                sunlit_ratio=float(truth.sunlit_ratio[i]),
                state_of_charge_ratio=float(truth.state_of_charge_ratio[i]),
                array_watts=float(truth.array_watts[i]),
                load_watts=float(truth.load_watts[i]),
                compute_watts=sum(self._plant.read(name, f"load.{node}.watts") for node in nodes),
                chip_celsius=max(self._plant.read(name, f"thermal.{node}.celsius") for node in nodes),
                radiator_celsius=float(truth.radiator_celsius[i]),
                optical=self._plant.link(name, "optical").up,
            )
            tally.trace.append(moment)
            tally.samples += 1
            tally.sunlit += moment.sunlit_ratio
            tally.lowest_charge = min(tally.lowest_charge, moment.state_of_charge_ratio)
            tally.hottest_chip = max(tally.hottest_chip, moment.chip_celsius)
            tally.compute_joules += moment.compute_watts * WATCH_SECONDS
            tally.links["optical"] += moment.optical
            tally.links["antenna"] += self._plant.link(name, "antenna").up

    def traces(self) -> dict[str, list[Moment]]:
        """Every look, by satellite."""
        return {name: tally.trace for name, tally in self._tallies.items()}

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
