"""Invariants hold on a good run, and each tells its own breach."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from ground.ledger import SatelliteVerdict, StreamVerdict
from ground.records import CommandStage, JobRecord, JobStep, TelecommandRecord
from hil.campaign.evidence import BoardJob, Evidence, Look, Noted, Rest, SatelliteEvidence
from hil.campaign.file import Excuse, load_campaign
from hil.campaign.invariants import INVARIANTS, judge
from hil.faults import ProcessKill, RadiatorLoss
from skyrack import files
from skyrack.satellite import load_satellite

FILE = load_campaign(files.find("campaigns", "shipped")).file
DESIGN = load_satellite(files.find("satellites", "pathfinder"))
STREAM = StreamVerdict("ground", "sat-1", "status", 3, 3, 0, 0, 0, 0, ())
LEDGER = SatelliteVerdict("sat-1", is_answered=True, is_sound=True, waiting=0, streams=(STREAM,))
RUNNING = (("navigation", "RUNNING"), ("power", "RUNNING"))


def some(kind: type[Any], **given: Any) -> Any:
    """A record with nothing in what is not given."""
    empty = {"str": "", "int": 0, "float": 0.0, "bool": False}
    names = {field.name: field for field in dataclasses.fields(kind)}
    return kind(**{name: empty.get(str(field.type), ()) for name, field in names.items()} | given)


def step(state: str, attempt: int = 1, version: int | None = 1, **other: Any) -> JobStep:
    return JobStep(attempt, version, state, "sat-1", "node-1", "", 0.0, 0.0, 0.0, is_applied=other.get("applied", True))


def job(job_id: str, state: str, **other: Any) -> JobRecord:
    final = state in ("COMPLETED", "FAILED", "EXPIRED", "CANCELLED")
    history = (step("PLACED", version=None), step("ACCEPTED"), step("RUNNING"), *([step(state)] if final else []))
    known = {"satellite": "sat-1", "attempt": 1, "is_verified": True, "history": history}
    record: JobRecord = some(JobRecord, job_id=job_id, state=state, is_final=final, **known | other)
    return record


def looks(*changed: dict[str, Any], every: float = 10.0) -> tuple[Look, ...]:
    normal = Look(0.0, 1.0, 0.9, 60.0, 20.0, 800.0, undervoltage=False, mode="NOMINAL")
    return tuple(replace(normal, seconds=every * number, **change) for number, change in enumerate(changed))


def command(method: str, stage: str = "COMPLETED", arguments: str = "", at: float = 1100.0) -> TelecommandRecord:
    stages = (CommandStage(stage, "", at),)
    found: TelecommandRecord = some(
        TelecommandRecord,
        satellite="sat-1",
        method=method,
        stage=stage,
        arguments=arguments,
        stages=stages,
        is_final=stage in ("COMPLETED", "FAILED", "EXPIRED"),
        created_seconds=1000.0,
    )
    return found


def rest(**other: Any) -> Rest:
    jobs = (BoardJob("job-2", 1, "RUNNING", telling=False),)
    return replace(Rest("NOMINAL", RUNNING, (), (), jobs, LEDGER), **other)


def satellite(**other: Any) -> SatelliteEvidence:
    good = SatelliteEvidence("sat-1", DESIGN, looks({}, {}, {}), (), ((0.0, "BOOT"), (1.0, "NOMINAL")), rest())
    return replace(good, **other)


def evidence(**other: Any) -> Evidence:
    good = Evidence(
        start_seconds=1000.0,
        run_seconds=5000.0,
        end_seconds=6000.0,
        faults=(RadiatorLoss(satellite="sat-1", at_seconds=1.0, duration_seconds=9.0, lost_ratio=0.5),),
        satellites=(satellite(),),
        submitted=("job-1", "job-2"),
        jobs=(job("job-1", "COMPLETED"), job("job-2", "RUNNING")),
        commands=(command("GetLedger"),),
    )
    return replace(good, **other)


def told(found: Evidence) -> list[str]:
    return [str(breach) for breach in judge(found, FILE)]


def test_a_good_run_breaks_nothing() -> None:
    assert told(evidence()) == []


LOW = [{"state_of_charge_ratio": 0.4}] * 20
HOT = [{"chip_celsius": 105.0}] * 12
FREEZING = [{"battery_celsius": -20.0}] * 20


def flying(**other: Any) -> Evidence:
    return evidence(satellites=(satellite(**other),))


@pytest.mark.parametrize(
    ("found", "invariant", "words"),
    [
        (flying(looks=looks(*LOW), modes=((0.0, "SAFE"),)), "charge", "0.400, under 0.5 for 190 s"),
        (flying(looks=looks({}, {"undervoltage": True})), "brown-out", "browned out at 10 s"),
        (flying(looks=looks(*HOT)), "temperature", "chip at 105.0 °C"),
        (flying(looks=looks(*FREEZING), modes=((0.0, "SAFE"),)), "temperature", "battery at -20.0 °C"),
        (flying(looks=looks(*FREEZING)), "safe-mode", "the mode was not safe"),
        (evidence(commands=(command("SetMode", arguments="mode: MODE_SAFE"),)), "safe-mode", "commanded safe"),
        (evidence(jobs=(job("job-2", "RUNNING"),)), "jobs", "job-1 was taken by the ground, which does not know it"),
        (flying(rest=rest(jobs=())), "jobs", "job-2 is RUNNING on the ground since 7,000 s, and unknown on board"),
        (evidence(jobs=(job("job-1", "COMPLETED"), job("job-2", "FAILED"))), "jobs", "open on board, FAILED"),
        (evidence(submitted=(), jobs=()), "jobs", "open on board and unknown on the ground"),
        (
            evidence(submitted=(), jobs=(job("job-2", "COMPLETED", history=(step("COMPLETED"),) * 2),)),
            "results",
            "COMPLETED with 2 results",
        ),
        (evidence(jobs=(*evidence().jobs, job("job-3", "COMPLETED", is_verified=False))), "results", "nobody vouches"),
        (
            evidence(jobs=(*evidence().jobs, job("job-3", "RUNNING", history=(step("EXPIRED"), step("RUNNING"))))),
            "results",
            "from EXPIRED of attempt 1 to RUNNING of 1",
        ),
        (evidence(commands=(command("SetPump", "SENT"),)), "commands", "SetPump is still SENT"),
        (
            flying(rest=rest(ledger=replace(LEDGER, streams=(replace(STREAM, problems=("1 item lost",)),)))),
            "ledger",
            "ground to sat-1, status: 1 item lost",
        ),
        (flying(rest=rest(ledger=replace(LEDGER, is_answered=False, reason="no answer"))), "ledger", "no answer"),
        (
            flying(events=(Noted(5.0, "executive", "service_ended", "", "warning", "power"),) * 4),
            "services",
            "power ended 4 times, 0 of them",
        ),
        (
            flying(events=(Noted(5.0, "thermal", "handler_failed", "oops", "error"),)),
            "services",
            "thermal tells handler_failed: oops at 5 s",
        ),
        (flying(rest=rest(mode="SAFE")), "recovery", "the mode is SAFE at the end"),
        (flying(rest=rest(services=(("power", "FAILED"),))), "recovery", "power is FAILED"),
        (flying(rest=rest(tripped=("laser-1",))), "recovery", "laser-1 is held open"),
        (flying(rest=rest(open_loads=("node-1",))), "recovery", "node-1 has no power"),
    ],
)
def test_each_breach_is_told_once_in_a_sentence(found: Evidence, invariant: str, words: str) -> None:
    breaches = [breach for breach in judge(found, FILE) if breach.invariant == invariant]
    assert breaches, told(found)
    assert words in str(breaches[0])
    assert len(breaches) <= 1 + (invariant == "results")
    assert invariant in INVARIANTS


def test_short_or_slight_excursions_are_what_protection_is_for() -> None:
    assert told(flying(looks=looks({}, {"chip_celsius": 105.0}, {"chip_celsius": 105.0}, {}))) == []
    assert told(flying(looks=looks(*[{"state_of_charge_ratio": 0.49}] * 50))) == []
    assert told(flying(looks=looks(*FREEZING), modes=((0.0, "NOMINAL"), (30.0, "SAFE")))) == [
        "temperature: sat-1: battery at -20.0 °C, beyond its red limit for 190 s at 0 s"
    ]


def test_what_was_killed_on_purpose_is_no_crash_loop() -> None:
    events = (Noted(5.0, "executive", "service_ended", "", "warning", "power"),) * 4
    kills = tuple(ProcessKill(satellite="sat-1", at_seconds=float(at), service="power") for at in (1, 2))
    assert told(evidence(satellites=(satellite(events=events),), faults=kills)) == []


def test_a_physical_fault_excuses_only_what_the_file_says() -> None:
    hot = flying(looks=looks(*HOT))
    excuse = Excuse(kind="radiator-loss", invariant="temperature", at_least={"lost_ratio": 0.5}, because="no radiator")
    excusing = msgspec.structs.replace(FILE, excused=(excuse,))
    assert judge(hot, excusing) == ()
    milder = replace(hot, faults=(msgspec.structs.replace(hot.faults[0], lost_ratio=0.4),))
    assert [breach.invariant for breach in judge(milder, excusing)] == ["temperature"]
    assert [breach.invariant for breach in judge(flying(rest=rest(mode="SAFE")), excusing)] == ["recovery"]
