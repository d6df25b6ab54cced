from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from google.protobuf.message import Message

from skyrack import dictionary
from skyrack.dictionary_command import dictionary as command
from skyrack.errors import UserError
from skyrack.v1 import common_pb2, executive_pb2, options_pb2, power_pb2

# What a name ends in, where its field or parameter has this unit.
SUFFIXES = {
    "amperes": "_amperes",
    "bits per second": "_bits_per_second",
    "bytes": "_bytes",
    "celsius": "_celsius",
    "degrees": "_degrees",
    "joules": "_joules",
    "kelvins": "_kelvins",
    "meters": "_meters",
    "ratio": "_ratio",
    "radians": "_radians",
    "seconds": "_seconds",
    "volts": "_volts",
    "watts": "_watts",
}


def named_units() -> Iterator[tuple[str, str]]:
    for field in dictionary.telemetry_fields().values():
        if not field.label:
            yield field.name, field.unit
    for parameter in dictionary.parameters():
        yield f"{parameter.message}.{parameter.name}", parameter.unit


@pytest.mark.parametrize(("name", "unit"), list(named_units()))
def test_the_unit_in_a_name_is_the_unit_in_its_option(name: str, unit: str) -> None:
    bare = name.removesuffix("_total")
    ends_in = {unit for unit, suffix in SUFFIXES.items() if bare.endswith(suffix)}
    assert unit in ends_in or (unit == "" and not ends_in), f"{name} has the unit {unit!r}"


def test_everything_is_described() -> None:
    undescribed = [field.name for field in dictionary.telemetry_fields().values() if not field.description]
    undescribed += [message.name for message in dictionary.telemetry().values() if not message.description]
    undescribed += [c.name for c in dictionary.commands().values() if not c.description or not c.significance]
    undescribed += [
        f"{c.name}.{a.name}" for c in dictionary.commands().values() for a in c.arguments if not a.description
    ]
    undescribed += [p.name for p in dictionary.parameters() if not p.description]
    assert undescribed == []


def test_default_limits_rise_and_default_parameters_fit() -> None:
    for field in dictionary.telemetry_fields().values():
        assert field.limits.problems() == [], field.name
    for parameter in dictionary.parameters():
        assert parameter.minimum <= parameter.default <= parameter.maximum, parameter


def test_no_map_fields_and_no_unknown_rooms() -> None:
    rooms = {"", "executive", "navigation", "power", "thermal", "compute", "laser", "gateway"}
    for message in dictionary.telemetry().values():
        assert message.publisher in rooms
        for field in message.type.DESCRIPTOR.fields:
            inner: Any = field.message_type
            assert inner is None or not inner.GetOptions().map_entry, field.full_name
    assert {rpc.on_board for rpc in dictionary.rpcs()} <= rooms


def test_a_field_is_read_with_its_limits_and_labels() -> None:
    fields = dictionary.telemetry_fields()
    charge = fields["PowerStatus.state_of_charge_ratio"]
    assert charge.unit == "ratio"
    assert charge.limits.red_low is not None
    assert fields["PowerStatus.loads.draw_watts"].labels == ("load",)
    assert fields["PowerStatus.loads.load"].label
    assert dictionary.telemetry()["PowerStatus"].publisher == "power"
    assert dictionary.telemetry()["PowerStatus"].type is power_pb2.PowerStatus


def test_samples_tell_instances_apart_by_their_labels() -> None:
    loads = [power_pb2.LoadStatus(load=f"node-{i}", draw_watts=100.0 * i, switch_closed=True) for i in (1, 2)]
    found = dictionary.samples(power_pb2.PowerStatus(state_of_charge_ratio=0.75, loads=loads))
    assert ("PowerStatus.state_of_charge_ratio", (), 0.75) in found
    assert ("PowerStatus.loads.draw_watts", ("node-2",), 200.0) in found
    assert ("PowerStatus.loads.switch_closed", ("node-1",), True) in found


def test_samples_name_exactly_the_numeric_fields_of_the_dictionary() -> None:
    for message in dictionary.telemetry().values():
        filled = message.type()
        fill(filled)
        expected = {field.name for field in message.fields if field.kind.numeric and not field.label}
        assert {name for name, _, _ in dictionary.samples(filled)} == expected


def fill(message: Message) -> None:
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None:
            continue
        inside: Any = getattr(message, field.name)
        if field.is_repeated:
            fill(inside.add())
        else:
            inside.SetInParent()
            fill(inside)


def test_arguments_are_checked_in_sentences() -> None:
    assert dictionary.check_arguments(executive_pb2.SetModeRequest(mode=executive_pb2.MODE_SAFE)) == []
    [problem] = dictionary.check_arguments(executive_pb2.SetModeRequest())
    assert problem == "mode is missing: must be one of boot, nominal, safe"


@pytest.mark.parametrize("name", ["SetPump", "set_pump", "set-pump"])
def test_a_command_is_built_from_what_a_person_typed(name: str) -> None:
    found = dictionary.command_named(name)
    built: Any = dictionary.build_request(found, {"duty_ratio": "0.5", "hold_seconds": "60"})
    assert built.duty_ratio == 0.5
    for value in ("1.5", "nan", "much"):
        with pytest.raises(UserError, match=r"duty_ratio is .*: must be a number from 0 to 1"):
            dictionary.build_request(found, {"duty_ratio": value})
    with pytest.raises(UserError, match='did you mean "duty_ratio"'):
        dictionary.build_request(found, {"duty": "0.5"})


def test_messages_inside_commands_are_typed_as_pairs() -> None:
    limits = dictionary.build_request(
        dictionary.command_named("SetLimits"), {"field": "A.b", "limits": "red_low=1, red_high=4"}
    )
    assert limits == executive_pb2.SetLimitsRequest(field="A.b", limits=options_pb2.Limits(red_low=1, red_high=4))
    values = dictionary.build_request(dictionary.command_named("SetParameters"), {"values": "a=1,b=2"})
    pairs = [common_pb2.ParameterValue(name="a", value=1), common_pb2.ParameterValue(name="b", value=2)]
    assert values == common_pb2.SetParametersRequest(values=pairs)


def test_an_unknown_command_is_answered_with_a_close_one() -> None:
    with pytest.raises(UserError, match='did you mean "SetLoadSwitch"'):
        dictionary.command_named("set-load-swich")


def test_parameters_start_at_their_defaults_and_stay_in_range() -> None:
    parameters = dictionary.default_parameters(power_pb2.PowerParameters)
    assert dictionary.check_parameters(parameters) == []
    changed = dictionary.apply_parameters(parameters, [("depth_of_discharge_ratio", 0.2)])
    assert (changed.depth_of_discharge_ratio, parameters.depth_of_discharge_ratio) == (0.2, 0.3)
    for name, value in [("depth_of_discharge_ratio", 2.0), ("depth_of_discharge_ratio", math.nan), ("depth", 0.2)]:
        with pytest.raises(UserError, match="depth"):
            dictionary.apply_parameters(parameters, [(name, value)])


def test_limits_go_to_messages_and_back() -> None:
    limits = dictionary.telemetry_fields()["PowerStatus.state_of_charge_ratio"].limits
    assert dictionary.read_limits(dictionary.write_limits(limits)) == limits
    assert dictionary.default_limits().of("PowerStatus.state_of_charge_ratio") == limits


def test_the_command_prints_json_and_tables() -> None:
    printed = CliRunner().invoke(command, ["--json"])
    found = json.loads(printed.output)
    assert {row["name"] for row in found["telemetry"]} == set(dictionary.telemetry_fields())
    assert {row["name"] for row in found["commands"]} == set(dictionary.commands())
    assert CliRunner().invoke(command, ["charge"]).exit_code == 0
    assert CliRunner().invoke(command, ["nonesuch"]).exit_code == 2


def test_an_argument_that_may_be_zero_must_still_be_given() -> None:
    command = dictionary.command_named("SetLoadSwitch")
    with pytest.raises(UserError, match="closed is missing: must be given"):
        dictionary.build_request(command, {"load": "node-2"})
    built: Any = dictionary.build_request(command, {"load": "node-2", "closed": "false"})
    assert not built.closed
