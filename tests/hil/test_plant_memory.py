from __future__ import annotations

import asyncio
import math
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from hil.fault_schedule import FaultSchedule, PlantEffects
from hil.faults import BitFlip, Fault, LinkOutage, PumpStop
from hil.plant.client import RemotePlantLink
from hil.plant.memory import PlantMemory, StateError, begin, fingerprint
from hil.plant.plant import Plant
from skyrack.clock import Anchor, MissionClock, write_anchor
from skyrack.satellite import ConstellationFile, SatelliteFile

MakePlant = Callable[..., Plant]
Demo = tuple[ConstellationFile, dict[str, SatelliteFile]]
ANCHOR = Anchor(1000.0, 50.0)
LATER = Anchor(2000.0, 90.0)


def lived(plant: Plant, steps: int = 700) -> Plant:
    """Step a plant through settings, faults and a search for partners."""
    for satellite in plant.names:
        plant.actuate(satellite, "node.node-1.draw_watts", 650.0)
        plant.actuate(satellite, "laser.laser-1.azimuth_radians", 0.3)
        plant.actuate(satellite, "laser.laser-1.transmit", 1.0)
    for step in range(steps):
        if step == steps // 2:
            plant.actuate("sat-1", "fault.load.node-2.short_watts", 100.0)
            plant.actuate("sat-1", "load.node-2.switch", 0.0)
            plant.actuate("sat-2", "fault.radiator.lost_ratio", 0.5)
            plant.actuate("sat-2", "fault.link.antenna.outage", 1.0)
            plant.actuate("sat-1", "fault.device.gnss.bias", 4.0)
        plant.step()
    # Heard of, but not stepped with: the network is stale.
    plant.actuate("sat-2", "pump.duty_ratio", 0.4)
    return plant


def memory_of(path: Path, demo: Demo, anchor: Anchor = ANCHOR) -> PlantMemory:
    return PlantMemory(path, fingerprint(*demo), anchor)


def assert_same(first: Plant, second: Plant) -> None:
    for key, array in first.state().arrays.items():
        assert np.array_equal(array, second.state().arrays[key]), key
    assert first.state().generator == second.state().generator
    for satellite in first.names:
        assert first.sensors(satellite) == second.sensors(satellite)
        assert first.device_faults(satellite) == second.device_faults(satellite)


@pytest.mark.parametrize("steps", [0, 1, 255, 256, 700])
def test_a_restored_world_goes_on_as_if_nothing_had_been_to_the_last_bit(
    make_plant: MakePlant, demo: Demo, tmp_path: Path, steps: int
) -> None:
    plant, restored = lived(make_plant(7), steps), make_plant(7)
    memory = memory_of(tmp_path / "truth", demo)
    memory.save(plant.state())
    restored.restore(memory.load())
    assert restored.time == plant.time
    for _ in range(600):
        plant.step()
        restored.step()
    assert_same(plant, restored)
    assert abs(restored.energy_error_joules()).max() < 1.0


def test_another_run_goes_on_without_the_faults_of_the_one_before(
    make_plant: MakePlant, demo: Demo, tmp_path: Path
) -> None:
    plant, restored = lived(make_plant()), make_plant()
    plant.actuate("sat-1", "fault.pump.stopped", 1.0)
    memory_of(tmp_path / "truth", demo).save(plant.state())
    memory = memory_of(tmp_path / "truth", demo, LATER)
    restored.restore(memory.load())
    assert not memory.same_run
    assert np.array_equal(restored.batteries.energy_joules, plant.batteries.energy_joules)
    assert np.array_equal(restored.thermal.temperature, plant.thermal.temperature)
    assert restored.read("sat-1", "pump.duty_ratio") == 1.0
    assert restored.read("sat-2", "pump.duty_ratio") == 0.4
    assert restored.read("sat-1", "load.node-2.closed") == 0.0
    assert restored.device_faults("sat-1") == {}
    assert not restored.loads.short_watts.any()
    assert not restored.outage["antenna"].any()
    assert np.array_equal(restored.thermal.radiance, make_plant().thermal.radiance)


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "flipped", "other", "shapes"])
def test_what_does_not_fit_is_refused_whole_and_the_present_begins_anew(
    make_plant: MakePlant, demo: Demo, tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "truth"
    memory = memory_of(path, demo)
    state = lived(make_plant(), 10).state()
    if damage == "shapes":
        state = msgspec.structs.replace(state, arrays=state.arrays | {"bus.brownouts": np.zeros(3, dtype=np.int64)})
    if damage == "other":
        constellation, designs = demo
        bigger = msgspec.structs.replace(designs["sat-1"].battery, capacity_watt_hours=9000.0)
        other = designs | {"sat-1": msgspec.structs.replace(designs["sat-1"], battery=bigger)}
        PlantMemory(path, fingerprint(constellation, other), ANCHOR).save(state)
    elif damage != "absent":
        memory.save(state)
        data = path.read_bytes()
        changes = {"empty": b"", "cut": data[:-100], "flipped": data[:900] + bytes([data[900] ^ 1]) + data[901:]}
        path.write_bytes(changes.get(damage, data))
    plant = make_plant()
    with pytest.raises(StateError):
        plant.restore(memory.load())
    assert_same(plant, make_plant())
    present = plant.time + 1e6
    assert begin(plant, MissionClock.starting_at(present), memory) == -math.inf
    assert plant.time == pytest.approx(present, abs=10.0)
    assert plant.read("sat-1", "battery.state_of_charge_ratio") == make_plant().batteries.state_of_charge()[0]


def test_a_short_gap_is_stepped_through_and_a_long_one_is_not(
    make_plant: MakePlant, demo: Demo, tmp_path: Path
) -> None:
    plant = lived(make_plant())
    memory = memory_of(tmp_path / "truth", demo)
    memory.save(plant.state())
    orbit = plant.geometry.orbit_seconds
    assert 5400.0 < orbit < 6600.0
    for gap, begins in ((0.0, 0.0), (1.9 * orbit, 0.0), (2.1 * orbit, 2.1 * orbit), (-500.0, -500.0)):
        restored = make_plant()
        done_until = begin(restored, MissionClock.starting_at(plant.time + gap), memory)
        assert done_until == plant.time
        assert restored.time == pytest.approx(plant.time + begins, abs=10.0)
        assert np.array_equal(restored.batteries.energy_joules, plant.batteries.energy_joules)
        assert np.array_equal(restored.thermal.temperature, plant.thermal.temperature)
        restored.step()
        assert restored.sensors("sat-1")


def test_faults_that_struck_do_not_strike_again_but_those_that_last_do() -> None:
    class Effects(PlantEffects):
        can = frozenset({"plant", "links"})

        def flip_bits(self, satellite: str, link: str, count: int) -> None:
            told.append("flip")

    told: list[object] = []
    faults: list[Fault] = [
        BitFlip(satellite="a", at_seconds=0.0),
        BitFlip(satellite="a", at_seconds=60.0),
        PumpStop(satellite="a", at_seconds=10.0),
        LinkOutage(satellite="a", at_seconds=10.0, duration_seconds=5.0, link="optical"),
    ]
    effects = Effects(lambda _, key, value: told.append((key, value)))
    schedule = FaultSchedule(faults, 1000.0, effects, done_until_seconds=1050.0)
    told.clear()
    schedule.apply(1055.0)
    assert told == [
        ("fault.pump.stopped", 1.0),
        ("fault.link.optical.outage", 1.0),
        ("fault.link.optical.outage", 0.0),
    ]
    schedule.apply(1060.0)
    assert told[-1] == "flip"


def test_a_full_disk_costs_the_file_and_not_the_plant(make_plant: MakePlant, demo: Demo, tmp_path: Path) -> None:
    memory = memory_of(tmp_path / "nowhere" / "truth", demo)
    memory.save(make_plant().state())
    (tmp_path / "nowhere").mkdir()
    memory.save(make_plant().state())
    assert memory.load().row == -1


class Process:
    """``python -m hil.plant`` in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.state = directory / "truth.msgpack"
        url = f"ipc://{directory}/p"
        clock = directory / "clock.json"
        command = [sys.executable, "-m", "hil.plant", "--constellation", "demo", "--bind", url, "--clock", str(clock)]
        self._process = subprocess.Popen([*command, "--state", str(self.state)], stdout=subprocess.PIPE, text=True)
        self.link = RemotePlantLink(url)

    def read(self, key: str) -> float:
        return self.link.read("sat-1", key).value

    def until(self, condition: Callable[[], bool]) -> None:
        for _ in range(600):
            if condition():
                return
            assert self._process.poll() is None
            asyncio.run(asyncio.sleep(0.05))
        raise AssertionError("it did not come to pass")

    def end(self, number: int) -> str:
        self._process.send_signal(number)
        said, _ = self._process.communicate(timeout=20)
        self.link.close()
        return said


def test_a_killed_process_goes_on_with_its_charge_and_a_damaged_file_does_not_stop_it(
    make_plant: MakePlant, demo: Demo, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("p")
    _, designs = demo
    dark = make_plant()
    dark.begin_at(dark.time + 20 * 86400.0)
    while dark.read("sat-1", "orbit.sunlit_ratio") > 0.0:
        dark.begin_at(dark.time + 60.0)
    start = dark.time
    write_anchor(directory / "clock.json", Anchor.here(start, rate=60.0))
    initial = designs["sat-1"].battery.initial_state_of_charge_ratio
    key = "battery.state_of_charge_ratio"

    process = Process(directory)
    process.link.actuate("sat-1", {"fault.load.node-1.short_watts": 1800.0, "pump.duty_ratio": 0.25})
    process.until(lambda: process.read(key) < initial - 0.15)
    saved = process.state.stat().st_mtime_ns
    process.until(lambda: process.state.stat().st_mtime_ns > saved)
    first = process.end(signal.SIGKILL)
    assert "plant_begins_anew" in first

    process = Process(directory)
    process.until(lambda: not math.isnan(process.read(key)))
    assert process.read(key) < initial - 0.1
    assert process.read("pump.duty_ratio") == 0.25
    written = process.state.stat().st_mtime_ns
    assert "plant_goes_on" in process.end(signal.SIGTERM)
    assert process.state.stat().st_mtime_ns > written

    process.state.write_bytes(process.state.read_bytes()[:1000])
    process = Process(directory)
    process.until(lambda: not math.isnan(process.read(key)))
    assert abs(process.read(key) - initial) < 0.1
    assert process.link.read("sat-1", key).mission_time_seconds >= start
    assert "damaged" in process.end(signal.SIGTERM)
