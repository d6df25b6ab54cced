from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ground.placement import (
    After,
    Need,
    NodeSize,
    PlacementSettings,
    SatelliteView,
    after_attempt,
    after_lease,
    choose,
    fits_somewhere,
    lease_end,
    retry_delay,
    spare_energy,
)
from skyrack.jobs import FINAL, JobCause, JobState

NOW = 1_000_000.0
SETTINGS = PlacementSettings()
NODE = NodeSize(700, 2, 1 << 31)


def view(name: str, watts: float = 800.0, **values: Any) -> SatelliteView:
    plain = SatelliteView(
        name=name,
        nodes=(NODE, NODE),
        heard_seconds=NOW - 5,
        power=((NOW, watts),),
        heat=((NOW, watts),),
        budget_end_seconds=NOW + 6000,
        free_nodes=2,
    )
    return replace(plain, **values)


NEED = Need(power_watts=300, expected_seconds=600)


def test_most_energy_to_spare_wins() -> None:
    assert choose(NEED, [view("a", 500), view("b", 900), view("c", 700)], NOW, SETTINGS).satellite == "b"


def test_heat_counts_as_much_as_power() -> None:
    hot = view("hot", 900, heat=((NOW, 310.0),))
    assert choose(NEED, [hot, view("cool", 600)], NOW, SETTINGS).satellite == "cool"


def test_what_was_promised_already_is_not_to_spare() -> None:
    busy = view("busy", 900, committed_watts=600.0)
    assert choose(NEED, [busy, view("idle", 500)], NOW, SETTINGS).satellite == "idle"


def test_sooner_contact_wins_at_equal_budgets() -> None:
    later = view("a", heard_seconds=NOW - 4000, next_contact_seconds=NOW + 3000)
    sooner = view("b", heard_seconds=NOW - 4000, next_contact_seconds=NOW + 600)
    assert choose(NEED, [later, sooner], NOW, SETTINGS).satellite == "b"


def test_equals_are_chosen_by_name_whatever_their_order() -> None:
    assert choose(NEED, [view("b"), view("a")], NOW, SETTINGS).satellite == "a"


def test_a_free_node_is_worth_more_than_energy() -> None:
    assert choose(NEED, [view("full", 900, free_nodes=0), view("free", 400)], NOW, SETTINGS).satellite == "free"


def test_who_gave_the_job_back_gets_it_only_if_nobody_else_can() -> None:
    views = [view("a", 900), view("b", 400)]
    assert choose(NEED, views, NOW, SETTINGS, frozenset({"a"})).satellite == "b"
    assert choose(NEED, views[:1], NOW, SETTINGS, frozenset({"a"})).satellite == "a"


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"heard_seconds": None}, "has not been heard yet"),
        ({"heard_seconds": NOW - 20_000}, "was last heard 20,000 s ago"),
        ({"accepts_jobs": False}, "accepts no jobs"),
        ({"power": ()}, "has not told its budget yet"),
        ({"nodes": (NodeSize(100, 8, 1 << 40),)}, "has no rack node large enough"),
        ({"free_nodes": 0, "jobs_unstarted": 2}, "holds as many jobs as it should"),
        ({"power": ((NOW, 100.0),)}, "has 100 W at best, it needs 300 W"),
    ],
)
def test_it_says_why_a_satellite_cannot_have_the_job(change: dict[str, Any], why: str) -> None:
    choice = choose(NEED, [view("a", **change)], NOW, SETTINGS)
    assert choice.satellite == ""
    assert choice.reason == f"a {why}"


def test_a_deadline_that_cannot_be_met_there_is_an_obstacle() -> None:
    need = replace(NEED, deadline_seconds=NOW + 1000)
    late = view("late", heard_seconds=NOW - 500, next_contact_seconds=NOW + 700)
    assert choose(need, [late], NOW, SETTINGS).reason == "late cannot finish it before its deadline"
    assert choose(need, [late, view("here", 400)], NOW, SETTINGS).satellite == "here"


def test_spare_energy_is_the_area_between_budget_and_commitments() -> None:
    eclipse = view("a", power=((NOW, 1000.0), (NOW + 2000, 0.0), (NOW + 4000, 1000.0)), heat=((NOW, 800.0),))
    eclipse = replace(eclipse, committed_watts=100.0, budget_end_seconds=NOW + 5400)
    assert spare_energy(NEED, eclipse, NOW, SETTINGS) == pytest.approx(700 * 2000 + 700 * 1400)


def test_a_job_that_fits_nowhere_is_told_why() -> None:
    views = [view("a")]
    assert fits_somewhere(NEED, views) == ""
    assert fits_somewhere(Need(power_watts=5000), views) == "it needs 5,000 watts, the largest rack node has 700"
    assert "cores" in fits_somewhere(Need(power_watts=1, cores=64), views)
    mixed = [view("a", nodes=(NodeSize(700, 1, 1), NodeSize(10, 8, 1)))]
    assert fits_somewhere(Need(power_watts=500, cores=8), mixed) == (
        "no rack node has its watts, cores and memory together"
    )
    assert fits_somewhere(NEED, []) == "there are no satellites"


def test_a_lease_never_outlives_the_deadline() -> None:
    assert lease_end(replace(NEED, deadline_seconds=NOW + 50), NOW, SETTINGS) == NOW + 50
    assert lease_end(NEED, NOW, SETTINGS) == NOW + SETTINGS.lease_seconds
    assert lease_end(replace(NEED, expected_seconds=86_400), NOW, SETTINGS) == NOW + SETTINGS.lease_seconds


def after(state: JobState, cause: JobCause = JobCause.NONE, **values: object) -> After:
    plain: dict[str, object] = {
        "failures": 0,
        "rejections": 0,
        "attempts": 1,
        "deadline_seconds": 0.0,
        "is_cancelled": False,
        "now": NOW,
        "settings": SETTINGS,
    }
    return after_attempt(state, cause, **(plain | values))  # type: ignore[arg-type]


def test_what_follows_an_attempt() -> None:
    assert after(JobState.COMPLETED) is After.END
    assert after(JobState.FAILED, JobCause.EXIT_CODE) is After.END
    assert after(JobState.FAILED, JobCause.EXIT_CODE, attempts=3) is After.AGAIN
    assert after(JobState.FAILED, JobCause.EXIT_CODE, attempts=3, failures=2) is After.END
    assert after(JobState.FAILED, JobCause.EXIT_CODE, attempts=3, rejections=5) is After.AGAIN
    assert after(JobState.FAILED, JobCause.NODE_LOST) is After.AGAIN
    assert after(JobState.FAILED, JobCause.NODE_LOST, rejections=11) is After.END
    assert after(JobState.REJECTED, JobCause.DRAINING) is After.AGAIN
    assert after(JobState.REJECTED, JobCause.DOES_NOT_FIT, rejections=11) is After.GIVE_UP
    assert after(JobState.EXPIRED, JobCause.LEASE) is After.AGAIN
    assert after(JobState.EXPIRED, JobCause.DEADLINE) is After.END
    assert after(JobState.EXPIRED, JobCause.LEASE, deadline_seconds=NOW - 1) is After.EXPIRE
    assert after(JobState.FAILED, JobCause.NODE_LOST, is_cancelled=True) is After.CANCEL
    assert after(JobState.COMPLETED, is_cancelled=True) is After.END


def test_what_follows_a_lease() -> None:
    assert after_lease(deadline_seconds=0, is_cancelled=False, now=NOW) is After.AGAIN
    assert after_lease(deadline_seconds=NOW - 1, is_cancelled=False, now=NOW) is After.EXPIRE
    assert after_lease(deadline_seconds=NOW - 1, is_cancelled=True, now=NOW) is After.CANCEL


watts = st.floats(0, 5000)
profiles = st.lists(st.tuples(st.floats(NOW - 5000, NOW + 9000), watts), max_size=6).map(lambda p: tuple(sorted(p)))
views = st.builds(
    SatelliteView,
    name=st.sampled_from("abcdef"),
    nodes=st.lists(st.builds(NodeSize, watts, st.integers(1, 8), st.integers(0, 1 << 34)), min_size=1, max_size=3).map(
        tuple
    ),
    heard_seconds=st.none() | st.floats(NOW - 50_000, NOW),
    next_contact_seconds=st.none() | st.floats(NOW - 5000, NOW + 20_000),
    accepts_jobs=st.booleans(),
    power=profiles,
    heat=profiles,
    budget_end_seconds=st.floats(NOW - 5000, NOW + 9000),
    free_nodes=st.integers(0, 4),
    committed_watts=watts,
    jobs_open=st.integers(0, 5),
    jobs_unstarted=st.integers(0, 5),
)
needs = st.builds(
    Need,
    power_watts=st.floats(1, 3000),
    cores=st.integers(1, 8),
    memory_bytes=st.integers(0, 1 << 34),
    expected_seconds=st.floats(0, 50_000),
    limit_seconds=st.floats(0, 50_000),
    deadline_seconds=st.just(0.0) | st.floats(NOW - 100, NOW + 50_000),
)


@given(needs, st.lists(views, max_size=6, unique_by=lambda v: v.name), st.randoms(use_true_random=False))
def test_a_choice_is_always_one_that_can(need: Need, found: list[SatelliteView], rng: object) -> None:
    choice = choose(need, found, NOW, SETTINGS)
    if not choice.satellite:
        assert choice.reason
        return
    chosen = next(v for v in found if v.name == choice.satellite)
    assert chosen.heard_seconds is not None
    assert NOW - chosen.heard_seconds <= SETTINGS.unreachable_seconds
    assert chosen.accepts_jobs
    assert any(node.peak_watts >= need.power_watts and node.cores >= need.cores for node in chosen.nodes)
    shuffled = list(found)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(need, shuffled, NOW, SETTINGS).satellite == choice.satellite


@given(needs, views)
def test_spare_energy_is_finite_never_negative_and_never_grows_with_commitments(need: Need, v: SatelliteView) -> None:
    joules = spare_energy(need, v, NOW, SETTINGS)
    assert math.isfinite(joules)
    assert joules >= 0
    assert spare_energy(need, replace(v, committed_watts=v.committed_watts + 100), NOW, SETTINGS) <= joules + 1e-6


@given(
    st.sampled_from(sorted(FINAL)), st.sampled_from(list(JobCause)), st.integers(0, 20), st.integers(0, 20),
    st.integers(1, 11), st.booleans(), st.booleans(),
)  # fmt: skip
def test_attempts_are_bounded_whatever_comes(
    state: JobState, cause: JobCause, failures: int, rejections: int, attempts: int, late: bool, cancelled: bool
) -> None:
    deadline = NOW - 1 if late else 0.0
    found = after(
        state, cause, failures=failures, rejections=rejections, attempts=attempts, deadline_seconds=deadline,
        is_cancelled=cancelled,
    )  # fmt: skip
    if found is After.AGAIN:
        assert not late
        assert not cancelled
        assert failures + 1 < attempts or rejections + 1 < SETTINGS.rejections_maximum


def test_waiting_before_a_retry_grows_to_a_bound() -> None:
    delays = [retry_delay(tries, SETTINGS) for tries in range(1, 40)]
    assert all(a <= b for a, b in pairwise(delays))
    assert delays[0] == SETTINGS.retry_seconds
    assert delays[-1] == SETTINGS.retry_maximum_seconds
