"""Faults of processes, disks, links and clocks in the twin, and that work outlives them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from hil.faults import parse_faults
from hil.twin import world as worlds
from hil.twin.run import Flight, Flown, fly
from hil.twin.workload import Workload
from hil.twin.world import TwinSettings
from skyrack import files
from skyrack.errors import UserError
from skyrack.v1.common_pb2 import Event

DEMO = files.shipped("constellations", "demo")


class Told:
    """Events of every satellite in a flight, by "service.name"."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times: dict[str, list[float]] = {}
        monkeypatch.setattr(worlds.World, "_start", self._listening(worlds.World._start))

    def _listening(self, start: Any) -> Any:
        def listening(world: worlds.World) -> Any:
            began = world.clock.now()

            def tap(topic: bytes, _header: bytes, payload: bytes) -> None:
                if topic.startswith(b"skyrack.v1.Event"):
                    event = Event.FromString(payload)
                    times = self.times.setdefault(f"{event.source}.{event.name}", [])
                    times.append(world.clock.now() - began)

            world.extra_taps = (tap,)
            return start(world)

        return listening

    def count(self) -> Counter[str]:
        return Counter({name: len(times) for name, times in self.times.items()})


def flown(*faults: dict[str, Any], hours: float = 0.35, seed: int = 0) -> Flown:
    tables = [{"satellite": "sat-1", **fault} for fault in faults]
    settings = TwinSettings(seed=seed, faults=parse_faults(tables, "test"))
    workload = Workload(jobs_per_hour=12, expected_seconds=(200.0, 600.0), deadline_ratio=0.0)
    return fly(Flight(DEMO, hours, settings, workload, satellites=1))


KILLS = [
    *(
        {"kind": "process-kill", "service": service, "at_seconds": 150.0 + 90.0 * number}
        for number, service in enumerate(("gateway", "compute", "power", "thermal", "executive", "gateway"))
    ),
    {"kind": "process-kill", "satellite": "ground", "at_seconds": 700},
    {"kind": "process-kill", "satellite": "broker", "at_seconds": 750},
    {"kind": "reboot", "at_seconds": 800, "down_seconds": 20},
]


def test_work_outlives_every_kill_and_equal_runs_stay_equal(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    one = flown(*KILLS)
    assert told.count()["executive.service_ended"] == 5
    assert told.count()["executive.cut_off"] == 2
    assert one.report.jobs.get("COMPLETED", 0) >= 2
    assert not set(one.report.jobs) & {"FAILED", "EXPIRED", "REJECTED"}
    # Versions of a job's statuses only grow, through the deaths of whoever tells and keeps them.
    for job in one.jobs:
        applied = [step.version for step in job.history if step.is_applied and step.version is not None]
        assert applied == sorted(set(applied))
    again, first = (flown(*KILLS, hours=0.24).report.digest for _ in range(2))
    assert again == first


def test_a_full_disk_stops_what_must_be_kept_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    full = flown(
        {"kind": "disk-full", "at_seconds": 100, "duration_seconds": 400},
        {"kind": "disk-full", "satellite": "ground", "at_seconds": 600, "duration_seconds": 100},
    )
    assert told.count()["gateway.backhaul_storage"]
    assert "executive.service_ended" not in told.times
    assert full.report.jobs.get("COMPLETED", 0) >= 2


def test_frames_with_flipped_bits_are_refused_and_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(monkeypatch)
    hit = flown({"kind": "bit-flip", "count": 20, "at_seconds": 400})
    assert told.count()["gateway.backhaul_forged"] or told.count()["gateway.backhaul_malformed"]
    assert hit.report.jobs.get("COMPLETED", 0) >= 2


@pytest.mark.parametrize("seconds", [30.0, -30.0])
def test_a_clock_that_jumped_counts_after_the_next_start_and_is_told(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Told(monkeypatch)
    flown(
        {"kind": "clock-jump", "seconds": seconds, "at_seconds": 100},
        {"kind": "reboot", "at_seconds": 300, "down_seconds": 10},
        hours=0.15,
    )
    (at,) = told.times["navigation.clock_disagrees"]
    assert 310 < at < 340
    assert "navigation.gnss_disagrees" not in told.times


def test_a_fault_of_what_is_not_there_is_one_sentence() -> None:
    with pytest.raises(UserError, match='no service "powre"; did you mean "power"'):
        flown({"kind": "process-kill", "service": "powre", "at_seconds": 10}, hours=0.01)
    with pytest.raises(UserError, match='no device "batery"; did you mean "battery"'):
        flown({"kind": "sensor-stuck", "device": "batery", "at_seconds": 10}, hours=0.01)
