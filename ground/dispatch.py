"""Placing what waits: one transaction that looks at every open job and writes down what must go up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ground import lifecycle
from ground.connection import Connection
from ground.lifecycle import Note, note
from ground.orders import payload_of
from ground.placement import (
    Need,
    PlacementSettings,
    SatelliteView,
    choose,
    contact_seconds,
    lease_end,
    obstacle_for_all,
)
from ground.queue import Look
from ground.store import files, job_queue, jobs, telecommands
from ground.vault import Vault
from skyrack.delivery import OutboxFullError
from skyrack.delivery.blocks import Description
from skyrack.jobs import JobState
from skyrack.orders import Verified, lacking
from skyrack.v1 import backhaul_pb2, common_pb2, job_pb2, options_pb2

__all__ = ["STREAMS", "Enqueue", "Outcome", "Uplink", "need_of", "send_cancel", "send_telecommand", "step"]

TELECOMMAND_MARGIN_SECONDS: Final = 600.0
"""How long after a telecommand's end a report may still arrive before it counts as expired."""

STREAMS: Final = (options_pb2.STREAM_STATUS, options_pb2.STREAM_BULK)
"""Streams in which placing sends."""

Enqueue = Callable[[Connection, str, int, bytes, float], None]
"""(connection, satellite, stream, payload, not after): into the outbox, in this transaction."""

Queue = Callable[[Connection, str, Verified, float], None]
"""(connection, satellite, order, now): waits for its turn to leave, in this transaction."""

Offer = Callable[[Connection, str, str, int, Description, float], None]
"""(connection, satellite, job, attempt, package, not after): the package is to be fetched, in this transaction."""

Vouch = Callable[[jobs.JobRow], bytes]
"""The signed order of a job, serialized."""


@dataclass(frozen=True, slots=True)
class Uplink:
    """How what is placed goes up."""

    enqueue: Enqueue
    vouch: Vouch
    offer: Offer


@dataclass(slots=True)
class Outcome:
    """What a step did."""

    placed_on: set[str] = field(default_factory=set)
    changed: bool = False
    waiting: dict[str, str] = field(default_factory=dict)
    """Why the jobs that were looked at and still wait do, by id."""
    others_wait: str = ""
    """Why all others do."""
    resume: job_queue.Place | None = None
    """Where in the queue the next look goes on behind its head."""


def need_of(spec: job_pb2.JobSpec) -> Need:
    """What placement must know of a job."""
    resources = spec.resources
    return Need(
        power_watts=resources.power_watts,
        cores=resources.cores,
        memory_bytes=resources.memory_bytes,
        expected_seconds=resources.expected_seconds,
        limit_seconds=resources.limit_seconds,
        deadline_seconds=spec.deadline_seconds,
    )


def step(
    connection: Connection,
    views: Sequence[SatelliteView],
    now: float,
    settings: PlacementSettings,
    vault: Vault,
    uplink: Uplink,
    resume: job_queue.Place | None = None,
) -> Outcome:
    """Expire what is over, and place what waits; ``resume`` is from the outcome of the step before."""
    outcome = Outcome()
    for command_id in telecommands.expired(connection, now - TELECOMMAND_MARGIN_SECONDS):
        reason = "its time ended and nothing was heard of it"
        outcome.changed |= telecommands.advance(
            connection, command_id, backhaul_pb2.TELECOMMAND_STAGE_EXPIRED, reason, now
        )
    for row in job_queue.due(connection, now, settings.lease_margin_seconds):
        if row.state is JobState.SUBMITTED:
            lifecycle.expire_waiting(connection, row, now)
        else:
            lifecycle.lease_over(connection, row, now, settings)
        outcome.changed = True
    loads = {view.name: view for view in _with_commitments(views, job_queue.commitments(connection))}
    obstacles = {name: obstacle_for_all(view, now, settings) for name, view in loads.items()}
    refused: dict[tuple[Need, str], str] = {}
    look = Look(resume)
    for row in look.rows(connection, now) if not all(obstacles.values()) else ():
        # As satellites only get fuller here, what was refused once is refused to all that ask the same.
        chosen, reason = "", refused.get((need_of(row.spec), row.satellite), "")
        if not reason:
            chosen, reason = _place_somewhere(connection, row, loads, now, settings, vault, uplink, refused)
        if reason:
            outcome.waiting[row.job_id] = reason
            look.cannot_place()
            continue
        outcome.changed = True
        if chosen:
            outcome.placed_on.add(chosen)
            loads[chosen] = replace(
                loads[chosen],
                committed_watts=loads[chosen].committed_watts + row.spec.resources.power_watts,
                jobs_open=loads[chosen].jobs_open + 1,
                jobs_unstarted=loads[chosen].jobs_unstarted + 1,
            )
            obstacles[chosen] = obstacle_for_all(loads[chosen], now, settings)
            if all(obstacles.values()):
                break
    outcome.resume = look.resume
    told = "; ".join(sorted(f"{name} {problem}" for name, problem in obstacles.items()))
    outcome.others_wait = told if all(obstacles.values()) else "jobs before it in the queue are looked at first"
    return outcome


def _with_commitments(
    views: Sequence[SatelliteView], given: Mapping[str, job_queue.Commitment]
) -> Iterator[SatelliteView]:
    for view in views:
        held = given.get(view.name, job_queue.Commitment())
        yield replace(view, committed_watts=held.watts, jobs_open=held.jobs, jobs_unstarted=held.unstarted)


def _place_somewhere(
    connection: Connection,
    row: jobs.JobRow,
    loads: Mapping[str, SatelliteView],
    now: float,
    settings: PlacementSettings,
    vault: Vault,
    uplink: Uplink,
    refused: dict[tuple[Need, str], str],
) -> tuple[str, str]:
    """Where the job was placed, and why it waits; both are empty when it has ended.

    What is wrong with one placement, as a full outbox, concerns neither other satellites nor other jobs.
    """
    avoid = frozenset({row.satellite}) if row.satellite else frozenset[str]()
    left = dict(loads)
    problem = ""
    need = need_of(row.spec)
    while True:
        choice = choose(need, left.values(), now, settings, avoid)
        if not choice.satellite:
            if not problem:
                refused[need, row.satellite] = choice.reason
            return "", problem or choice.reason
        chosen = left.pop(choice.satellite)
        connection.execute("SAVEPOINT placement")
        try:
            is_placed = _place(connection, row, chosen, now, settings, vault, uplink)
        except (OutboxFullError, OSError) as error:
            problem = problem or str(error)
            connection.execute("ROLLBACK TO placement")
            connection.execute("RELEASE placement")
        else:
            connection.execute("RELEASE placement")
            return (chosen.name if is_placed else ""), ""


def _place(
    connection: Connection,
    row: jobs.JobRow,
    satellite: SatelliteView,
    now: float,
    settings: PlacementSettings,
    vault: Vault,
    uplink: Uplink,
) -> bool:
    spec = row.spec
    package = files.package_of(connection, spec.package_sha256) if spec.package_bytes else None
    if spec.package_bytes and not (package and vault.has(spec.package_sha256)):
        reason = "its package is damaged or missing on the ground; submit it again under a new id"
        jobs.update(connection, row.job_id, now, state=JobState.FAILED, reason=reason)
        text = f"job {row.job_id}: {reason}"
        note(connection, Note("job_package_lost", common_pb2.SEVERITY_ERROR, text), now)
        return False
    order = jobs.signed_order(connection, row.job_id) or uplink.vouch(row)
    attempt = row.attempt + 1
    end = lease_end(need_of(spec), contact_seconds(satellite, now, settings), settings)
    jobs.begin_attempt(connection, row.job_id, attempt, satellite.name, end, now)
    placement = job_pb2.JobPlacement(signed_order=order, attempt=attempt, lease_end_seconds=end)
    payload = backhaul_pb2.Payload(job_placement=placement)
    uplink.enqueue(connection, satellite.name, options_pb2.STREAM_STATUS, payload.SerializeToString(), end)
    if package is not None:
        uplink.offer(connection, satellite.name, row.job_id, attempt, package, end)
    return True


def send_cancel(connection: Connection, row: jobs.JobRow, order: Verified, enqueue: Enqueue) -> None:
    """Tell the satellite that holds a job to stop it."""
    payload = payload_of(order.data)
    enqueue(connection, row.satellite, options_pb2.STREAM_STATUS, payload, row.lease_end_seconds)


def send_telecommand(connection: Connection, order: Verified, now: float, queue: Queue) -> bool:
    """Keep a telecommand, and queue it if it has all signatures that it needs; False when it was there already.

    Raises:
        ValueError: another telecommand has this id.
    """
    missing = lacking(order)
    if not telecommands.insert(connection, order, now, missing):
        return False
    if not missing:
        queue(connection, order.order.destination, order, now)
    return True
