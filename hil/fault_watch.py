"""What became of each fault of a run: when it was detected, contained and recovered from, and what it cost.

Pure: it is fed with what services publish (``hear``, as a tap is) and with looks at the plant's truth (``look``), and
asked at the end (``outcomes``). What the words mean for each kind stands in :mod:`hil.fault_meanings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from flight.bus.wire import split_topic
from flight.executive.limits import limits_of
from flight.executive.modes import Cause
from hil.fault_meanings import MEANINGS, OVER, Contained, Detects, Told
from hil.faults import BROKER, GROUND, Fault
from skyrack.jobs import JobCause, JobState
from skyrack.v1.common_pb2 import Event
from skyrack.v1.executive_pb2 import MODE_NOMINAL, MODE_SAFE, SERVICE_STATE_RUNNING, LimitViolation, SatelliteStatus
from skyrack.v1.gateway_pb2 import LinkStatus
from skyrack.v1.job_pb2 import JobStatus

if TYPE_CHECKING:
    from skyrack.satellite import SatelliteFile

PEAK_KELVIN: Final = 2.0
"""A chip that is hotter than when the fault began by no more than this has not been harmed."""
LATE_SECONDS: Final = 120.0
"""An event so long after a fault's end may still be its detection."""
STEADY_SECONDS: Final = 60.0
"""All must be well for so long before it counts as recovered."""
STATUS_SECONDS: Final = 5.0
SILENT_SECONDS: Final = 15.0
"""The executive says every five seconds how things are; when it has said nothing for so long, it is not there."""
STORAGE_SECONDS: Final = 60.0
"""The gateway tells at most once in this time that something could not be kept."""
BLAME_SECONDS: Final = 600.0
"""Work that is lost so long after a fault began is its doing, if none began later."""


@dataclass(frozen=True, slots=True)
class FaultOutcome:
    """One fault of a run. Times are mission seconds; ``None`` where it never came to that.

    Attributes:
        kind: of the catalogue, such as "pump-stop".
        satellite: whose.
        target: the device, load, service, laser or link that it struck; empty where the kind says it all.
        began: seconds from the run's start.
        detected_after: from its beginning until a service told of it in an event.
        contained_after: until the harm no longer grew, or the faulty part was isolated.
        recovered_after: until all was as it should be and stayed so; may lie after the fault was mended.
        work_lost_seconds: of the progress of jobs that had to be repeated, at the speed that they had run with.
        limits_crossed: fields whose red limits were crossed from its beginning to its recovery.
        detected_by: service and event, as "thermal.pump_stalled".
        work_lost_joules: that the lost progress had taken.
        lasted: from its beginning until it was mended, or the board was up again; zero where it does not last.
    """

    kind: str
    satellite: str
    began: float
    detected_after: float | None
    contained_after: float | None
    recovered_after: float | None
    work_lost_seconds: float
    limits_crossed: tuple[str, ...]
    target: str = ""
    detected_by: str = ""
    work_lost_joules: float = 0.0
    lasted: float = 0.0


@dataclass(frozen=True, slots=True)
class Truth:
    """A look at the plant: state of charge, the hottest chip (degrees Celsius), and whether the bus browns out."""

    state_of_charge_ratio: float
    chip_celsius: float
    undervoltage: bool = False


@dataclass(frozen=True, slots=True)
class _Loss:
    """A job whose progress fell: what was told of it last, when, and to what it fell."""

    seconds: float
    told_seconds: float
    told: JobStatus
    progress_ratio: float

    def cost(self, until_seconds: float) -> tuple[float, float]:
        """Seconds of work and joules that are to be spent again, had it gone on as told until then."""
        told = self.told
        if told.progress_ratio <= 0.0 or told.run_seconds <= 0.0:
            return 0.0, 0.0
        whole_seconds = told.run_seconds / told.progress_ratio
        # It is told now and then only, and went on in between.
        went_on = max(0.0, until_seconds - self.told_seconds) if told.state == int(JobState.RUNNING) else 0.0
        lost = max(0.0, told.progress_ratio + went_on / whole_seconds - self.progress_ratio)
        return lost * whole_seconds, lost * told.energy_joules / told.progress_ratio


@dataclass(slots=True)
class _Satellite:
    chip_limit_celsius: float
    charge_floor_ratio: float
    told: list[Told] = field(default_factory=list)
    crossed: list[tuple[float, str]] = field(default_factory=list)
    looks: list[tuple[float, Truth]] = field(default_factory=list)
    lost: list[_Loss] = field(default_factory=list)
    spells: dict[str, list[tuple[float, bool]]] = field(default_factory=dict)
    """Of each thing that must be well, since when it is or is not."""
    jobs: dict[str, tuple[float, JobStatus]] = field(default_factory=dict)
    doubts: dict[tuple[str, str, str], None] = field(default_factory=dict)
    """By service, event and whom it is about."""
    status_seconds: float = 0.0

    def set(self, what: str, now: float, well: bool) -> None:
        spells = self.spells.setdefault(what, [])
        if not spells or spells[-1][1] != well:
            spells.append((now, well))

    def is_well(self, what: str, begin: float, end: float) -> bool:
        """Whether it is well throughout; what nothing is known of is."""
        well = True
        for time, now_well in self.spells.get(what, []):
            if time <= begin:
                well = now_well
            elif time <= end:
                well = well and now_well
        return well

    def next_well(self, what: str, after: float) -> float | None:
        """When it is well first, from a time on."""
        spells = self.spells.get(what, [])
        before = [well for time, well in spells if time <= after]
        if not before or before[-1]:
            # It may fall a moment later, as links do that time out.
            fall = next((time for time, well in spells if after < time <= after + LATE_SECONDS and not well), None)
            if fall is None:
                return after
            after = fall
        return next((time for time, well in spells if time > after and well), None)


class FaultWatch:
    """Watches the faults of one run; all times are of the run's clock, seconds from its start."""

    def __init__(self, faults: Sequence[Fault], designs: Mapping[str, SatelliteFile], start_seconds: float) -> None:
        self._faults = tuple(faults)
        self._start = start_seconds
        self._end = 0.0
        self._satellites = {name: _Satellite(*_band(design)) for name, design in designs.items()}

    def hear(self, satellite: str, topic: bytes, _header: bytes, payload: bytes, now: float) -> None:
        """Take a message that a service of a satellite published at mission time ``now``."""
        take = _TAKES.get(split_topic(topic)[0])
        if take is not None:
            self._end = max(self._end, now - self._start)
            take(self._satellites[satellite], satellite, payload, now - self._start)

    def look(self, satellite: str, truth: Truth, now: float) -> None:
        """Take the plant's truth of a satellite at mission time ``now``."""
        seen, seconds = self._satellites[satellite], now - self._start
        self._end = max(self._end, seconds)
        seen.looks.append((seconds, truth))
        within = (
            truth.chip_celsius <= seen.chip_limit_celsius
            and truth.state_of_charge_ratio >= seen.charge_floor_ratio
            and not truth.undervoltage
        )
        seen.set("band", seconds, within)

    def outcomes(self) -> tuple[FaultOutcome, ...]:
        """What became of each fault, in the order in which they were given."""
        return tuple(self._outcome(fault) for fault in self._faults)

    def _outcome(self, fault: Fault) -> FaultOutcome:
        began = fault.at_seconds
        struck = self._struck(fault)
        detection = self._first(fault, struck, MEANINGS[fault.kind].detects)
        recovered = self._recovered(fault, struck, detection)
        until = self._end if recovered is None else recovered
        crossed = dict.fromkeys(name for seen in struck for time, name in seen.crossed if began <= time <= until)
        costs = [
            loss.cost(min(loss.seconds, began) if not fault.lasts else loss.seconds)
            for seen in struck
            for loss in seen.lost
            if self._blamed(seen, loss.seconds) is fault
        ]
        return FaultOutcome(
            kind=fault.kind,
            satellite=fault.satellite,
            began=began,
            detected_after=_after(began, None if detection is None else detection.seconds),
            contained_after=_after(began, self._contained(fault, struck)),
            recovered_after=_after(began, recovered),
            work_lost_seconds=sum((seconds for seconds, _ in costs), 0.0),
            limits_crossed=tuple(crossed),
            target=fault.target,
            detected_by="" if detection is None else f"{detection.source}.{detection.name}",
            work_lost_joules=sum((joules for _, joules in costs), 0.0),
            lasted=self._over(fault) - began,
        )

    def _struck(self, fault: Fault) -> list[_Satellite]:
        if fault.satellite in {GROUND, BROKER}:
            return list(self._satellites.values())
        return [self._satellites[fault.satellite]]

    def _until(self, fault: Fault) -> float:
        """When a fault is over; at once where it does not last, never where it has no end."""
        if not fault.lasts:
            return fault.at_seconds
        return self._end if fault.duration_seconds is None else fault.at_seconds + fault.duration_seconds

    def _over(self, fault: Fault) -> float:
        """When a fault itself is over: a reboot is when the board is up."""
        return self._until(fault) + float(getattr(fault, "down_seconds", 0.0))

    def _first(self, fault: Fault, struck: list[_Satellite], wanted: Detects) -> Told | None:
        # A board tells nothing while it is down, and a clock that jumped shows when it starts next, whenever that is.
        last = self._end if fault.kind == "clock-jump" else self._over(fault) + LATE_SECONDS
        found = [
            told
            for seen in struck
            for told in seen.told
            if fault.at_seconds <= told.seconds <= last and wanted(fault, told)
        ]
        return min(found, key=lambda told: told.seconds, default=None)

    def _contained(self, fault: Fault, struck: list[_Satellite]) -> float | None:
        meaning, began = MEANINGS[fault.kind], fault.at_seconds
        match meaning.contained:
            case Contained.REFUSED:
                return began
            case Contained.ISOLATED:
                told = self._first(fault, struck, meaning.isolates)
                if told is not None:
                    return told.seconds
                # Nobody needed to isolate what did no harm.
                return self._back_in_band(fault, struck)
            case Contained.PEAK:
                return self._peak(fault, struck)
            case Contained.RECONNECTED:
                return _latest(seen.next_well("link", began) for seen in struck)
            case Contained.RUNNING:
                return _latest(seen.next_well("services", began) for seen in struck)

    def _back_in_band(self, fault: Fault, struck: list[_Satellite]) -> float | None:
        return _latest(seen.next_well("band", fault.at_seconds) for seen in struck)

    def _peak(self, fault: Fault, struck: list[_Satellite]) -> float | None:
        back = self._back_in_band(fault, struck)
        if back is None:
            return None
        latest = back
        for seen in struck:
            during = [
                (t, truth) for t, truth in seen.looks if fault.at_seconds <= t <= self._until(fault) + LATE_SECONDS
            ]
            highest = during[0][1].chip_celsius + PEAK_KELVIN if during else 0.0
            for time, truth in during:
                if truth.chip_celsius > highest:
                    highest, latest = truth.chip_celsius, max(latest, time)
        return latest

    def _recovered(self, fault: Fault, struck: list[_Satellite], detection: Told | None) -> float | None:
        if fault.lasts and fault.duration_seconds is not None and self._until(fault) > self._end:
            return None
        # One that stays has been lived with when all is well in spite of it, its own doubts aside.
        stays = fault.lasts and fault.duration_seconds is None
        mended = fault.at_seconds if stays else self._until(fault)
        if detection is not None:
            # A clock that jumped does harm when the board starts next, and not before.
            mended = max(mended, detection.seconds)
        if self._end < mended:
            return None
        wanted = ("mode", "services", "band", "link", "storage", *(() if stays else ("doubts",)))
        moments = {time for seen in struck for what in wanted for time, _ in seen.spells.get(what, ()) if time > mended}
        for moment in (mended, *sorted(moments)):
            if all(seen.is_well(what, moment, moment + STEADY_SECONDS) for seen in struck for what in wanted):
                return moment
        return None

    def _blamed(self, seen: _Satellite, time: float) -> Fault | None:
        """Whose doing it is that work was lost: of those that struck here, the latest to begin."""
        mine = [
            fault
            for fault in self._faults
            if fault.at_seconds <= time <= max(self._until(fault), fault.at_seconds + BLAME_SECONDS)
            and any(one is seen for one in self._struck(fault))
        ]
        return max(mine, key=lambda fault: fault.at_seconds, default=None)


def _hear_event(seen: _Satellite, satellite: str, payload: bytes, now: float) -> None:
    event = Event.FromString(payload)
    about = {field.name: field.value for field in event.fields}
    told = Told(now, satellite, event.source, event.name, about)
    seen.told.append(told)
    whom = about.get("sensor") or about.get("node") or ""
    if event.name in OVER:
        seen.doubts[event.source, event.name, whom] = None
    for doubt, over in OVER.items():
        if event.name in over:
            seen.doubts.pop((event.source, doubt, whom), None)
    if event.name == "service_ended":
        seen.set("services", now, False)
        # Doubts were those of a process that is gone: the next one tells its own anew.
        for doubted in [key for key in seen.doubts if key[0] == about.get("service")]:
            del seen.doubts[doubted]
    if event.name == "cut_off":
        seen.doubts.clear()
    if event.name == "backhaul_storage":
        seen.set("storage", now, False)
        seen.set("storage", now + STORAGE_SECONDS, True)
    seen.set("doubts", now, not seen.doubts)


def _hear_status(seen: _Satellite, _satellite: str, payload: bytes, now: float) -> None:
    status = SatelliteStatus.FromString(payload)
    if now - seen.status_seconds > SILENT_SECONDS:
        # Nobody was there to say that nothing runs.
        seen.set("services", seen.status_seconds + STATUS_SECONDS, False)
    seen.status_seconds = now
    # A person may want it safe: that is no harm of a fault.
    wanted = status.mode == MODE_SAFE and status.reason == Cause.COMMAND_SAFE.value
    seen.set("mode", now, status.mode == MODE_NOMINAL or wanted)
    seen.set("services", now, all(service.state == SERVICE_STATE_RUNNING for service in status.services))


def _hear_limit(seen: _Satellite, _satellite: str, payload: bytes, now: float) -> None:
    crossing = LimitViolation.FromString(payload)
    if crossing.level.startswith("red"):
        name = f"{crossing.field}[{crossing.instance}]" if crossing.instance else crossing.field
        seen.crossed.append((now, name))


def _hear_link(seen: _Satellite, _satellite: str, payload: bytes, now: float) -> None:
    connected = LinkStatus.FromString(payload).connected
    if connected or "link" in seen.spells:  # not before the first contact
        seen.set("link", now, connected)


def _hear_job(seen: _Satellite, _satellite: str, payload: bytes, now: float) -> None:
    status = JobStatus.FromString(payload)
    key = f"{status.job_id}.{status.attempt}"
    told_at, told = seen.jobs.get(key, (now, status))
    seen.jobs[key] = (now, status)
    if told.progress_ratio > status.progress_ratio or status.cause == int(JobCause.NODE_LOST):
        seen.lost.append(_Loss(now, told_at, told, status.progress_ratio))


_TAKES: Final = {
    "skyrack.v1.Event": _hear_event,
    "skyrack.v1.SatelliteStatus": _hear_status,
    "skyrack.v1.LimitViolation": _hear_limit,
    "skyrack.v1.LinkStatus": _hear_link,
    "skyrack.v1.JobStatus": _hear_job,
}


def _band(design: SatelliteFile) -> tuple[float, float]:
    """Red limits of this satellite: of the chips (degrees Celsius), and of the state of charge."""
    limits = limits_of(design)
    chip = limits.of("ThermalStatus.chip_maximum_celsius").red_high
    charge = limits.of("PowerStatus.state_of_charge_ratio").red_low
    return (
        chip if chip is not None else float("inf"),
        charge if charge is not None else design.battery.floor_ratio,
    )


def _after(began: float, when: float | None) -> float | None:
    return None if when is None else max(0.0, when - began)


def _latest(times: Iterable[float | None]) -> float | None:
    """The latest of times, each of which must be."""
    latest = float("-inf")
    for time in times:
        if time is None:
            return None
        latest = max(latest, time)
    return latest
