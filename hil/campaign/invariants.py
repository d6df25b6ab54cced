"""What must hold in every run, whatever struck it. Pure: evidence in, breaches out.

Each invariant is a function in :data:`INVARIANTS`; its breaches say what, where and when in one sentence.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flight.executive.limits import limits_of
from ground.dispatch import TELECOMMAND_MARGIN_SECONDS
from skyrack.jobs import REACHABLE, JobState

if TYPE_CHECKING:
    from ground.records import JobRecord, JobStep
    from hil.campaign.evidence import BoardJob, Evidence, Look, SatelliteEvidence
    from hil.campaign.file import CampaignFile, Excuse, InvariantsTable

ON_ITS_WAY_SECONDS: Final = 300.0
"""A placement or a status may be under way so long, while the link is good."""
DEFECTS: Final = ("service_failed", "service_hung", "launcher_lost", "handler_failed", "message_malformed")
"""Events that tell of a defect of the software."""


@dataclass(frozen=True, slots=True)
class Breach:
    """An invariant that did not hold; seconds after the start where that is known."""

    invariant: str
    satellite: str
    text: str
    at_seconds: float | None = None

    def __str__(self) -> str:
        """One sentence."""
        when = f" at {self.at_seconds:,.0f} s" if self.at_seconds is not None else ""
        where = f"{self.satellite}: " if self.satellite else ""
        return f"{self.invariant}: {where}{self.text}{when}"


def judge(evidence: Evidence, file: CampaignFile) -> tuple[Breach, ...]:
    """Everything that did not hold and that no fault of the run excuses."""
    found = [breach for check in INVARIANTS.values() for breach in check(evidence, file.invariants)]
    return tuple(breach for breach in found if not any(excuses(excuse, breach, evidence) for excuse in file.excused))


def excuses(excuse: Excuse, breach: Breach, evidence: Evidence) -> bool:
    """Whether a fault of the run makes this invariant impossible to hold."""
    return excuse.invariant == breach.invariant and any(
        fault.kind == excuse.kind
        and (not breach.satellite or fault.satellite == breach.satellite)
        and all(getattr(fault, name, 0.0) >= least for name, least in excuse.at_least.items())
        for fault in evidence.faults
    )


def charge(evidence: Evidence, table: InvariantsTable) -> Iterator[Breach]:
    """The battery stays over its red limit."""
    for satellite in evidence.satellites:
        least = limits_of(satellite.design).of("PowerStatus.state_of_charge_ratio").red_low
        if least is not None:
            low = least - table.charge_margin_ratio
            for look, seconds in _stretches(satellite, lambda look, low=low: look.state_of_charge_ratio < low):  # type: ignore[misc]
                if seconds > table.outside_seconds:
                    text = f"state of charge {look.state_of_charge_ratio:.3f}, under {least:g} for {seconds:,.0f} s"
                    yield Breach("charge", satellite.name, text, look.seconds)


def brown_out(evidence: Evidence, _table: InvariantsTable) -> Iterator[Breach]:
    """The bus never asks more of the battery than it can give."""
    for satellite in evidence.satellites:
        for look, _ in _stretches(satellite, lambda look: look.undervoltage):
            yield Breach("brown-out", satellite.name, "the bus browned out", look.seconds)


def temperature(evidence: Evidence, table: InvariantsTable) -> Iterator[Breach]:
    """Chips and battery stay within their red limits."""
    margin = table.temperature_margin_kelvin
    for satellite in evidence.satellites:
        limits = limits_of(satellite.design)
        for what, field in (("chip", "chip_maximum_celsius"), ("battery", "battery_celsius")):
            red = limits.of(f"ThermalStatus.{field}")
            high = float("inf") if red.red_high is None else red.red_high + margin
            low = -float("inf") if red.red_low is None else red.red_low - margin
            for look, seconds in _stretches(
                satellite,
                lambda look, what=what, low=low, high=high: not low <= _celsius(look, what) <= high,  # type: ignore[misc]
            ):
                if seconds > table.outside_seconds:
                    text = f"{what} at {_celsius(look, what):.1f} °C, beyond its red limit for {seconds:,.0f} s"
                    yield Breach("temperature", satellite.name, text, look.seconds)


def _celsius(look: Look, what: str) -> float:
    return look.chip_celsius if what == "chip" else look.battery_celsius


def safe_mode(evidence: Evidence, table: InvariantsTable) -> Iterator[Breach]:
    """The mode is safe soon after the truth was beyond a limit that must lead there, and after it was commanded."""
    margin, soon = table.temperature_margin_kelvin, table.safe_within_seconds
    for satellite in evidence.satellites:
        limits = limits_of(satellite.design)
        least = limits.of("PowerStatus.state_of_charge_ratio").red_low
        battery = limits.of("ThermalStatus.battery_celsius")
        low = -1.0 if least is None else least - table.charge_margin_ratio
        hot = float("inf") if battery.red_high is None else battery.red_high + margin
        cold = -float("inf") if battery.red_low is None else battery.red_low - margin

        def must(look: Look, low: float = low, cold: float = cold, hot: float = hot) -> bool:
            return look.state_of_charge_ratio < low or not cold <= look.battery_celsius <= hot

        for look, seconds in _stretches(satellite, must):
            if seconds > soon and not _is_safe(satellite, look.seconds, look.seconds + soon):
                text = f"beyond a limit that leads to the safe mode for {seconds:,.0f} s, and the mode was not safe"
                yield Breach("safe-mode", satellite.name, text, look.seconds)
    yield from _commanded_safe(evidence, soon)


def _commanded_safe(evidence: Evidence, soon: float) -> Iterator[Breach]:
    by_name = {satellite.name: satellite for satellite in evidence.satellites}
    for command in evidence.commands:
        if command.method == "SetMode" and "SAFE" in command.arguments and command.stage == "COMPLETED":
            done = max(stage.mission_time_seconds for stage in command.stages) - evidence.start_seconds
            if not _is_safe(by_name[command.satellite], done - soon, done + soon):
                yield Breach("safe-mode", command.satellite, "commanded safe, and the mode was not", done)


def _is_safe(satellite: SatelliteEvidence, start: float, end: float) -> bool:
    changes = [*satellite.modes, (float("inf"), "")]
    return any(
        mode == "SAFE" and since <= end and until > start for (since, mode), (until, _) in itertools.pairwise(changes)
    )


def jobs(evidence: Evidence, _table: InvariantsTable) -> Iterator[Breach]:
    """No accepted job is lost: each is over, or open and known to both sides."""
    records = {record.job_id: record for record in evidence.jobs}
    held = {satellite.name: satellite.rest.jobs for satellite in evidence.satellites}
    for job_id in evidence.submitted:
        record = records.get(job_id)
        if record is None:
            yield Breach("jobs", "", f"{job_id} was taken by the ground, which does not know it any more")
        elif not record.is_final and record.state != "SUBMITTED":
            yield from _open_job(evidence, record, held.get(record.satellite, ()))
        elif record.is_final != JobState[record.state].final:
            yield Breach("jobs", "", f"{job_id} is {record.state}, and called {'over' if record.is_final else 'open'}")
    for satellite in evidence.satellites:
        for job in satellite.rest.jobs:
            known = records.get(job.job_id)
            if known is None:
                yield Breach("jobs", satellite.name, f"{job.job_id} is open on board and unknown on the ground")
            elif known.is_final and evidence.end_seconds - _after(evidence, known.changed_seconds) > ON_ITS_WAY_SECONDS:
                yield Breach("jobs", satellite.name, f"{job.job_id} is open on board, {known.state} on the ground")


def _open_job(evidence: Evidence, record: JobRecord, board: Sequence[BoardJob]) -> Iterator[Breach]:
    age = evidence.end_seconds - _after(evidence, record.changed_seconds)
    if age > ON_ITS_WAY_SECONDS and not any(
        (job.job_id, job.attempt) == (record.job_id, record.attempt) for job in board
    ):
        text = f"{record.job_id} is {record.state} on the ground since {age:,.0f} s, and unknown on board"
        yield Breach("jobs", record.satellite, text)


def results(evidence: Evidence, _table: InvariantsTable) -> Iterator[Breach]:
    """No job has two accepted results, and every step of a job follows from the one before."""
    for record in evidence.jobs:
        applied = [step for step in record.history if step.is_applied]
        completed = sum(step.state == "COMPLETED" for step in applied)
        if completed != (record.state == "COMPLETED"):
            yield Breach("results", record.satellite, f"{record.job_id} is {record.state} with {completed} results")
        if record.state == "COMPLETED" and not record.is_verified:
            yield Breach("results", record.satellite, f"{record.job_id} is completed, and nobody vouches for it")
        for before, after in itertools.pairwise(applied):
            if not _follows(before, after):
                text = f"{record.job_id} went from {before.state} of attempt {before.attempt} to {after.state} of "
                yield Breach("results", record.satellite, f"{text}{after.attempt}")


def _follows(before: JobStep, after: JobStep) -> bool:
    if after.state == "SUBMITTED" and after.version is None:
        # The ground gives it to somebody else.
        return before.state not in ("COMPLETED", "CANCELLED")
    if before.attempt == after.attempt:
        return JobState[after.state] in REACHABLE[JobState[before.state]]
    return after.attempt > before.attempt and before.state not in ("COMPLETED", "CANCELLED")


def commands(evidence: Evidence, _table: InvariantsTable) -> Iterator[Breach]:
    """Every telecommand ends in a final stage, as soon as its time is over."""
    for command in evidence.commands:
        due = _after(evidence, command.not_after_seconds) + TELECOMMAND_MARGIN_SECONDS
        if not command.is_final and evidence.end_seconds > due:
            at = _after(evidence, command.created_seconds)
            yield Breach("commands", command.satellite, f"{command.method} is still {command.stage}", at)


def ledger(evidence: Evidence, _table: InvariantsTable) -> Iterator[Breach]:
    """What each side sent and what the other received add up."""
    for satellite in evidence.satellites:
        verdict = satellite.rest.ledger
        if not verdict.is_answered:
            yield Breach("ledger", satellite.name, f"it did not tell its ledger: {verdict.reason}")
            continue
        for row in verdict.streams:
            for problem in row.problems:
                yield Breach("ledger", satellite.name, f"{row.source} to {row.destination}, {row.stream}: {problem}")


def services(evidence: Evidence, table: InvariantsTable) -> Iterator[Breach]:
    """No service is given up, none ends again and again, and no handler of theirs raises."""
    for satellite in evidence.satellites:
        asked = Counter(getattr(fault, "service", "") for fault in evidence.faults if fault.satellite == satellite.name)
        for command in evidence.commands:
            if command.satellite == satellite.name and command.method == "RestartService":
                asked.update(name for name, _ in satellite.rest.services if f'"{name}"' in command.arguments)
        ended = Counter(event.service for event in satellite.events if event.name == "service_ended")
        for service, count in sorted(ended.items()):
            unasked = count - asked[service]
            if unasked > table.unasked_starts:
                text = f"{service} ended {count} times, {asked[service]} of them as it was asked to"
                yield Breach("services", satellite.name, text)
        full = any(fault.kind == "disk-full" and fault.satellite == satellite.name for fault in evidence.faults)
        for event in satellite.events:
            if full and any(words in event.text for words in ("No space left", "disk is full")):
                continue  # what could not be kept is told, and tried again
            if event.name in DEFECTS:
                text = f"{event.source} tells {event.name}: {event.text}"
                yield Breach("services", satellite.name, text, event.seconds)


def recovery(evidence: Evidence, _table: InvariantsTable) -> Iterator[Breach]:
    """With all mended, and what waited for an operator done, everything is as it was: nobody is dead."""
    for satellite in evidence.satellites:
        rest = satellite.rest
        if rest.mode != "NOMINAL":
            yield Breach("recovery", satellite.name, f"the mode is {rest.mode or 'unknown'} at the end")
        for service, state in rest.services:
            if state != "RUNNING":
                yield Breach("recovery", satellite.name, f"{service} is {state} at the end")
        for load in rest.tripped:
            yield Breach("recovery", satellite.name, f"{load} is held open at the end, though it was reset")
        for load in rest.open_loads:
            yield Breach("recovery", satellite.name, f"{load} has no power at the end, though it was switched on")


INVARIANTS: Final[dict[str, Callable[[Evidence, InvariantsTable], Iterator[Breach]]]] = {
    "charge": charge,
    "brown-out": brown_out,
    "temperature": temperature,
    "safe-mode": safe_mode,
    "jobs": jobs,
    "results": results,
    "commands": commands,
    "ledger": ledger,
    "services": services,
    "recovery": recovery,
}
"""By the names that the campaign file uses."""


def _stretches(satellite: SatelliteEvidence, is_out: Callable[[Look], bool]) -> Iterator[tuple[Look, float]]:
    """First look and length of each stretch of looks for which ``is_out`` holds, seconds."""
    for out, group in itertools.groupby(satellite.looks, is_out):
        if out:
            looks = list(group)
            yield looks[0], looks[-1].seconds - looks[0].seconds


def _after(evidence: Evidence, mission_seconds: float) -> float:
    return mission_seconds - evidence.start_seconds
