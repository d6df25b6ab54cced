"""What stands around a real gateway in the campaign: compute, power and thermal, played by one process.

``python -m hil.bench.ground.far_end BOARD PROGRESS BATCHES``. Compute accepts each job and completes it at once with a
small result; beside that it hands over telemetry, each batch until the gateway has it. Both are handed over under keys,
as flight services do, so that a gateway that is killed meanwhile takes each once.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from pathlib import Path
from typing import Any, Final

from flight.board import load_board
from flight.bus import BusError
from flight.process import make_context, run_until_asked
from flight.service import Service, command, every, subscribe
from skyrack import receipts
from skyrack.clock import MissionClock
from skyrack.signing import SigningKey
from skyrack.v1 import backhaul_pb2, job_pb2
from skyrack.v1.common_pb2 import CommandResult
from skyrack.v1.compute_pb2 import (
    CancelJobRequest,
    ComputeStatus,
    PlaceJobRequest,
    RackNodeStatus,
    RenewLeaseRequest,
    ReportJobsRequest,
    ReportJobsResponse,
)
from skyrack.v1.gateway_pb2 import LinkStatus, SendDownRequest
from skyrack.v1.options_pb2 import STREAM_HOUSEKEEPING, STREAM_STATUS
from skyrack.v1.power_pb2 import BudgetSlice, PowerBudget
from skyrack.v1.thermal_pb2 import ThermalBudget

_IN_HAND: Final = 64
"""Requests to the gateway that wait for an answer at a time."""
_ANSWER_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 0.2
_OUTBOX_ITEMS: Final = 2_000
"""While more than so many wait in the gateway, no telemetry is handed over: it would be shed."""
_FREE_NODES: Final = 400


class Power(Service):
    """Plenty of watts, for ever."""

    name = "power"
    publishes = (PowerBudget,)

    @every(seconds=5)
    def offer(self) -> None:
        """Offer more than is ever needed."""
        now = self.clock.now()
        slices = [BudgetSlice(start_seconds=now, watts=1e6)]
        self.publish(PowerBudget(mission_time_seconds=now, end_seconds=now + 6000, compute=slices))


class Thermal(Service):
    """All heat can go, for ever."""

    name = "thermal"
    publishes = (ThermalBudget,)

    @every(seconds=5)
    def offer(self) -> None:
        """Offer more than is ever needed."""
        now = self.clock.now()
        slices = [BudgetSlice(start_seconds=now, watts=1e6)]
        self.publish(ThermalBudget(mission_time_seconds=now, end_seconds=now + 6000, compute=slices))


class Compute(Service):
    """Accepts, completes, and remembers what it ran."""

    name = "compute"
    publishes = (ComputeStatus, job_pb2.JobStatus)

    def prepare(self, key: SigningKey, results: Path, progress: Path, batches: int) -> None:
        """Say what the campaign wants of it."""
        self._key = key
        self._results = results
        self._progress = progress
        self._batches = batches
        self._held: dict[str, backhaul_pb2.OpenJob] = {}
        self.runs: dict[str, int] = {}
        self._handed_over = 0
        self._has_room = asyncio.Event()
        self._has_room.set()
        self._in_hand = asyncio.Semaphore(_IN_HAND)

    async def on_start(self) -> None:
        """Begin to hand over telemetry."""
        self._results.mkdir(parents=True, exist_ok=True)
        self.spawn(self._telemetry(), "telemetry")

    @command
    async def place_job(self, request: PlaceJobRequest) -> CommandResult:
        """Take it, once for each attempt."""
        placement = request.placement
        job_id, attempt = placement.spec.job_id, placement.attempt
        known = self._held.get(job_id)
        if known is None or known.attempt < attempt:
            self._tell(placement, 1, job_pb2.JOB_STATE_ACCEPTED)
            self.spawn(self._run(placement), "job")
        return CommandResult(ok=True)

    @command
    async def cancel_job(self, request: CancelJobRequest) -> CommandResult:
        """All is over already."""
        return CommandResult(ok=False, reason=f"{request.job_id} is over")

    @command
    async def renew_lease(self, request: RenewLeaseRequest) -> CommandResult:
        """Nothing lasts that long."""
        return CommandResult(ok=request.job_id in self._held)

    @command
    async def report_jobs(self, request: ReportJobsRequest) -> ReportJobsResponse:
        """What is held, and what became of the rest."""
        question = request.question
        found = {asked.job_id: self._held.get(asked.job_id, asked) for asked in question.jobs}
        for asked in question.jobs:
            if asked.job_id not in self._held:
                asked.state = job_pb2.JOB_STATE_UNSPECIFIED
        return ReportJobsResponse(
            jobs=backhaul_pb2.OpenJobs(
                jobs=found.values(), mission_time_seconds=question.mission_time_seconds, complete=question.complete
            )
        )

    @subscribe(LinkStatus)
    def on_link(self, status: LinkStatus) -> None:
        """How much the gateway has to send."""
        if status.outbox_items > _OUTBOX_ITEMS:
            self._has_room.clear()
        else:
            self._has_room.set()

    @every(seconds=5)
    def tell_status(self) -> None:
        """Plenty of room, for ever."""
        self.publish(
            ComputeStatus(
                mission_time_seconds=self.clock.now(), nodes=[RackNodeStatus(node="node-1")], free_nodes=_FREE_NODES
            )
        )

    @every(seconds=1)
    def write_progress(self) -> None:
        """Tell the campaign how far it is."""
        self.save()

    def save(self) -> None:
        """Write what was run and handed over."""
        temporary = self._progress.with_suffix(".new")
        document = {
            "batches": self._handed_over,
            "telling": sum(entry.telling for entry in self._held.values()),
            "runs": self.runs,
        }
        temporary.write_text(json.dumps(document))
        temporary.replace(self._progress)

    def _tell(self, placement: job_pb2.JobPlacement, version: int, state: Any) -> None:
        job_id = placement.spec.job_id
        self._held[job_id] = backhaul_pb2.OpenJob(
            job_id=job_id,
            attempt=placement.attempt,
            version=version,
            state=state,
            lease_end_seconds=placement.lease_end_seconds,
            telling=True,
        )

    async def _run(self, placement: job_pb2.JobPlacement) -> None:
        job_id, attempt = placement.spec.job_id, placement.attempt
        name = f"{job_id}.{attempt}"
        self.runs[name] = self.runs.get(name, 0) + 1
        await self._status(placement, 1, job_pb2.JOB_STATE_ACCEPTED)
        result = self._results / name
        content = f"result of {name}\n".encode()
        result.write_bytes(content)
        self._tell(placement, 3, job_pb2.JOB_STATE_COMPLETED)
        await self._status(
            placement,
            3,
            job_pb2.JOB_STATE_COMPLETED,
            result,
            result_sha256=hashlib.sha256(content).digest(),
            result_bytes=len(content),
            package_sha256=placement.spec.package_sha256,
        )
        result.unlink()
        self._held[job_id].telling = False

    async def _status(
        self, placement: job_pb2.JobPlacement, version: int, state: Any, result: Path | None = None, **values: Any
    ) -> None:
        status = job_pb2.JobStatus(
            job_id=placement.spec.job_id,
            attempt=placement.attempt,
            version=version,
            state=state,
            satellite=self.context.satellite,
            node="node-1",
            mission_time_seconds=self.clock.now(),
            **values,
        )
        if result is not None:
            receipts.attach(status, self._key)
        request = SendDownRequest(
            stream=STREAM_STATUS,
            message_type=status.DESCRIPTOR.full_name,
            payload=status.SerializeToString(),
            key=f"{status.job_id}/{status.attempt}/{version}",
            job_id=status.job_id,
            attempt=status.attempt,
            file_path=str(result or ""),
        )
        await self._hand_over(request)

    async def _telemetry(self) -> None:
        tasks: set[asyncio.Task[None]] = set()
        for number in range(self._batches):
            await self._has_room.wait()
            await self._in_hand.acquire()
            task = asyncio.create_task(self._batch(number))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        await asyncio.gather(*tasks)

    async def _batch(self, number: int) -> None:
        try:
            message = ComputeStatus(
                mission_time_seconds=self.clock.now(), jobs_completed_total=number, free_nodes=_FREE_NODES
            )
            request = SendDownRequest(
                stream=STREAM_HOUSEKEEPING,
                message_type=message.DESCRIPTOR.full_name,
                payload=message.SerializeToString(),
                key=f"batch-{number}",
            )
            await self._hand_over(request)
            self._handed_over += 1
        finally:
            self._in_hand.release()

    async def _hand_over(self, request: SendDownRequest) -> None:
        """Until the gateway has it on its disk."""
        while True:
            try:
                answer = await self.request("gateway", request, _ANSWER_SECONDS)
                if answer.ok:
                    return
            except BusError:
                pass
            await asyncio.sleep(_RETRY_SECONDS)


def main(board_path: Path, progress: Path, batches: int) -> None:
    """Be all three services until asked to end."""
    board = load_board(board_path)

    async def run() -> None:
        clock = MissionClock.from_file(Path(board.clock_file))
        compute = Compute(make_context(board, "compute", clock))
        key = SigningKey.load_or_create(Path(board.keys_dir) / f"{board.satellite}.key")
        compute.prepare(key, Path(board.state_dir) / "made", progress, batches)
        services: list[Service] = [
            compute,
            Power(make_context(board, "power", clock)),
            Thermal(make_context(board, "thermal", clock)),
        ]
        for service in services:
            await service.start()
        try:
            await compute.stopped()
        finally:
            compute.save()
            for service in services:
                await service.stop()

    run_until_asked(run())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
