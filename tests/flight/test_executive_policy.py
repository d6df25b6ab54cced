"""What the executive decides: restarts, supervision, modes, escalation, the rack's power."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight.executive.memory import Memory, Store
from flight.executive.modes import TRANSITIONS, Cause, Mode, after, at_start
from flight.executive.rack import RackSwitches
from flight.executive.restarts import Escalation, RestartPolicy, escalate
from flight.executive.supervision import GiveUp, Kill, Start, State, Supervision
from skyrack.disk import HostFile

gaps = st.lists(st.floats(0, 500), min_size=1, max_size=60)


@given(gaps)
def test_restarts_are_bounded_in_every_window(pauses: list[float]) -> None:
    policy = RestartPolicy()
    now, restarted = 0.0, []
    history: tuple[float, ...] = ()
    for pause in pauses:
        now += pause
        history, delay = policy.next(history, now)
        if delay is not None:
            restarted.append(now)
            assert policy.initial_delay_seconds <= delay <= policy.maximum_delay_seconds
        recent = [time for time in restarted if now - time < policy.window_seconds]
        assert len(recent) <= policy.maximum_restarts


def test_delays_double_and_start_over_after_a_quiet_time() -> None:
    policy = RestartPolicy(initial_delay_seconds=1, factor=2, maximum_delay_seconds=5, maximum_restarts=4)
    history: tuple[float, ...] = ()
    delays = []
    for now in (0, 1, 2, 3, 4):
        history, delay = policy.next(history, now)
        delays.append(delay)
    assert delays == [1, 2, 4, 5, None]
    assert policy.next(history, 1000)[1] == 1


def test_a_service_comes_up_hangs_and_comes_back() -> None:
    supervision = Supervision(["power", "thermal"])
    assert supervision.start("power") == [Start("power", 0.0)]
    assert supervision.start("power") == []
    supervision.started("power")
    assert supervision.down == ["power", "thermal"]
    assert supervision.answered("power", 0.01)
    assert not supervision.answered("power", 0.01)
    assert supervision.down == ["thermal"]
    assert supervision.silent("power") == [], "one silence proves nothing"
    supervision.answered("power", 0.5)
    assert supervision.silent("power") == []
    assert supervision.silent("power") == [Kill("power")]
    (order,) = supervision.ended("power", 10.0)
    assert isinstance(order, Start)
    assert supervision.services["power"].state is State.BACKOFF
    assert supervision.services["power"].restarts == 1


def test_a_start_without_an_answer_is_killed() -> None:
    supervision = Supervision(["power"])
    supervision.start("power")
    supervision.started("power")
    assert supervision.silent("power") == [Kill("power")]


def test_it_gives_up_and_may_be_told_to_try_again() -> None:
    supervision = Supervision(["power"], RestartPolicy(maximum_restarts=2))
    supervision.start("power")
    assert [type(supervision.ended("power", now)[0]) for now in (0.0, 1.0, 2.0)] == [Start, Start, GiveUp]
    assert supervision.failed == ["power"]
    assert supervision.start("power") == [Start("power", 0.0)]
    assert supervision.failed == []


def test_a_restart_on_request_costs_nothing() -> None:
    supervision = Supervision(["power"], RestartPolicy(maximum_restarts=1))
    supervision.start("power")
    supervision.started("power")
    for now in range(5):
        assert supervision.restart("power") == [Kill("power")]
        assert supervision.ended("power", now) == [Start("power", 0.0)]
        assert supervision.restart("power") == [], "it starts anyway"
        supervision.started("power")
    assert supervision.services["power"].history == ()


def test_modes_have_one_table() -> None:
    assert after(Mode.BOOT, Cause.SERVICES_UP) is Mode.NOMINAL
    assert after(Mode.SAFE, Cause.SERVICES_UP) is Mode.SAFE, "only a command ends the safe mode"
    assert after(Mode.SAFE, Cause.COMMAND_NOMINAL) is Mode.BOOT
    assert after(Mode.BOOT, Cause.COMMAND_NOMINAL) is Mode.BOOT
    assert {mode for mode, _ in TRANSITIONS} == set(Mode)
    assert [at_start(mode) for mode in (None, Mode.BOOT, Mode.NOMINAL, Mode.SAFE)] == [Mode.BOOT] * 3 + [Mode.SAFE]


@given(st.lists(st.sampled_from(Cause)))
def test_safe_is_left_by_command_only(causes: list[Cause]) -> None:
    mode = Mode.SAFE
    for cause in causes:
        before, mode = mode, after(mode, cause)
        assert before is not Mode.SAFE or mode is Mode.SAFE or cause is Cause.COMMAND_NOMINAL


def test_the_ladder() -> None:
    def step(service: str, **state: int) -> Escalation:
        return escalate(
            service, safe=bool(state.get("safe")), recent_reboots=state.get("reboots", 0), maximum_reboots=2
        )

    assert step("power") is Escalation.SAFE_MODE
    assert step("laser") is Escalation.SAFE_MODE
    assert step("power", safe=1) is Escalation.REBOOT
    assert step("power", safe=1, reboots=2) is Escalation.GIVE_UP
    assert step("laser", safe=1) is Escalation.GIVE_UP


def test_the_rack_loses_power_after_a_grace_and_gets_it_back() -> None:
    switched: list[tuple[str, bool]] = []
    broken: set[str] = {"node-2"}

    async def set_switch(node: str, closed: bool) -> str:
        switched.append((node, closed))
        return "no answer" if node in broken else ""

    memory = Memory()
    rack = RackSwitches(["node-1", "node-2"], memory, set_switch)
    assert rack.due(Mode.NOMINAL, 0, 10) is None, "what was not opened here is not closed here"
    assert rack.due(Mode.SAFE, 100, 10) is None
    assert rack.due(Mode.SAFE, 109, 10) is None
    assert rack.due(Mode.SAFE, 110, 10) is False
    assert not asyncio.run(rack.set(closed=False))
    assert rack.due(Mode.SAFE, 115, 10) is False, "one switch did not obey: again"
    assert rack.due(Mode.NOMINAL, 116, 10) is True, "the other did, and must not stay open"
    assert rack.due(Mode.SAFE, 120, 0) is False
    broken.clear()
    assert asyncio.run(rack.set(closed=False))
    assert memory.rack_opened
    assert rack.due(Mode.SAFE, 131, 10) is None
    assert rack.due(Mode.BOOT, 121, 10) is None
    again = RackSwitches(["node-1", "node-2"], memory, set_switch)
    assert again.due(Mode.NOMINAL, 122, 10) is True, "a restart in between changes nothing"
    assert asyncio.run(again.set(closed=True))
    assert again.due(Mode.NOMINAL, 127, 10) is None
    assert switched[-2:] == [("node-1", True), ("node-2", True)]


def test_memory_outlives_restarts(tmp_path: Path) -> None:
    path = tmp_path / "executive.json"
    store = Store(HostFile(path))
    store.memory.mode = Mode.SAFE.name
    store.memory.limits["PowerStatus.state_of_charge_ratio"] = {"red_low": 0.4}
    store.save()
    again = Store(HostFile(path))
    assert again.memory.last_mode is Mode.SAFE
    assert again.memory.limits == {"PowerStatus.state_of_charge_ratio": {"red_low": 0.4}}
    assert not again.problem
    assert [file.name for file in path.parent.iterdir()] == ["executive.json"]
    Store(HostFile(path)).memory.mode = "not saved"
    assert Store(HostFile(path)).memory.last_mode is Mode.SAFE


@pytest.mark.parametrize("text", ["", "{", '{"boots": "many"}', "[]"])
def test_a_broken_memory_is_told_and_begun_anew(tmp_path: Path, text: str) -> None:
    path = tmp_path / "executive.json"
    path.write_text(text)
    store = Store(HostFile(path))
    assert "cannot be read and is begun anew" in store.problem
    assert store.memory == Memory()
