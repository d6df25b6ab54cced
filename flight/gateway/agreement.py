"""Answers the ground's question about open jobs, when nothing of what it said before is still on the way.

A job comes to the satellite as a placement in the gateway's list of work, goes over to compute, and leaves as statuses
in the outbox. The three are looked at in this order, so that a job on its way from one to the next is seen at least
once; and the answer is put into the outbox after the last of the statuses that it takes for told.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from google.protobuf.message import Message

from flight.bus import BusError
from flight.gateway import work
from skyrack.database import Database
from skyrack.delivery import Delivered, Endpoint, received_all_before
from skyrack.v1 import job_pb2
from skyrack.v1.backhaul_pb2 import OpenJob, OpenJobs, Payload
from skyrack.v1.compute_pb2 import ReportJobsRequest
from skyrack.v1.options_pb2 import STREAM_STATUS

ANSWER_SECONDS: Final = 10.0
_LIFETIME_SECONDS: Final = 1800.0
"""An older answer is of no use: the ground asks again."""

Request = Callable[[str, Message, float], Awaitable[Any]]


class Agreement:
    """Keeps the newest question in memory: should the gateway die, its next session makes the ground ask again."""

    def __init__(
        self, database: Database, endpoint: Endpoint[sqlite3.Connection], request: Request, rate: float
    ) -> None:
        self._database = database
        self._endpoint = endpoint
        self._request = request
        self._answer_seconds = ANSWER_SECONDS * rate
        self._question: tuple[Delivered, OpenJobs] | None = None

    def heard(self, items: Sequence[Delivered]) -> bool:
        """Take note of a question among what came up. Returns whether there is one to answer."""
        for item in items:
            if item.stream != STREAM_STATUS:
                continue
            payload = Payload.FromString(item.payload)
            if payload.WhichOneof("kind") == "open_jobs":
                self._question = item, payload.open_jobs
        return self._question is not None

    async def answer(self) -> bool:
        """Answer the question. Returns whether it must be tried again.

        Raises:
            StorageError: the store failed.
        """
        if self._question is None:
            return False
        item, question = self._question

        def look(connection: sqlite3.Connection) -> dict[str, OpenJob] | None:
            if not received_all_before(connection, item):
                return None
            return {entry.job_id: entry for entry in _pending(connection)}

        pending = await self._database.read(look)
        if pending is None:
            return True
        try:
            told = await self._request("compute", ReportJobsRequest(question=question), self._answer_seconds)
        except BusError:
            return True
        answer = _merged(told.jobs, pending)
        payload = Payload(open_jobs=answer).SerializeToString()
        await self._endpoint.send(item.source, STREAM_STATUS, payload, lifetime_seconds=_LIFETIME_SECONDS)
        if self._question is not None and self._question[0] is item:
            self._question = None
        return self._question is not None


def _pending(connection: sqlite3.Connection) -> list[OpenJob]:
    """Placements that compute has not been given yet."""
    return [
        OpenJob(
            job_id=item.payload.job_placement.spec.job_id,
            attempt=item.payload.job_placement.attempt,
            state=job_pb2.JOB_STATE_PLACED,
            lease_end_seconds=item.payload.job_placement.lease_end_seconds,
        )
        for item in work.open_work(connection, work.PLACEMENT)
    ]


def _merged(told: OpenJobs, pending: dict[str, OpenJob]) -> OpenJobs:
    """What compute does not know, or knows an older attempt of, may lie in the list of work."""
    known = {entry.job_id: entry for entry in told.jobs}
    for job_id, entry in pending.items():
        if job_id not in known or known[job_id].attempt < entry.attempt or not known[job_id].state:
            known[job_id] = entry
    return OpenJobs(jobs=known.values(), mission_time_seconds=told.mission_time_seconds, complete=told.complete)
