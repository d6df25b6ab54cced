"""A bench with an emulated Raspberry Pi: found, checked, flown; its thermometer warms up, its plug is pulled.

The plant, the ground and the links are on this computer, as on any bench; mission time runs at rate 1.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hil.boards.ssh import CONFIG_VARIABLE
from scripts.boards import boards
from scripts.boards.board import Board

# How far the thermometer goes ahead of the estimate when it warms up: more at once would be doubted.
RISE_KELVIN = 6.0
# Seven services and the zygote that they come from, on a board of 1 GB.
MOST_MEGABYTES = 200.0
SKYRACK = Path(sys.executable).with_name("skyrack")
JOB = """
name = "count"
command = ["python3", "-c", "print(sum(range(1000)))"]
retries = 3
[resources]
power_watts = 400
cores = 1
memory = "128 MiB"
disk = "16 MiB"
expected = "2 min"
limit = "1 h"
"""


@dataclass
class Bench:
    """The emulated board as a bench file names it, and commands of this computer about it."""

    board: Board
    file: Path
    directory: Path

    def skyrack(self, *words: str, timeout_seconds: float = 120) -> str:
        """What a command prints. Raises AssertionError where it fails."""
        done = self.start(*words)
        said, complained = done.communicate(timeout=timeout_seconds)
        assert done.returncode == 0, f"skyrack {' '.join(words)}: {said}{complained}"
        return said

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command that knows the way to the board."""
        environment = os.environ | {CONFIG_VARIABLE: str(self.board.machine.folder / "ssh_config")}
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([SKYRACK, *words], cwd=self.directory, env=environment, text=True, **streams)  # type: ignore[call-overload, no-any-return]

    def warm_up(self) -> None:
        """Have the board read its programs once: a card under qemu is slow, and agents are waited for 20 s."""
        self.board.sh(f"{boards.VENV}/bin/python -c 'import hil.boards.agent, hil.boards.keeper'", timeout_seconds=240)


@pytest.fixture(scope="module")
def bench(raspberry_pi: Board, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    directory = tmp_path_factory.mktemp("bench")
    raspberry_pi.sh("sudo usermod -aG i2c pi")
    file = directory / "bench.toml"
    file.write_text(
        f"""
name = "emulated-pi"
constellation = "bench"
rate = 1

[[boards]]
name = "pi"
satellite = "sat-1"
address = "ssh://{raspberry_pi.machine.host}"
kind = "raspberry-pi"
python = "{boards.VENV}/bin/python"
watts_scale = 100

[boards.devices."meter.board"]
driver = "board.cpu_meter"
settings = {{ idle_watts = 2.1, peak_watts = 5.5 }}

[boards.devices."thermal.node-1"]
driver = "i2c.tmp105"
settings = {{ bus = 1, address = {boards.THERMOMETER_ADDRESS} }}

[boards.devices."node.node-1"]
driver = "board.rack_node"
settings = {{ meter = "meter.board" }}
"""
    )
    found = Bench(raspberry_pi, file, directory)
    found.warm_up()
    return found


def test_scan_finds_the_board_and_its_thermometer(bench: Bench) -> None:
    said = bench.skyrack("hil", "scan", f"ssh://{bench.board.machine.host}", "--python", f"{boards.VENV}/bin/python")
    assert "Raspberry Pi 3 Model B" in said
    assert "TMP105" in said


def test_check_reads_what_the_thermometer_measures_now(bench: Bench) -> None:
    for celsius in (23.5, 47.0):
        boards.set_temperature(bench.board.machine, celsius)
        said = bench.skyrack("hil", "check", str(bench.file), "--seconds", "2")
        (row,) = [line for line in said.splitlines() if line.startswith("thermal.node-1")]
        assert f"{celsius:g} °C" in row


def test_an_address_where_nobody_answers_is_told(bench: Bench) -> None:
    sensor = {"driver": "i2c.tmp102", "settings": {"bus": 1, "address": 0x4A}}
    ((refused),) = bench.board.drive({"thermal.node-1": sensor}, [["make", "thermal.node-1"]])
    assert "nothing answers as TMP102 at 0x4a on i2c-1" in refused["error"], refused


@dataclass
class Flight:
    """A bench that flies, and what its ground knows."""

    bench: Bench
    url: str

    def ask(self, *words: str) -> Any:
        """Ask the ground."""
        return json.loads(self.bench.skyrack(*words, "--json", "--ground", self.url))

    def values(self, field: str) -> dict[str, float]:
        """The newest values of a field, by label."""
        found = self.ask("telemetry", "sat-1", field)
        return {next(iter(one["labels"].values()), ""): one["value"] for one in found}

    def follow(self) -> float:
        """Have the thermometer measure what the chip has in the satellite's estimate until that is believed."""
        chip = 20.0

        def believed() -> bool:
            nonlocal chip
            chip = self.values("ThermalStatus.chip_maximum_celsius")[""]
            boards.set_temperature(self.bench.board.machine, chip)
            return all(self.values("ThermalStatus.nodes.valid").values())

        until("the thermometer is believed", believed)
        return chip

    def satellite(self) -> dict[str, Any]:
        """What the ground knows of it."""
        found: dict[str, Any] = self.ask("sats")[0]
        return found


def until(what: str, done: Callable[[], bool], seconds: float = 300) -> float:
    """Wait until something is so; how long it took."""
    began = time.monotonic()
    while not done():
        assert time.monotonic() - began < seconds, f"not within {seconds:.0f} s: {what}"
        time.sleep(1.0)
    return time.monotonic() - began


@pytest.fixture(scope="module")
def flight(bench: Bench) -> Iterator[Flight]:
    # As warm as the plant begins.
    boards.set_temperature(bench.board.machine, 20.0)
    run = bench.start("hil", "run", str(bench.file), "--name", "pi", "--json")
    try:
        record = bench.directory / ".skyrack/pi/instance.json"
        until("the bench is up", lambda: record.exists() or run.poll() is not None)
        assert run.poll() is None, f"{run.communicate()}"
        found = Flight(bench, json.loads(record.read_text())["ground_url"])
        until("the satellite is heard", lambda: found.satellite()["is_reachable"])
        yield found
    finally:
        run.send_signal(signal.SIGINT)
        run.communicate(timeout=120)


def test_thermal_control_on_the_board_sees_it_warm_up_and_pumps(
    flight: Flight, record_property: Callable[[str, object], None]
) -> None:
    pi = flight.bench.board.machine
    chip = flight.follow()
    pump = flight.values("ThermalStatus.pump_duty_ratio")[""]
    boards.set_temperature(pi, chip + RISE_KELVIN)
    seconds = until(
        "the chip is warmer for the satellite, too",
        lambda: flight.values("ThermalStatus.chip_maximum_celsius")[""] > chip + RISE_KELVIN / 2,
    )

    def pumps_more() -> bool:
        estimate = flight.values("ThermalStatus.chip_maximum_celsius")[""]
        boards.set_temperature(pi, min(estimate + RISE_KELVIN, 100.0))
        return flight.values("ThermalStatus.pump_duty_ratio")[""] > pump + 0.05

    until("the pump runs faster", pumps_more)
    record_property("seconds_from_sensor_to_ground", round(seconds, 1))
    flight.follow()


def test_flight_services_are_small(flight: Flight, record_property: Callable[[str, object], None]) -> None:
    # Shared pages are counted once over all.
    said = flight.bench.board.sh(
        'sudo sh -c \'for p in $(pgrep -f "^/home.*flight executive"); do '
        'echo $(cat /proc/$p/comm) $(sed -n "s/^Pss: *\\([0-9]*\\).*/\\1/p" /proc/$p/smaps_rollup); done\''
    )
    kilobytes = {line.split()[0]: int(line.split()[1]) for line in said.splitlines() if len(line.split()) == 2}
    record_property("proportional_megabytes", {name: round(value / 1e3, 1) for name, value in kilobytes.items()})
    assert len(kilobytes) >= 7
    assert sum(kilobytes.values()) / 1e3 < MOST_MEGABYTES


def test_nothing_that_was_accepted_is_lost_with_the_power(
    flight: Flight, record_property: Callable[[str, object], None]
) -> None:
    bench, pi = flight.bench, flight.bench.board.machine
    package = bench.directory / "job"
    package.mkdir()
    (package / "job.toml").write_text(JOB)
    bench.skyrack("submit", str(package / "job.toml"), "--ground", flight.url)

    def job() -> dict[str, Any]:
        found: dict[str, Any] = flight.ask("jobs")[0]
        return found

    until("the satellite has the job", lambda: job()["state"] not in {"SUBMITTED", "PLACED"})
    before = bench.board.boot_id()
    pi.stop()
    at = time.monotonic()
    pi.start(boards.disk(boards.RASPBERRY_PI), fresh=False)
    pi.wait()
    record_property("seconds_power_to_ssh", round(time.monotonic() - at))
    bench.warm_up()
    heard = flight.satellite()["heard_seconds"]
    until("it is heard again", lambda: flight.satellite()["heard_seconds"] > heard + 1.0, seconds=420)
    record_property("seconds_power_to_first_telemetry", round(time.monotonic() - at))
    assert bench.board.boot_id() != before
    until("the job is done", lambda: job()["is_final"], seconds=600)
    assert job()["state"] == "COMPLETED"
    ledgers = flight.ask("ledger", "verify", "--wait", "120")
    assert [ledger["is_sound"] for ledger in ledgers] == [True]
