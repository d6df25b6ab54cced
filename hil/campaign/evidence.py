"""What a run is judged by: the truth of the plant, what services published, and what the stores of both sides say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ground.ledger import SatelliteVerdict
    from ground.records import JobRecord, TelecommandRecord
    from hil.faults import Fault
    from skyrack.satellite import SatelliteFile

LOOK_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """The truth of a satellite at a time, seconds after the start, and its mode as the executive publishes it."""

    seconds: float
    sunlit_ratio: float
    state_of_charge_ratio: float
    chip_celsius: float
    battery_celsius: float
    rack_watts: float
    undervoltage: bool
    mode: str


@dataclass(frozen=True, slots=True)
class Noted:
    """An event that is told of on board; seconds after the start."""

    seconds: float
    source: str
    name: str
    text: str
    severity: str
    service: str = ""
    """Whom it is about, where it is about a service."""


@dataclass(frozen=True, slots=True)
class BoardJob:
    """A job that the satellite's store holds open."""

    job_id: str
    attempt: int
    state: str
    telling: bool


@dataclass(frozen=True, slots=True)
class Rest:
    """How a satellite is at the end, after the drain."""

    mode: str
    services: tuple[tuple[str, str], ...]
    """Each service and its state."""
    tripped: tuple[str, ...]
    """Loads that protection holds open."""
    open_loads: tuple[str, ...]
    """Rack nodes without power."""
    jobs: tuple[BoardJob, ...]
    ledger: SatelliteVerdict


@dataclass(frozen=True, slots=True)
class SatelliteEvidence:
    """All of one satellite."""

    name: str
    design: SatelliteFile
    looks: tuple[Look, ...]
    events: tuple[Noted, ...]
    modes: tuple[tuple[float, str], ...]
    """The mode from a time on, seconds after the start."""
    rest: Rest


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of a run. Times of records are mission times: ``start_seconds`` is the run's."""

    start_seconds: float
    run_seconds: float
    end_seconds: float
    """Seconds after the start."""
    faults: tuple[Fault, ...]
    satellites: tuple[SatelliteEvidence, ...]
    submitted: tuple[str, ...]
    """Ids of the jobs that the ground took."""
    jobs: tuple[JobRecord, ...]
    commands: tuple[TelecommandRecord, ...]
