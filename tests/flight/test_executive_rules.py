"""Fault rules as an operator writes them, and values as the monitor judges them."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight.executive.limits import LimitsInForce, limits_of
from flight.executive.memory import Memory
from flight.executive.monitor import SAMPLES_TO_RECOVER, Monitor
from flight.executive.rules import Action, Rule, RuleState, load_rules
from flight.executive.run import rules_for
from skyrack import files
from skyrack.dictionary import default_limits
from skyrack.errors import UserError
from skyrack.limits import NONE, Level, Limits
from skyrack.satellite import SatelliteFile, load_satellite
from skyrack.v1 import common_pb2, power_pb2, thermal_pb2

CHARGE = "PowerStatus.state_of_charge_ratio"
DRAW = "PowerStatus.loads.draw_watts"
SHIPPED = Path(__file__).parents[2] / "flight" / "executive" / "rules.toml"
SATELLITES = [load_satellite(files.shipped("satellites", name)) for name in files.shipped_names("satellites")]


def charge(ratio: float) -> power_pb2.PowerStatus:
    return power_pb2.PowerStatus(state_of_charge_ratio=ratio)


def draws(**watts: float) -> power_pb2.PowerStatus:
    loads = [power_pb2.LoadStatus(load=name.replace("_", "-"), draw_watts=value) for name, value in watts.items()]
    return power_pb2.PowerStatus(state_of_charge_ratio=0.9, loads=loads)


def rule(**values: object) -> Rule:
    return Rule(**{"name": "r", "field": CHARGE, "level": "red_low", "text": "t", **values})  # type: ignore[arg-type]


@pytest.mark.parametrize("satellite", SATELLITES, ids=lambda satellite: satellite.name)
def test_shipped_rules_fit_every_shipped_satellite(satellite: SatelliteFile) -> None:
    assert rules_for(SHIPPED, satellite, ("power", "thermal", "compute"))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"field": '"PowerStatus.state_of_charge"'}, 'did you mean "PowerStatus.state_of_charge_ratio"?'),
        ({"level": '"red_high"'}, "PowerStatus.state_of_charge_ratio has no such limit"),
        ({"level": '"purple"'}, "purple"),
        ({"persistence": "0"}, "persistence"),
        ({"persistance": "3"}, 'did you mean "persistence"?'),
        ({"action": '"explode"'}, "explode"),
        ({"action": '"restart_service"', "target": '"powr"'}, 'must be a service; did you mean "power"?'),
        ({"action": '"restart_service"'}, "must name a service"),
        ({"action": '"open_load"', "target": '"node-9"'}, "must be a load"),
        ({"action": '"safe_mode"', "target": '"power"'}, "must be empty: safe_mode has no target"),
        ({"instance": '"node-1"'}, "must be empty: PowerStatus.state_of_charge_ratio has no instances"),
        ({"text": '""'}, "text"),
    ],
)
def test_a_wrong_rule_is_one_sentence(tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    row = {"name": '"low"', "field": f'"{CHARGE}"', "level": '"red_low"', "text": '"low"', **change}
    path = tmp_path / "rules.toml"
    path.write_text("[[rules]]\n" + "".join(f"{key} = {value}\n" for key, value in row.items()))
    with pytest.raises(files.FileError) as caught:
        load_rules(path, default_limits(), services=["power"], loads=["node-1"])
    assert sentence in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_two_rules_of_one_name(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    row = f'[[rules]]\nname = "a"\nfield = "{CHARGE}"\nlevel = "red_low"\ntext = "t"\n'
    path.write_text(row + row)
    with pytest.raises(files.FileError, match="no other rule"):
        load_rules(path, default_limits(), services=[], loads=[])


def test_a_crossing_is_told_once_and_its_end_after_some_samples() -> None:
    monitor = Monitor(default_limits())
    assert monitor.check(charge(0.9)) == ([], [])
    ((crossing,), _) = monitor.check(charge(0.55))
    assert (crossing.previous, crossing.level, crossing.field) == (Level.NOMINAL, Level.YELLOW_LOW, CHARGE)
    ((crossing,), _) = monitor.check(charge(0.4))
    assert (crossing.previous, crossing.level) == (Level.YELLOW_LOW, Level.RED_LOW)
    told = [monitor.check(charge(0.7))[0] for _ in range(SAMPLES_TO_RECOVER)]
    assert [len(crossings) for crossings in told] == [0] * (SAMPLES_TO_RECOVER - 1) + [1]
    assert told[-1][0].level is Level.NOMINAL
    assert monitor.levels() == {}


def test_not_a_number_is_red() -> None:
    ((crossing,), _) = Monitor(default_limits()).check(charge(float("nan")))
    assert crossing.level.red


@given(st.lists(st.booleans(), max_size=60), st.integers(1, 6))
def test_a_rule_fires_after_its_persistence_and_once_per_episode(low: list[bool], persistence: int) -> None:
    monitor = Monitor(default_limits(), [rule(persistence=persistence)])
    run, within, armed = 0, 0, True
    for is_low in low:
        fired = bool(monitor.check(charge(0.3 if is_low else 0.9))[1])
        run, within = (run + 1, 0) if is_low else (0, within + 1)
        assert fired == (armed and run >= persistence)
        armed = (armed and not fired) or within >= persistence


def test_yellow_rules_hold_beyond_red() -> None:
    monitor = Monitor(default_limits(), [rule(level="yellow_low", persistence=2)])
    monitor.check(charge(0.55))
    (_, (firing,)) = monitor.check(charge(0.1))
    assert firing.level is Level.RED_LOW


def test_instances_are_judged_apart() -> None:
    limits = default_limits().override(DRAW, Limits(red_high=100))
    watch = rule(field=DRAW, level="red_high", action=Action.OPEN_LOAD)
    monitor = Monitor(limits, [watch])
    crossings, (firing,) = monitor.check(draws(node_1=50, node_2=200))
    assert [crossing.instance for crossing in crossings] == ["node-2"]
    assert watch.target_of(firing.instance) == "node-2"
    _, (firing,) = monitor.check(draws(node_1=200, node_2=200))
    assert firing.instance == "node-1"
    only = Monitor(limits, [rule(field=DRAW, level="red_high", instance="node-1")])
    assert only.check(draws(node_1=50, node_2=200))[1] == []


def test_health_is_judged_by_service() -> None:
    monitor = Monitor(default_limits())
    ((crossing,), _) = monitor.check(common_pb2.Health(service="power", loop_lag_seconds=3))
    assert crossing.instance == "power"


def test_both_sides_of_a_field_are_watched() -> None:
    monitor = Monitor(default_limits())
    for celsius, level in ((-10, Level.RED_LOW), (60, Level.RED_HIGH)):
        status = thermal_pb2.ThermalStatus(battery_celsius=celsius, chip_maximum_celsius=20)
        assert monitor.check(status)[0][-1].level is level


def test_limits_come_from_contract_file_and_command_in_that_order() -> None:
    satellite = SATELLITES[0]
    memory = Memory()
    satellite = msgspec.structs.replace(satellite, limits={CHARGE: {"red_low": 0.3}})
    limits = LimitsInForce(satellite, memory, ())
    assert limits.overrides == {CHARGE: Limits(red_low=0.3)}
    limits.command(CHARGE, Limits(red_low=0.1))
    assert LimitsInForce(satellite, memory, ()).overrides == {CHARGE: Limits(red_low=0.1)}
    limits.command(CHARGE, NONE)
    assert limits.overrides == {CHARGE: Limits(red_low=0.3)}
    assert memory.limits == {}
    for name, given_limits in (("PowerStatus.nothing", Limits(red_low=1)), (CHARGE, Limits(red_low=2, red_high=1))):
        with pytest.raises(UserError):
            limits.command(name, given_limits)
    assert limits.overrides == {CHARGE: Limits(red_low=0.3)}


@pytest.mark.parametrize("kept", [{"PowerStatus.gone": {"red_low": 1.0}}, {CHARGE: {"red_middle": 1.0}}])
def test_kept_overrides_that_no_longer_fit_are_dropped_with_a_sentence(kept: dict[str, dict[str, float]]) -> None:
    memory = Memory(limits=kept)
    limits = LimitsInForce(SATELLITES[0], memory, ())
    assert limits.overrides == dict(limits_of(SATELLITES[0]).overrides)
    assert len(limits.problems) == 1


def test_states_of_rules_are_kept() -> None:
    memory = Memory()
    rules = (rule(name="a"), rule(name="b", state=RuleState.PASSIVE))
    limits = LimitsInForce(SATELLITES[0], memory, rules)
    limits.command_rule("a", RuleState.DISABLED)
    with pytest.raises(UserError, match="there is no fault rule c"):
        limits.command_rule("c", RuleState.ACTIVE)
    assert LimitsInForce(SATELLITES[0], memory, rules).states == {"a": RuleState.DISABLED, "b": RuleState.PASSIVE}


def test_new_limits_keep_the_state_of_other_fields() -> None:
    monitor = Monitor(default_limits())
    monitor.check(charge(0.3))
    monitor.use(default_limits().override(DRAW, Limits(red_high=1)))
    assert monitor.levels() == {(CHARGE, ""): Level.RED_LOW}
    assert "PowerStatus" in monitor.messages
    assert monitor.check(charge(0.3)) == ([], [])
