"""The planner keeps to the budget, serves in order, and says the same to the same question."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flight.compute.admission import refuse
from flight.compute.budget import Budgets
from flight.compute.planner import JobView, NodeView, Settings, StopReason, holds_until, plan, suits
from flight.compute.profile import Profile, least
from flight.compute.views import node_views
from flight.hal import NodeState
from skyrack.jobs import JobCause
from skyrack.satellite import RackNode
from skyrack.v1 import power_pb2, thermal_pb2

SETTINGS = Settings()
NODES = [NodeView(f"node-{n}", 50.0, 500.0 + 100 * n, 2, 1 << 30) for n in range(3)]


def job(name: str, watts: float = 400.0, **changes: object) -> JobView:
    values: dict[str, object] = {
        "priority": 50,
        "deadline_seconds": 0.0,
        "sequence": int(name) if name.isdigit() else sum(map(ord, name)),
        "cores": 1,
        "memory_bytes": 1 << 20,
        "stop_seconds": 5.0,
    }
    return JobView(name, power_watts=watts, **(values | changes))  # type: ignore[arg-type]


profiles = st.lists(
    st.tuples(st.floats(-100, 1000), st.floats(0, 3000)), min_size=1, max_size=6, unique_by=lambda step: step[0]
).map(lambda steps: Profile.of(steps, 6000.0))


@st.composite
def jobs(draw: st.DrawFn) -> list[JobView]:
    free = ["node-0", "node-1", "node-2"]
    found = []
    for number in range(draw(st.integers(0, 8))):
        node = draw(st.sampled_from(["", *free])) if draw(st.booleans()) else ""
        watts = draw(st.floats(10, 500))
        if node:
            free.remove(node)
        found.append(
            job(
                str(number),
                watts,
                priority=draw(st.sampled_from([10, 50, 90])),
                deadline_seconds=draw(st.sampled_from([0.0, 500.0, 900.0])),
                stop_seconds=draw(st.sampled_from([1.0, 30.0, 300.0])),
                node=node,
            )
        )
    return found


@given(profiles, jobs(), st.floats(0, 500))
@settings(max_examples=300)
def test_what_runs_fits_the_budget_for_as_long_as_it_needs_to_stop(
    budget: Profile, waiting: list[JobView], now: float
) -> None:
    planned = plan(now, budget, NODES, waiting, SETTINGS)
    idle = sum(node.idle_watts for node in NODES)
    by_id = {item.job_id: item for item in waiting}
    added = sum(item.cap_watts - 50.0 for item in planned.run)
    for item in planned.run:
        view = by_id[item.job_id]
        if added > 0:
            until = now + view.stop_seconds + SETTINGS.lead_seconds
            # Jobs before it in the order may be stopped sooner than it: they count for their own time only.
            mine = sum(other.cap_watts - 50.0 for other in planned.run if by_id[other.job_id].order <= view.order)
            assert idle + mine <= budget.lowest(now, until) * (1 - SETTINGS.margin_ratio) + 1e-6 or mine == 0
        assert item.cap_watts - 50.0 <= max(0.0, view.power_watts - 50.0) + 1e-9
        assert suits(view, next(node for node in NODES if node.name == item.node))
        assert not view.node or view.node == item.node
    assert len({item.node for item in planned.run}) == len(planned.run)
    stopped = {job_id for job_id, _ in planned.stop}
    running = {item.job_id for item in planned.run}
    assert not stopped & running
    assert {view.job_id for view in waiting if view.node} == stopped | {j for j in running if by_id[j].node}


@given(profiles, jobs(), st.floats(0, 500))
def test_the_first_in_order_runs_whenever_it_can(budget: Profile, waiting: list[JobView], now: float) -> None:
    if not waiting:
        return
    first = min(waiting, key=lambda view: view.order)
    alone = plan(now, budget, NODES, [first], SETTINGS)
    planned = plan(now, budget, NODES, waiting, SETTINGS)
    if not alone.run:
        return
    will_run = {item.job_id for item in planned.run}
    freed = any(why is StopReason.YIELDS for _, why in planned.stop)
    full = all(view.node for view in waiting if view.node) and len({v.node for v in waiting if v.node}) == len(NODES)
    same_rank = all(view.priority >= first.priority for view in waiting if view.node)
    assert first.job_id in will_run or freed or (full and same_rank)


@given(profiles, jobs(), st.floats(0, 500), st.randoms(use_true_random=False))
def test_equal_questions_get_equal_answers(
    budget: Profile, waiting: list[JobView], now: float, shuffler: random.Random
) -> None:
    shuffled, nodes = list(waiting), list(NODES)
    shuffler.shuffle(shuffled)
    shuffler.shuffle(nodes)
    assert plan(now, budget, NODES, waiting, SETTINGS) == plan(now, budget, nodes, shuffled, SETTINGS)


@given(profiles, jobs(), st.floats(0, 500), st.floats(0, 1))
def test_a_plan_holds_as_long_as_it_says(budget: Profile, waiting: list[JobView], now: float, part: float) -> None:
    until = min(now + 2000.0, holds_until(now, budget, waiting, SETTINGS))
    later = now + (until - now) * part * 0.999
    assert plan(now, budget, NODES, waiting, SETTINGS) == plan(later, budget, NODES, waiting, SETTINGS)


def test_lowest_value_is_stopped_first_and_before_the_edge() -> None:
    budget = Profile.of([(0.0, 2000.0), (100.0, 700.0)], 6000.0)
    high, low = job("1", priority=90, node="node-0"), job("2", priority=10, node="node-1")
    before = plan(80.0, budget, NODES, [high, low], SETTINGS)
    assert {item.job_id for item in before.run} == {"1", "2"}
    at_edge = plan(100.0 - SETTINGS.lead_seconds - 5.0, budget, NODES, [high, low], SETTINGS)
    assert [item.job_id for item in at_edge.run] == ["1"]
    assert at_edge.stop == (("2", StopReason.BUDGET),)


def test_less_power_is_a_cap_down_to_half() -> None:
    def cap(watts: float) -> list[float]:
        budget = Profile.constant(watts / (1 - SETTINGS.margin_ratio))
        return [item.cap_watts for item in plan(0.0, budget, NODES, [job("1", 450.0, node="node-0")], SETTINGS).run]

    assert cap(1000.0) == [450.0]
    assert cap(400.0) == pytest.approx([300.0])
    assert cap(300.0) == []


def test_nothing_begins_shortly_before_an_edge() -> None:
    budget = Profile.of([(0.0, 2000.0), (100.0, 0.0)], 6000.0)
    assert plan(0.0, budget, NODES, [job("1")], SETTINGS).run
    assert not plan(50.0, budget, NODES, [job("1")], SETTINGS).run
    assert plan(50.0, budget, NODES, [job("1", node="node-0")], SETTINGS).run


def test_work_that_is_ending_keeps_its_node_and_its_watts() -> None:
    blocked = [NodeView("node-0", 50.0, 500.0, 2, 1 << 30, blocked=True, draw_watts=450.0)]
    assert not plan(0.0, Profile.constant(5000.0), blocked, [job("1")], SETTINGS).run
    two = [*blocked, NODES[1]]
    assert not plan(0.0, Profile.constant(600.0), two, [job("1")], SETTINGS).run
    assert plan(0.0, Profile.constant(1000.0), two, [job("1")], SETTINGS).run


def test_an_unpowered_node_is_left_alone() -> None:
    dark = [NodeView("node-0", 50.0, 500.0, 2, 1 << 30, powered=False)]
    assert not plan(0.0, Profile.constant(5000.0), dark, [job("1")], SETTINGS).run


def test_the_least_of_profiles() -> None:
    first = Profile.of([(0.0, 10.0), (10.0, 20.0)], 100.0)
    second = Profile.of([(5.0, 15.0), (20.0, 5.0)], 50.0)
    both = least([first, second])
    assert [both.at(t) for t in (0.0, 5.0, 12.0, 25.0)] == [10.0, 10.0, 15.0, 5.0]
    assert both.end == 50.0
    assert both.lowest(0.0, 12.0) == 10.0
    assert both.highest(0.0) == 15.0
    assert Profile.of([], 1.0).at(0.0) == 0.0


def test_budgets_grow_stale() -> None:
    budgets = Budgets(rate=1.0, started_seconds=0.0)
    assert budgets.combined(100.0) is None
    steps = [power_pb2.BudgetSlice(start_seconds=0.0, watts=300.0)]
    budgets.take("power", 100.0, power_pb2.PowerBudget(compute=steps, end_seconds=9000.0))
    assert budgets.combined(100.0) is None
    budgets.take("thermal", 100.0, thermal_pb2.ThermalBudget(compute=steps, end_seconds=9000.0))
    known = budgets.combined(110.0)
    assert known is not None
    assert known.at(110.0) == 300.0
    stale = budgets.combined(100.0 + budgets.patience_seconds + 1)
    assert stale is not None
    assert stale.at(500.0) == 0.0


def test_admission_waits_for_a_budget_that_looks_far_enough() -> None:
    def reason(budget: Profile | None) -> JobCause | None:
        refusal = refuse(
            job("1"), now=0.0, lease_end_seconds=math.inf, nodes=NODES, budget=budget, settings=SETTINGS, draining=False
        )
        return refusal.cause if refusal else None

    assert reason(None) is None
    assert reason(Profile.of([(0.0, 200.0)], 100.0)) is None
    assert reason(Profile.of([(0.0, 200.0)], 5000.0)) is JobCause.DOES_NOT_FIT
    assert reason(Profile.of([(0.0, 200.0), (4000.0, 2000.0)], 5000.0)) is None


def test_nothing_is_begun_on_a_silent_node_and_what_runs_there_runs_on() -> None:
    designs = [RackNode(name=name, idle_watts=50.0, peak_watts=500.0) for name in ("node-0", "node-1")]
    states = {
        name: NodeState(powered=True, draw_watts=50.0, cap_watts=500.0, running=()) for name in ("node-0", "node-1")
    }
    views = node_views(designs, states, (), silent={"node-0"})
    assert [view.blocked for view in views] == [True, False]
    budget = Profile((0.0,), (5000.0,))
    found = plan(0.0, budget, views, [job("1")], SETTINGS)
    assert [placement.node for placement in found.run] == ["node-1"]
    held = plan(0.0, budget, views, [job("1", node="node-0")], SETTINGS)
    assert [(placement.node, held.stop) for placement in held.run] == [("node-0", ())]
