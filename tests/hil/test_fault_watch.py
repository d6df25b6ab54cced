"""What is told of faults after a run, from a made-up stream of messages and looks."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from google.protobuf.message import Message

from flight.bus.wire import topic_of
from hil.fault_meanings import MEANINGS
from hil.fault_watch import FaultOutcome, FaultWatch, Truth
from hil.faults import KINDS, Fault, parse_faults
from skyrack import files
from skyrack.satellite import load_constellation
from skyrack.v1.common_pb2 import Event, EventField
from skyrack.v1.executive_pb2 import (
    MODE_BOOT,
    MODE_NOMINAL,
    MODE_SAFE,
    SERVICE_STATE_RUNNING,
    LimitViolation,
    ManagedService,
    SatelliteStatus,
)
from skyrack.v1.job_pb2 import JOB_CAUSE_NODE_LOST, JOB_STATE_PREEMPTED, JOB_STATE_RUNNING, JobStatus

START = 1e9


class Stream:
    def __init__(self, *faults: dict[str, Any]) -> None:
        _, designs = load_constellation(files.shipped("constellations", "demo"))
        parsed = parse_faults([{"satellite": "sat-1", **fault} for fault in faults], "test")
        self.watch = FaultWatch(parsed, designs, START)

    def hear(self, seconds: float, message: Message, satellite: str = "sat-1") -> None:
        topic = topic_of(message.DESCRIPTOR.full_name, "")
        self.watch.hear(satellite, topic, b"", message.SerializeToString(), START + seconds)

    def event(self, seconds: float, source: str, name: str, **about: str) -> None:
        fields = [EventField(name=key, value=value) for key, value in about.items()]
        self.hear(seconds, Event(source=source, name=name, fields=fields))

    def status(self, begin: int, end: int, mode: Any = MODE_NOMINAL, reason: str = "") -> None:
        services = [ManagedService(service="power", state=SERVICE_STATE_RUNNING)]
        for seconds in range(begin, end, 5):
            self.hear(seconds, SatelliteStatus(mode=mode, reason=reason, services=services))

    def look(self, begin: int, end: int, chip: float = 40.0) -> None:
        for seconds in range(begin, end, 5):
            self.watch.look("sat-1", Truth(0.8, chip), START + seconds)

    def outcome(self) -> FaultOutcome:
        return self.watch.outcomes()[0]


def test_every_kind_has_a_meaning() -> None:
    assert set(MEANINGS) == set(KINDS)
    assert len(KINDS) == len(get_args(Fault))


def test_a_doubt_is_detection_and_recovery_waits_for_its_end() -> None:
    stream = Stream(
        {"kind": "sensor-bias", "device": "thermal.node-1", "bias": 9, "at_seconds": 100, "duration_seconds": 50}
    )
    stream.status(0, 600)
    stream.look(0, 600)
    stream.event(90, "thermal", "sensor_off", sensor="thermal.radiator")
    stream.event(107, "thermal", "sensor_off", sensor="thermal.node-1")
    stream.event(160, "thermal", "sensor_trusted", sensor="thermal.radiator")
    stream.event(200, "thermal", "sensor_trusted", sensor="thermal.node-1")
    found = stream.outcome()
    assert (found.detected_after, found.detected_by) == (7.0, "thermal.sensor_off")
    assert found.contained_after == 7.0
    assert found.recovered_after == 100.0


def test_doubts_of_a_service_that_ended_are_over_with_it() -> None:
    stream = Stream({"kind": "sensor-stuck", "device": "battery", "at_seconds": 100, "duration_seconds": 50})
    stream.status(0, 200)
    stream.event(130, "power", "battery_unreadable")
    stream.event(140, "thermal", "sensor_off", sensor="thermal.loop")
    stream.event(200, "executive", "service_ended", service="power")
    stream.status(201, 600)
    stream.event(240, "thermal", "sensor_trusted", sensor="thermal.loop")
    assert stream.outcome().recovered_after == 140.0


def test_a_safe_mode_that_a_person_wanted_is_no_harm_of_a_fault() -> None:
    stream = Stream({"kind": "pump-stop", "at_seconds": 100, "duration_seconds": 100})
    stream.look(0, 600)
    stream.status(0, 150)
    stream.status(150, 600, MODE_SAFE, "commanded safe")
    assert stream.outcome().recovered_after == 100.0


def test_a_board_that_is_down_for_long_tells_of_it_when_it_is_up() -> None:
    stream = Stream({"kind": "reboot", "at_seconds": 100, "down_seconds": 500})
    stream.status(0, 100)
    stream.event(600, "executive", "cut_off")
    stream.status(600, 800)
    assert stream.outcome().detected_after == 500.0


def test_limits_safe_mode_and_heat_count_until_all_is_well() -> None:
    stream = Stream({"kind": "pump-stop", "at_seconds": 100, "duration_seconds": 100})
    stream.status(0, 130)
    stream.look(0, 130)
    stream.event(106, "thermal", "pump_stalled")
    stream.look(130, 180, chip=95.0)
    stream.look(180, 250, chip=80.0)
    stream.look(250, 600)
    stream.hear(131, LimitViolation(field="ThermalStatus.chip_maximum_celsius", level="red_high"))
    stream.event(210, "thermal", "pump_recovered")
    stream.status(130, 300, MODE_SAFE)
    stream.status(300, 600)
    found = stream.outcome()
    assert found.detected_after == 6.0
    assert found.contained_after is not None
    assert 30.0 <= found.contained_after <= 80.0
    assert found.recovered_after == 200.0
    assert found.limits_crossed == ("ThermalStatus.chip_maximum_celsius",)


def test_a_power_cut_costs_what_was_done_since_the_checkpoint() -> None:
    stream = Stream({"kind": "reboot", "at_seconds": 100})
    stream.status(0, 100)
    told = JobStatus(
        job_id="a", attempt=1, state=JOB_STATE_RUNNING, run_seconds=80, energy_joules=8000, progress_ratio=0.2
    )
    stream.hear(90, told)
    stream.status(130, 131, MODE_BOOT)
    stream.event(131, "executive", "cut_off")
    lost = JobStatus(job_id="a", attempt=1, state=JOB_STATE_PREEMPTED, cause=JOB_CAUSE_NODE_LOST, progress_ratio=0.15)
    stream.hear(132, lost)
    stream.status(135, 400)
    found = stream.outcome()
    assert found.detected_after == 31.0
    assert found.recovered_after == 35.0
    # 0.2 of 400 s was told, ten more were worked; 0.15 is left.
    assert found.work_lost_seconds == pytest.approx(30.0)
    assert found.work_lost_joules == pytest.approx(3000.0)


def test_what_never_comes_is_none() -> None:
    stream = Stream({"kind": "process-kill", "service": "power", "at_seconds": 100})
    stream.status(0, 100)
    stream.status(100, 300, MODE_SAFE)
    found = stream.outcome()
    assert found.detected_after is None
    assert found.recovered_after is None
