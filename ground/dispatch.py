"""Placing what waits: one transaction that looks at every open job and writes down what must go up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from ground import lifecycle
from ground.connection import Connection
from ground.lifecycle import Note, note
from ground.orders import payload_of
from ground.placement import Need, PlacementSettings, SatelliteView, choose, contact_seconds, lease_end
from ground.store import jobs, telecommands
from ground.vault import Vault
from skyrack.delivery import OutboxFullError
from skyrack.jobs import JobState
from skyrack.orders import Verified
from skyrack.v1 import backhaul_pb2, common_pb2, job_pb2, options_pb2

__all__ = ["CHUNK_BYTES", "STREAMS", "Enqueue", "Outcome", "need_of", "send_cancel", "send_telecommand", "step"]

CHUNK_BYTES: Final = 28_000
"""A piece of a package: one frame's worth."""

TELECOMMAND_MARGIN_SECONDS: Final = 600.0
"""How long after a telecommand's end a report may still arrive before it counts as expired."""

STREAMS: Final = (options_pb2.STREAM_STATUS, options_pb2.STREAM_BULK)
"""Streams in which placing sends."""

Enqueue = Callable[[Connection, str, int, bytes, float], None]
"""(connection, satellite, stream, payload, not after): into the outbox, in this transaction."""

Vouch = Callable[[jobs.JobRow], bytes]
"""The signed order of a job, serialized."""


@dataclass(slots=True)
class Outcome:
    """What a step did."""

    placed_on: set[str] = field(default_factory=set)
    changed: bool = False
    waiting: dict[str, str] = field(default_factory=dict)
    """Why the jobs that still wait do, by id."""


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
    enqueue: Enqueue,
    vouch: Vouch,
) -> Outcome:
    """Expire what is over, and place what waits."""
    outcome = Outcome()
    for command_id in telecommands.expired(connection, now - TELECOMMAND_MARGIN_SECONDS):
        reason = "its time ended and nothing was heard of it"
        outcome.changed |= telecommands.advance(
            connection, command_id, backhaul_pb2.TELECOMMAND_STAGE_EXPIRED, reason, now
        )
    for row in jobs.open_jobs(connection):
        if row.state is not JobState.SUBMITTED and now > row.lease_end_seconds + settings.lease_margin_seconds:
            lifecycle.lease_over(connection, row, now, settings)
            outcome.changed = True
        elif row.state is JobState.SUBMITTED and 0 < row.spec.deadline_seconds <= now:
            lifecycle.expire_waiting(connection, row, now)
            outcome.changed = True
    open_jobs = jobs.open_jobs(connection)
    loads = {view.name: view for view in _with_commitments(views, open_jobs)}
    waiting = [row for row in open_jobs if row.state is JobState.SUBMITTED]
    waiting.sort(key=lambda row: (-row.spec.priority, row.submitted_seconds, row.job_id))
    for row in waiting:
        if row.not_before_seconds > now:
            outcome.waiting[row.job_id] = "waits before its next attempt"
            continue
        chosen, reason = _place_somewhere(connection, row, loads, now, settings, vault, enqueue, vouch)
        if reason:
            outcome.waiting[row.job_id] = reason
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
    return outcome


def _with_commitments(views: Sequence[SatelliteView], rows: Sequence[jobs.JobRow]) -> Iterator[SatelliteView]:
    for view in views:
        held = [row for row in rows if row.satellite == view.name and row.state is not JobState.SUBMITTED]
        # What runs, a satellite's count of free nodes knows already.
        unstarted = sum(1 for row in held if row.state is not JobState.RUNNING)
        yield replace(
            view,
            committed_watts=sum(row.spec.resources.power_watts for row in held),
            jobs_open=len(held),
            jobs_unstarted=unstarted,
        )


def _place_somewhere(
    connection: Connection,
    row: jobs.JobRow,
    loads: Mapping[str, SatelliteView],
    now: float,
    settings: PlacementSettings,
    vault: Vault,
    enqueue: Enqueue,
    vouch: Vouch,
) -> tuple[str, str]:
    """Where the job was placed, and why it waits; both are empty when it has ended.

    What is wrong with one placement, as a full outbox, concerns neither other satellites nor other jobs.
    """
    avoid = frozenset({row.satellite}) if row.satellite else frozenset[str]()
    left = dict(loads)
    problem = ""
    while True:
        choice = choose(need_of(row.spec), left.values(), now, settings, avoid)
        if not choice.satellite:
            return "", problem or choice.reason
        chosen = left.pop(choice.satellite)
        connection.execute("SAVEPOINT placement")
        try:
            is_placed = _place(connection, row, chosen, now, settings, vault, enqueue, vouch)
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
    enqueue: Enqueue,
    vouch: Vouch,
) -> bool:
    spec = row.spec
    try:
        content = vault.get(spec.package_sha256) if spec.package_bytes else b""
    except KeyError:
        reason = "its package is damaged or missing on the ground; submit it again under a new id"
        jobs.update(connection, row.job_id, now, state=JobState.FAILED, reason=reason)
        text = f"job {row.job_id}: {reason}"
        note(connection, Note("job_package_lost", common_pb2.SEVERITY_ERROR, text), now)
        return False
    attempt = row.attempt + 1
    end = lease_end(need_of(spec), contact_seconds(satellite, now, settings), settings)
    jobs.begin_attempt(connection, row.job_id, attempt, satellite.name, end, now)
    placement = job_pb2.JobPlacement(signed_order=vouch(row), attempt=attempt, lease_end_seconds=end)
    payload = backhaul_pb2.Payload(job_placement=placement)
    enqueue(connection, satellite.name, options_pb2.STREAM_STATUS, payload.SerializeToString(), end)
    for offset in range(0, len(content), CHUNK_BYTES):
        chunk = job_pb2.FileChunk(
            job_id=row.job_id,
            attempt=attempt,
            sha256=spec.package_sha256,
            total_bytes=len(content),
            offset_bytes=offset,
            data=content[offset : offset + CHUNK_BYTES],
        )
        piece = backhaul_pb2.Payload(file_chunk=chunk)
        enqueue(connection, satellite.name, options_pb2.STREAM_BULK, piece.SerializeToString(), end)
    return True


def send_cancel(connection: Connection, row: jobs.JobRow, order: Verified, enqueue: Enqueue) -> None:
    """Tell the satellite that holds a job to stop it."""
    payload = payload_of(order.data)
    enqueue(connection, row.satellite, options_pb2.STREAM_STATUS, payload, row.lease_end_seconds)


def send_telecommand(
    connection: Connection, satellite: str, order: Verified, now: float, enqueue: Enqueue
) -> bool:
    """Keep a telecommand and put it into the outbox; False when it was there already.

    Raises:
        ValueError: another telecommand has this id.
    """
    command = order.order.telecommand
    if not telecommands.insert(connection, satellite, command, now):
        return False
    enqueue(connection, satellite, options_pb2.STREAM_STATUS, payload_of(order.data), command.not_after_seconds)
    return True
