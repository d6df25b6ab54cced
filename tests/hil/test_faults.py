from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hil.fault_schedule import FaultSchedule, PlantEffects
from hil.faults import BitFlip, ClockJump, DiskFull, Need, PumpStop, load_faults, parse_faults
from hil.plant.plant import Plant
from skyrack.clock import MissionClock
from skyrack.errors import UserError
from skyrack.files import FileError
from skyrack.virtual import run as run_virtually

MakePlant = Callable[..., Plant]

EVERYTHING = """
[[faults]]
kind = "sensor-stuck"
satellite = "sat-1"
device = "battery"
at_seconds = 1
[[faults]]
kind = "sensor-bias"
satellite = "sat-1"
device = "array"
bias = -3.0
at_seconds = 1
[[faults]]
kind = "sensor-noise"
satellite = "sat-1"
device = "array"
sigma = 3.0
at_seconds = 1
[[faults]]
kind = "sensor-silent"
satellite = "sat-1"
device = "gnss"
at_seconds = 1
[[faults]]
kind = "load-short"
satellite = "sat-1"
load = "node-1"
watts = 2000
at_seconds = 1
[[faults]]
kind = "pump-stop"
satellite = "sat-1"
at_seconds = 1
[[faults]]
kind = "radiator-loss"
satellite = "sat-1"
lost_ratio = 0.5
at_seconds = 1
[[faults]]
kind = "laser-mispointing"
satellite = "sat-1"
laser = "laser-1"
offset_radians = 1e-3
at_seconds = 1
[[faults]]
kind = "link-outage"
satellite = "sat-1"
link = "optical"
at_seconds = 1
duration_seconds = 60
"""


def test_everything_physical_acts_on_the_plant(make_plant: MakePlant, tmp_path: Path) -> None:
    path = tmp_path / "faults.toml"
    path.write_text(EVERYTHING, encoding="utf-8")
    plant = make_plant()
    schedule = FaultSchedule(load_faults(path), plant.time, PlantEffects(plant.actuate))
    assert schedule.apply(plant.time) == []
    assert len(schedule.apply(plant.time + 1.0)) == 9
    assert plant.device_faults("sat-1")["array.bias"] == -3.0
    assert plant.outage["optical"][0]
    assert not plant.outage["optical"][1]
    plant.step()
    assert plant.read("sat-1", "load.node-1.watts") == 2060.0
    assert len(schedule.apply(plant.time + 61.0)) == 1
    assert not plant.outage["optical"][0]
    assert schedule.next_seconds == float("inf")


class Recorder(PlantEffects):
    can: frozenset[Need] = frozenset({"plant", "links", "disks", "clocks"})

    def __init__(self) -> None:
        super().__init__(lambda *_: None)
        self.done: list[tuple[object, ...]] = []

    def fill_disk(self, satellite: str, *, full: bool) -> None:
        self.done.append((satellite, full))

    def jump_clock(self, satellite: str, seconds: float) -> None:
        self.done.append((satellite, seconds))

    def flip_bits(self, satellite: str, link: str, count: int) -> None:
        self.done.append((satellite, link, count))


def test_other_rooms_take_part_through_effects_in_mission_time() -> None:
    faults = (
        DiskFull(satellite="a", at_seconds=10.0, duration_seconds=5.0),
        ClockJump(satellite="a", at_seconds=12.0, seconds=-3.0, duration_seconds=100.0),
        BitFlip(satellite="a", at_seconds=11.0),
    )
    effects = Recorder()

    async def test() -> float:
        clock = MissionClock.starting_at(1000.0)
        await FaultSchedule(faults, 1000.0, effects).run(clock)
        return clock.now()

    assert run_virtually(test) == 1015.0
    assert effects.done == [("a", True), ("a", "optical", 1), ("a", -3.0), ("a", False)]


def test_a_run_that_cannot_says_so() -> None:
    effects = PlantEffects(lambda *_: None)
    with pytest.raises(UserError, match="disk-full of a: this run has no disks; it has plant"):
        FaultSchedule([DiskFull(satellite="a", at_seconds=0.0)], 0.0, effects)


def test_a_fault_of_something_that_is_not_there_is_said(make_plant: MakePlant) -> None:
    with pytest.raises(UserError, match="sat-1, sat-2"):
        FaultSchedule([PumpStop(satellite="sat-3", at_seconds=9.0)], 0.0, PlantEffects(make_plant().actuate))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ({"kind": "pump-stp"}, 'did you mean "pump-stop"'),
        ({}, "no kind of fault"),
        ({"kind": "load-short", "load": "x", "watts": -1}, "watts is -1"),
        ({"kind": "pump-stop", "foo": 1}, "foo is 1"),
    ],
)
def test_wrong_files_are_answered_in_one_sentence(table: dict[str, object], says: str) -> None:
    with pytest.raises(FileError, match=says) as caught:
        parse_faults([{"satellite": "a", "at_seconds": 1.0, **table}], "faults.toml")
    assert "faults[0]" in str(caught.value)
    assert "\n" not in str(caught.value)
