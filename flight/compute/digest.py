"""What compute answers to the ground's question about open jobs. Records in, messages out."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Final, cast

from flight.compute.lifecycle import JobRecord
from skyrack.v1 import backhaul_pb2, job_pb2

MOST_JOBS: Final = 1000
"""Jobs that one answer tells of: it must fit one item of the backhaul."""


def digest(
    question: backhaul_pb2.OpenJobs, known: Mapping[str, JobRecord], untold: AbstractSet[tuple[str, int]]
) -> backhaul_pb2.OpenJobs:
    """Tell of each job that is asked about, and of each that is open here.

    ``untold`` are the (job, attempt) of which a status has not left for the gateway yet. Of an attempt that a newer
    one has replaced nothing is known any more.
    """
    found: dict[str, backhaul_pb2.OpenJob] = {}
    for asked in question.jobs:
        record = known.get(asked.job_id)
        if record is None or record.attempt != asked.attempt:
            found[asked.job_id] = backhaul_pb2.OpenJob(
                job_id=asked.job_id, attempt=asked.attempt, telling=(asked.job_id, asked.attempt) in untold
            )
        if record is not None and (record.attempt == asked.attempt or not record.state.final):
            found[asked.job_id] = _entry(record, untold)
    for record in known.values():
        if not record.state.final and record.job_id not in found:
            found[record.job_id] = _entry(record, untold)
    jobs = list(found.values())
    return backhaul_pb2.OpenJobs(
        jobs=jobs[:MOST_JOBS],
        mission_time_seconds=question.mission_time_seconds,
        complete=question.complete and len(jobs) <= MOST_JOBS,
    )


def _entry(record: JobRecord, untold: AbstractSet[tuple[str, int]]) -> backhaul_pb2.OpenJob:
    return backhaul_pb2.OpenJob(
        job_id=record.job_id,
        attempt=record.attempt,
        version=record.version,
        state=cast("job_pb2.JobState", int(record.state)),
        lease_end_seconds=record.placement.lease_end_seconds,
        telling=(record.job_id, record.attempt) in untold,
    )
