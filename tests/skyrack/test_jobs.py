"""The transition table: final is final, old attempts are fenced, order of arrival does not matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from skyrack.jobs import (
    DIRECT,
    FINAL,
    REACHABLE,
    JobCause,
    JobState,
    Standing,
    Verdict,
    advance,
    may_retry,
    standing_of,
)
from skyrack.v1 import job_pb2

S = JobState
standings = st.builds(Standing, st.sampled_from(JobState), st.integers(0, 3), st.integers(0, 5))


def test_states_are_the_contracts() -> None:
    assert {state.value for state in JobState} == set(job_pb2.JobState.values()) - {0}
    assert {cause.value for cause in JobCause} == set(job_pb2.JobCause.values())


def test_a_job_that_goes_well() -> None:
    at = Standing(S.SUBMITTED)
    for step in (
        Standing(S.PLACED),
        Standing(S.ACCEPTED, 0, 1),
        Standing(S.RUNNING, 0, 2),
        Standing(S.PREEMPTED, 0, 3),
        Standing(S.RUNNING, 0, 4),
        Standing(S.RUNNING, 0, 5),
        Standing(S.COMPLETED, 0, 6),
    ):
        assert advance(at, step) is Verdict.ACCEPTED
        at = step


def test_every_state_can_end_and_final_ones_lead_nowhere() -> None:
    for state in JobState:
        assert bool(DIRECT[state]) is (state not in FINAL)
        if state not in FINAL:
            assert FINAL & REACHABLE[state]


def test_missing_statuses_may_be_skipped_but_not_invented() -> None:
    assert advance(Standing(S.PLACED, 1), Standing(S.COMPLETED, 1, 4)) is Verdict.ACCEPTED
    assert advance(Standing(S.PLACED, 1), Standing(S.COMPLETED, 1, 1)) is Verdict.ILLEGAL
    assert advance(Standing(S.RUNNING, 1, 2), Standing(S.ACCEPTED, 1, 9)) is Verdict.ILLEGAL


def test_old_attempts_are_fenced() -> None:
    assert advance(Standing(S.PLACED, 2), Standing(S.COMPLETED, 1, 9)) is Verdict.STALE
    assert advance(Standing(S.PLACED, 1), Standing(S.RUNNING, 2, 1)) is Verdict.ILLEGAL
    assert advance(Standing(S.FAILED, 1, 4), Standing(S.PLACED, 2)) is Verdict.ACCEPTED
    assert advance(Standing(S.COMPLETED, 1, 4), Standing(S.PLACED, 2)) is Verdict.ILLEGAL
    assert advance(Standing(S.CANCELLED, 1, 4), Standing(S.PLACED, 2)) is Verdict.ILLEGAL


@given(standings, standings)
def test_final_is_final_and_repeats_are_stale(current: Standing, incoming: Standing) -> None:
    verdict = advance(current, incoming)
    if verdict is Verdict.ACCEPTED:
        if current.state.final:
            assert incoming.attempt > current.attempt
        assert advance(incoming, incoming) is Verdict.STALE


@given(st.permutations(range(6)))
def test_order_of_arrival_does_not_change_the_outcome(order: list[int]) -> None:
    told = [
        Standing(S.ACCEPTED, 1, 1),
        Standing(S.RUNNING, 1, 2),
        Standing(S.PREEMPTED, 1, 3),
        Standing(S.RUNNING, 1, 4),
        Standing(S.RUNNING, 1, 5),
        Standing(S.COMPLETED, 1, 6),
    ]
    at = Standing(S.PLACED, 1)
    for index in order:
        verdict = advance(at, told[index])
        assert verdict is not Verdict.ILLEGAL
        if verdict is Verdict.ACCEPTED:
            at = told[index]
    assert at == told[-1]


def test_retries() -> None:
    assert may_retry(S.FAILED, JobCause.EXIT_CODE, 1, 2)
    assert not may_retry(S.FAILED, JobCause.EXIT_CODE, 2, 2)
    assert may_retry(S.REJECTED, JobCause.DOES_NOT_FIT, 3, 1)
    assert may_retry(S.EXPIRED, JobCause.LEASE, 1, 1)
    assert not may_retry(S.EXPIRED, JobCause.DEADLINE, 1, 5)
    assert not may_retry(S.COMPLETED, JobCause.NONE, 1, 5)
    assert not may_retry(S.FAILED, JobCause.NODE_LOST, 99, 1)


def test_standing_of_a_status() -> None:
    status = job_pb2.JobStatus(job_id="a", attempt=2, version=3, state=job_pb2.JOB_STATE_RUNNING)
    assert standing_of(status) == Standing(S.RUNNING, 2, 3)
