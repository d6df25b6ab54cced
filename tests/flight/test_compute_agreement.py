"""What ground and satellite tell one another of open jobs, as compute sees it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from skyrack.jobs import JobState
from skyrack.v1 import backhaul_pb2, compute_pb2, job_pb2

S = JobState

_spec = importlib.util.spec_from_file_location("compute_bench", Path(__file__).with_name("test_compute_service.py"))
assert _spec is not None
assert _spec.loader is not None
_bench = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_bench)
START, Bench, flown = _bench.START, _bench.Bench, _bench.flown


async def asked(bench: Any, *jobs: tuple[str, int], tell_again: bool = False) -> dict[str, backhaul_pb2.OpenJob]:
    question = backhaul_pb2.OpenJobs(complete=True, mission_time_seconds=7.0)
    for job_id, attempt in jobs:
        question.jobs.add(job_id=job_id, attempt=attempt, tell_again=tell_again)
    answer = await bench.buses["probe"].request("compute", compute_pb2.ReportJobsRequest(question=question), 30.0)
    assert answer.jobs.complete
    assert answer.jobs.mission_time_seconds == 7.0
    return {entry.job_id: entry for entry in answer.jobs.jobs}


def renewal(job_id: str, until: float, attempt: int = 1) -> compute_pb2.RenewLeaseRequest:
    return compute_pb2.RenewLeaseRequest(job_id=job_id, attempt=attempt, lease_end_seconds=START + until)


def test_a_lease_renewed_in_time_never_ends_a_job_and_one_that_was_not_does(tmp_path: Path) -> None:
    async def story(bench: Any) -> None:
        await bench.fly(30)
        await bench.place("renewed", lease=200.0, expected_seconds=1500.0)
        await bench.place("alone", lease=200.0, expected_seconds=1500.0)
        await bench.fly(100)
        assert (await bench.ask(renewal("renewed", 1000.0))).ok
        assert (await bench.ask(renewal("renewed", 900.0))).ok  # late, and shorter: it changes nothing
        assert not (await bench.ask(renewal("renewed", 2000.0, attempt=2))).ok
        assert not (await bench.ask(renewal("unknown", 2000.0))).ok
        await bench.compute.stop()
        await bench.start()
        await bench.fly(300)
        assert bench.last("alone").cause == job_pb2.JOB_CAUSE_LEASE
        assert bench.last("alone").mission_time_seconds < START + 220
        assert bench.states("renewed")[-1] is S.RUNNING
        assert not (await bench.ask(renewal("alone", 2000.0))).ok
        await bench.fly(700)
        assert bench.last("renewed").cause == job_pb2.JOB_CAUSE_LEASE
        assert START + 1000 <= bench.last("renewed").mission_time_seconds < START + 1020

    flown(story, state_dir=tmp_path)


def test_it_tells_what_it_holds_what_became_of_others_and_what_it_never_heard_of() -> None:
    async def story(bench: Any) -> None:
        await bench.fly(30)
        await bench.place("short", expected_seconds=60.0)
        await bench.place("long", expected_seconds=5000.0)
        await bench.place("unasked", expected_seconds=5000.0)
        await bench.fly(200)
        found = await asked(bench, ("short", 1), ("long", 1), ("never", 3), ("unasked", 9))
        assert {name: S(entry.state) if entry.state else None for name, entry in found.items()} == {
            "short": S.COMPLETED,
            "long": S.RUNNING,
            "never": None,
            "unasked": S.RUNNING,
        }
        assert found["short"].version == bench.last("short").version
        assert found["long"].lease_end_seconds == START + 50_000
        assert found["unasked"].attempt == 1
        assert not any(entry.telling for entry in found.values())

    flown(story)


def test_what_the_gateway_has_not_taken_is_being_told() -> None:
    async def story(bench: Any) -> None:
        await bench.fly(30)
        await bench.place("a", expected_seconds=5000.0)
        assert (await asked(bench, ("a", 1)))["a"].telling
        bench.gateway_up = True
        await bench.fly(60)
        assert not (await asked(bench, ("a", 1)))["a"].telling

    flown(story, gateway=False)


def test_a_status_that_the_ground_has_lost_is_told_again_under_a_key_of_its_own() -> None:
    async def story(bench: Any) -> None:
        await bench.fly(30)
        await bench.place("a", expected_seconds=60.0)
        await bench.fly(200)
        before = bench.taken[-1]
        await asked(bench, ("a", 1), tell_again=True)
        await bench.fly(10)
        again = bench.taken[-1]
        assert again.key != before.key
        assert again.file_content == before.file_content
        status = job_pb2.JobStatus.FromString(again.payload)
        assert (status.state, status.version) == (job_pb2.JOB_STATE_COMPLETED, bench.last("a").version)
        assert status.receipt

    flown(story)


def test_a_result_that_is_nowhere_any_more_makes_the_attempt_a_failure_of_the_satellite(tmp_path: Path) -> None:
    async def story(bench: Any) -> None:
        await bench.fly(30)
        await bench.place("a", expected_seconds=60.0)
        await bench.fly(200)
        completed = bench.last("a")
        record = bench.compute._jobs.get("a")
        record.result_sha256, record.result_path = b"r" * 32, str(tmp_path / "taken-by-the-gateway.tar")
        await asked(bench, ("a", 1), tell_again=True)
        await bench.fly(10)
        status = bench.last("a")
        assert (status.state, status.cause) == (job_pb2.JOB_STATE_FAILED, job_pb2.JOB_CAUSE_INTERNAL)
        assert status.version == completed.version + 1
        assert not status.result_sha256
        assert "lost on board" in status.reason

    flown(story, state_dir=tmp_path)
