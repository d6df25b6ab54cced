"""Steps that fly the bench: one real job, the link, and what is left after kills and a power cut."""

from __future__ import annotations

from hil.acceptance.model import Finding, NotApplicableError, SkippedError, StepError, Value
from hil.acceptance.procedure import Step
from hil.acceptance.rig import Flight, Rig, Session

LOOK_SECONDS = 0.5
FINAL = frozenset({"COMPLETED", "FAILED", "EXPIRED", "CANCELLED", "REJECTED"})
VICTIMS = ("compute", "gateway", "power", "executive")


async def job(session: Session, step: Step) -> Finding:
    """Submit, wait, fetch, check."""
    rig, flight = session.rig, _flight(session)
    limit = step.settings["limit_seconds"]
    await _nominal(rig, flight, limit)
    began = rig.now()
    job_id = await flight.submit()
    session.tell(f"{job_id} is submitted")
    record = await _settled(rig, flight, job_id, limit)
    problem = await flight.result_problem(job_id) if record["state"] == "COMPLETED" else _why(record)
    joules = record.get("energy_joules")
    taken = float(joules) if isinstance(joules, int | float) else None
    return Finding(
        values=(
            step.value("jobs completed", float(not problem), ""),
            Value(name="from submission to result", value=rig.now() - began, unit="s", note="host time"),
            Value(name="energy", value=taken, unit="J", note="the satellite's"),
        ),
        evidence=(f"{job_id}: {record['state']} on {record.get('satellite') or 'no satellite'}",),
        problem=problem,
    )


async def link(session: Session, step: Step) -> Finding:
    """Commands up and their stages down, through the gate; what delivery counted."""
    rig, flight = session.rig, _flight(session)
    await _nominal(rig, flight, step.settings["limit_seconds"])
    before, began = await flight.ledger(), rig.now()
    taken = []
    for number in range(int(step.settings["commands"])):
        session.tell(f"command {number + 1} of {step.settings['commands']:.0f}")
        taken.append(await flight.command())
    seconds = rig.now() - began
    after = await flight.ledger()
    counted = {name: after[name] - before.get(name, 0) for name in after}
    taken.sort()
    return Finding(
        values=(
            step.value("command to final stage", taken[len(taken) // 2], "s", note=f"median of {len(taken)}"),
            Value(name="slowest", value=taken[-1], unit="s"),
            Value(name="rate", value=counted["stored"] / seconds if seconds else None, unit="items/s"),
            step.value("lost", float(counted["lost"]), "items", note=f"of {counted['stored']} stored on the ground"),
            Value(name="sent again and known", value=float(counted["duplicated"]), unit="items"),
        ),
    )


async def recovery(session: Session, step: Step) -> Finding:
    """Kill services and the executive, cut the power; a job that was accepted before comes to its end."""
    rig, flight = session.rig, _flight(session)
    limit = step.settings["limit_seconds"]
    await _nominal(rig, flight, limit)
    job_id = await flight.submit()
    await _until(rig, flight, job_id, {"ACCEPTED", "RUNNING", *FINAL}, limit)
    values: list[Value] = []
    evidence: list[str] = []
    for victim in VICTIMS:
        session.tell(f"killing {victim}")
        pid = await flight.kill(victim)
        began = rig.now()
        await _returned(rig, flight, victim, pid, limit)
        note = f"another process runs; looked every {LOOK_SECONDS:g} s"
        values.append(step.value("back after a kill", rig.now() - began, "s", of=victim, note=note))
    try:
        # A satellite that works is worth more to cut than one that is still coming up.
        await _nominal(rig, flight, limit)
        state = (await flight.job(job_id))["state"]
        session.tell("cutting the power")
        began = rig.now()
        evidence.append(f"power cut, with {job_id} {state}: {await flight.cut_power()}")
        await _nominal(rig, flight, limit)
        values.append(step.value("back after a power cut", rig.now() - began, "s", note="nominal again"))
    except (NotApplicableError, SkippedError) as error:
        evidence.append(f"power cut not done: {error}")
    record = await _settled(rig, flight, job_id, limit)
    problem = await flight.result_problem(job_id) if record["state"] == "COMPLETED" else _why(record)
    values.append(step.value("jobs lost", float(bool(problem)), ""))
    counted = await flight.ledger()
    values.append(Value(name="items lost in delivery", value=float(counted["lost"]), high=0.0))
    evidence.append(f"{job_id}: {record['state']}, attempt {record.get('attempt', 1)}")
    return Finding(values=tuple(values), evidence=tuple(evidence), problem=problem)


def _flight(session: Session) -> Flight:
    if session.flight is None:
        raise NotApplicableError("the bench does not fly")
    return session.flight


def _why(record: object) -> str:
    told = record if isinstance(record, dict) else {}
    return (
        f"{told.get('job_id')} {told.get('state')}: {told.get('reason') or told.get('result_problem') or 'no reason'}"
    )


async def _nominal(rig: Rig, flight: Flight, limit_seconds: float) -> None:
    until = rig.now() + limit_seconds
    while await flight.mode() != "nominal":
        if rig.now() > until:
            raise StepError(
                f"the satellite is not nominal after {limit_seconds:.0f} s: {await flight.mode() or 'silent'}"
            )
        await rig.sleep(LOOK_SECONDS)


async def _settled(rig: Rig, flight: Flight, job_id: str, limit_seconds: float) -> dict[str, object]:
    return await _until(rig, flight, job_id, set(FINAL), limit_seconds)


async def _until(rig: Rig, flight: Flight, job_id: str, states: set[str], limit_seconds: float) -> dict[str, object]:
    until = rig.now() + limit_seconds
    while True:
        record = dict(await flight.job(job_id))
        # A final job is settled when its result is here, too, or is known not to come.
        if record["state"] in states - FINAL or record["settled"]:
            return record
        if rig.now() > until:
            raise StepError(f"{job_id} is still {record['state']} after {limit_seconds:.0f} s")
        await rig.sleep(LOOK_SECONDS)


async def _returned(rig: Rig, flight: Flight, service: str, pid: int, limit_seconds: float) -> None:
    until = rig.now() + limit_seconds
    while (await flight.services()).get(service, pid) == pid:
        if rig.now() > until:
            raise StepError(f"{service} did not come back within {limit_seconds:.0f} s")
        await rig.sleep(LOOK_SECONDS)
