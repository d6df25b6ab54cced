"""What a report of its node makes of a job, in every case; and that the store gives back what it was given."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from flight.compute.lifecycle import MOST_LOSSES, Change, Intent, JobRecord, after_report, apply, due, status_of
from flight.compute.store import JobStore, Outgoing, Totals
from flight.compute.workdirs import WorkDirs
from flight.hal import OutputRecord, WorkReport, WorkState
from skyrack.archive import ArchiveError, Entry, pack
from skyrack.database import Database
from skyrack.delivery.settings import MAXIMUM_ITEM_BYTES
from skyrack.jobs import JobCause, JobState
from skyrack.v1 import job_pb2

S, C = JobState, JobCause


def record(state: JobState = S.RUNNING, **changes: object) -> JobRecord:
    spec = job_pb2.JobSpec(job_id="a", command=["x"], checkpoint=False)
    placement = job_pb2.JobPlacement(spec=spec, attempt=2, lease_end_seconds=1000.0)
    made = JobRecord(placement, 1, state=state, version=3, node="node-1")
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def exited(code: int, **changes: object) -> WorkReport:
    return WorkReport(WorkState.EXITED, exit_code=code, **changes)  # type: ignore[arg-type]


LOST = WorkReport(WorkState.LOST, reason="node-1 lost its power")


@pytest.mark.parametrize(
    ("intent", "report", "state", "cause"),
    [
        (Intent.NONE, exited(0), S.COMPLETED, C.NONE),
        (Intent.NONE, exited(3), S.FAILED, C.EXIT_CODE),
        (Intent.NONE, exited(-11), S.FAILED, C.SIGNAL),
        (Intent.NONE, exited(-9, limit="memory"), S.FAILED, C.MEMORY_LIMIT),
        (Intent.NONE, exited(-9, limit="time"), S.FAILED, C.TIME_LIMIT),
        (Intent.NONE, exited(-9, limit="disk"), S.FAILED, C.DISK_LIMIT),
        (Intent.NONE, LOST, S.PREEMPTED, C.NODE_LOST),
        (Intent.NONE, None, S.PREEMPTED, C.NODE_LOST),
        # Stopped for a reason that a killed compute service took along.
        (Intent.NONE, exited(0, stopped=True), S.PREEMPTED, C.BUDGET),
        (Intent.PREEMPT, exited(143, stopped=True), S.PREEMPTED, C.BUDGET),
        (Intent.PREEMPT, exited(0, stopped=True), S.PREEMPTED, C.BUDGET),
        # It ended by itself before the signal came.
        (Intent.PREEMPT, exited(0), S.COMPLETED, C.NONE),
        (Intent.PREEMPT, exited(1), S.FAILED, C.EXIT_CODE),
        (Intent.PREEMPT, LOST, S.PREEMPTED, C.NODE_LOST),
        (Intent.EXPIRE, exited(143, stopped=True), S.EXPIRED, C.LEASE),
        (Intent.EXPIRE, LOST, S.EXPIRED, C.LEASE),
        (Intent.CANCEL, exited(-9, stopped=True), S.CANCELLED, C.CANCELLED),
        (Intent.CANCEL, None, S.CANCELLED, C.CANCELLED),
        (Intent.CANCEL, exited(0), S.COMPLETED, C.NONE),
    ],
)
def test_reports(intent: Intent, report: WorkReport | None, state: JobState, cause: JobCause) -> None:
    causes = {Intent.PREEMPT: C.BUDGET, Intent.EXPIRE: C.LEASE, Intent.CANCEL: C.CANCELLED}
    made = record()
    if intent is not Intent.NONE:
        made.ask(intent, causes[intent], "because")
    change = after_report(made, report)
    assert change is not None
    assert (change.state, change.cause) == (state, cause)
    apply(made, change, report)
    assert made.state is state
    assert made.version == 4
    assert made.intent is Intent.NONE


def test_running_goes_on() -> None:
    assert after_report(record(), WorkReport(WorkState.RUNNING)) is None


def test_a_job_that_takes_its_node_down_again_and_again_fails() -> None:
    made = record(losses=MOST_LOSSES - 1)
    change = after_report(made, LOST)
    assert change is not None
    assert (change.state, change.cause) == (S.FAILED, C.NODE_LOST)


def test_a_greater_intent_replaces_a_lesser() -> None:
    made = record()
    assert made.ask(Intent.PREEMPT, C.BUDGET, "power")
    assert made.ask(Intent.CANCEL, C.CANCELLED, "unwanted")
    assert not made.ask(Intent.EXPIRE, C.LEASE, "late")
    assert made.intent_reason == "unwanted"


def test_lease_and_deadline() -> None:
    assert due(record(), 999.0) is None
    assert due(record(), 1000.0) == (C.LEASE, "its lease has ended")
    made = record()
    made.placement.spec.deadline_seconds = 500.0
    assert due(made, 600.0) == (C.DEADLINE, "its deadline has come")


def test_what_the_table_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match="COMPLETED does not become RUNNING"):
        apply(record(S.COMPLETED), Change(S.RUNNING))


def test_the_status_tells_what_was_used() -> None:
    made = record(energy_joules=100.0, run_seconds=10.0)
    outputs = (OutputRecord("x", 2, b"d" * 32),)
    apply(made, Change(S.FAILED, C.EXIT_CODE, "why"), exited(7, energy_joules=50.0, stderr_tail="oh", outputs=outputs))
    status = status_of(made, "sat", 5.0, 60.0)
    assert (status.energy_joules, status.exit_code, status.stderr_tail, status.reason) == (150.0, 7, "oh", "why")
    assert (status.attempt, status.version, status.rate, status.outputs[0].path) == (2, 4, 60.0, "x")


def test_the_store_gives_back_what_it_was_given(tmp_path: Path) -> None:
    async def tell() -> None:
        store = JobStore(Database(tmp_path / "jobs.sqlite"))
        await store.open()
        made = record(energy_joules=3.5, reason="é", intent=Intent.CANCEL, cause=C.BUDGET)
        await store.keep(made, Outgoing("a/2/3", "a", 2, b"one"), Totals(1, 2, 3, 4.5))
        await store.keep(made, Outgoing("a/2/3", "a", 2, b"one again"))
        await store.close()
        again = JobStore(Database(tmp_path / "jobs.sqlite"))
        await again.open()
        assert await again.jobs() == [made]
        assert await again.totals() == Totals(1, 2, 3, 4.5)
        (item,) = await again.outbox()
        assert (item.key, item.payload) == ("a/2/3", b"one")
        await again.taken([item.row])
        assert await again.outbox() == []
        await again.close()

    asyncio.run(tell())


def test_packages_are_checked_before_they_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("print()")
    tar = pack([Entry("program/job.py", tmp_path / "f")], 1000)
    package = tmp_path / "p.tar"
    package.write_bytes(tar)
    dirs = WorkDirs(tmp_path)
    made = record(S.PLACED, package_path=str(package))
    made.placement.spec.package_sha256 = b"not this one"
    with pytest.raises(ArchiveError, match="damaged"):
        dirs.prepare(made)
    made.placement.spec.package_sha256 = b""
    dirs.prepare(made)
    work = dirs.work(made, 0.0)
    assert work.work_dir is not None
    assert (work.work_dir / "program" / "job.py").read_text() == "print()"
    (work.work_dir / "output" / "out").write_text("result")
    result, outputs = dirs.collect(made)
    assert result is not None
    assert outputs[0].path == "out"
    assert Path(result.path).stat().st_size == result.size_bytes
    (work.work_dir / "output" / "leak").symlink_to("/etc/passwd")
    with pytest.raises(ArchiveError, match="links out"):
        dirs.collect(made)
    dirs.remove(made.work_id)
    assert not work.work_dir.exists()
    assert not Path(result.path).exists()


def test_nothing_is_called_unpacked_before_it_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_text("print()")
    package = tmp_path / "p.tar"
    package.write_bytes(pack([Entry("program/deep/job.py", tmp_path / "f")], 1000))
    directory = tmp_path / "work" / "a.2"
    synced: list[tuple[str, bool]] = []

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((str(path.relative_to(directory.parent)), (directory / "unpacked").exists()))

    monkeypatch.setattr(os, "fsync", fsync)
    WorkDirs(tmp_path).prepare(record(S.PLACED, package_path=str(package)))
    before = {name for name, is_marked in synced if not is_marked}
    assert {"a.2", "a.2/program", "a.2/program/deep", "a.2/program/deep/job.py", "a.2/input"} <= before
    assert [name for name, is_marked in synced if is_marked] == ["a.2", "."]


def test_a_status_fits_an_item_however_many_files_a_job_leaves() -> None:
    made = record()
    made.outputs = tuple(OutputRecord(f"{number:0>250}", 1, bytes(32)) for number in range(5000))
    made.reason = "x" * 200_000
    assert len(status_of(made, "sat", 5.0, 60.0).SerializeToString()) < MAXIMUM_ITEM_BYTES / 1.5
