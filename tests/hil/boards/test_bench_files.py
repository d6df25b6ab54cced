"""Bench files: what is shipped adds up, and each mistake is one sentence that says where, what, and what is right."""

from __future__ import annotations

import asyncio
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from flight.devices import driver_names
from hil.boards.address import SshAddress, parse_address
from hil.boards.check_here import BoardCheck
from hil.boards.file import load_bench, load_bench_and_designs
from hil.boards.parts import PARTS
from hil.boards.resolve import resolve
from hil.devices.host import Host, attach
from skyrack import files

BENCH = """
name = "mine"
constellation = "bench"

[[boards]]
name = "pi-1"
satellite = "sat-1"
address = "ssh://skyrack@pi-1.local"
kind = "raspberry-pi"
watts_scale = 100

[boards.devices."meter.board"]
driver = "i2c.ina226"
settings = { bus = 1, address = 0x40 }

[boards.devices."sensor.case"]
driver = "i2c.tmp117"
settings = { bus = 1, address = 0x48 }

[boards.devices."throttle.cpu"]
driver = "linux.cpufreq"

[boards.devices."load.gateway-radio"]
driver = "gpio.load_switch"
settings = { line = 17 }

[boards.devices."switch.cut-off"]
driver = "gpio.load_switch"
settings = { line = 27 }

[boards.devices."node.node-1"]
driver = "board.rack_node"
settings = { meter = "meter.board", throttle = "throttle.cpu" }

[[boards.guards]]
device = "sensor.case"
high = 70
action = "throttle"

[[boards.guards]]
device = "meter.board"
high = 15
action = "open-load"
load = "switch.cut-off"

[limits.sat-1]
"ThermalStatus.chip_maximum_celsius" = { yellow_high = 70, red_high = 80 }
"""


def load(tmp_path: Path, text: str) -> str:
    """The sentence that loading ends with; empty when all is well."""
    path = tmp_path / "mine.toml"
    path.write_text(text)
    try:
        load_bench(path)
    except files.FileError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", files.shipped_names("benches"))
def test_every_shipped_bench_loads_and_looks_right(name: str) -> None:
    bench, _, designs = load_bench_and_designs(files.shipped("benches", name))
    assert bench.name == name
    for board in bench.boards:
        resolved = resolve(bench, board.name, designs[board.satellite])
        assert resolved.notes == ()
        assert resolved.devices[f"node.{board.rack_node or 'node-1'}"].settings["scale"] == board.watts_scale


def test_every_shipped_driver_is_known_without_importing_it() -> None:
    ours = {entry.name for entry in entry_points(group="skyrack.devices") if entry.value.startswith("hil.")}
    assert set(PARTS) == ours
    assert set(PARTS) <= set(driver_names())


def test_a_good_bench_loads(tmp_path: Path) -> None:
    assert load(tmp_path, BENCH) == ""


SECOND = '\n[[boards]]\nname = "pi-1"\nsatellite = "sat-1"\n'


@pytest.mark.parametrize(
    ("wrong", "right", "words"),
    [
        ('constellation = "bench"', 'constellation = "bnech"', ("constellation", '"bnech"', '"bench"?')),
        ('satellite = "sat-1"', 'satellite = "sat-2"', ("boards.pi-1.satellite", '"sat-2"', '"sat-1"?')),
        ("ssh://skyrack@pi-1.local", "skyrack@pi-1.local", ("boards.pi-1.address", '"local"', "ssh://")),
        ("ssh://skyrack@pi-1.local", "ssh://pi-1:99999", ("boards.pi-1.address", "65535")),
        ("ssh://skyrack@pi-1.local", "ssh://-oProxyCommand=x", ("boards.pi-1.address",)),
        ('kind = "raspberry-pi"', 'kind = "raspberry"', ("boards[0].kind", "raspberry-pi")),
        ("watts_scale = 100", "watts_scale = 0", ("boards[0].watts_scale",)),
        ("watts_scale = 100", 'watchdog_device = "watchdog"', ("watchdog_device", "/dev/watchdog0")),
        ('"i2c.ina226"', '"i2c.in226"', ("meter.board.driver", '"i2c.in226"', '"i2c.ina226"?')),
        ('"i2c.ina226"', '"i2c.tmp102"', ("meter.board.driver", "a thermometer", "a power meter", "i2c.ina226")),
        ('"node.node-1"', '"node.node-2"', ("devices.node.node-2", '"node.node-1"?')),
        ('"sensor.case"', '"sense.case"', ("devices.sense.case", '"sensor"?', "meter.<name>")),
        ('"load.gateway-radio"]', '"load.gatewy"]', ("devices.load.gatewy", '"load.gateway-radio"?')),
        ('meter = "meter.board"', 'meter = "meter.baord"', ("node.node-1.settings.meter", '"meter.board"?')),
        ('meter = "meter.board"', 'meter = "sensor.case"', ("settings.meter", "a thermometer", "a power meter")),
        ("address = 0x48", "address = 0x40", ("sensor.case", "0x40 on i2c-1", "INA226", "meter.board")),
        ("address = 0x48", 'address = "0x48"', ("settings.address", "without quotes", "0x40")),
        ("address = 0x48", "address = 0x148", ("settings.address", "0x148", "0x77")),
        ("address = 0x40", 'address = 0x40, quantity = "current"', ("quantity", '"power"', "sensor.board")),
        ('device = "sensor.case"', 'device = "sensor.cse"', ("boards.pi-1.guards[0].device", '"sensor.case"?')),
        ('device = "sensor.case"', 'device = "throttle.cpu"', ("guards[0].device", "a throttle")),
        ("line = 27", "line = 17", ("switch.cut-off", "line 17 of gpiochip0", "load.gateway-radio")),
        ("high = 70\n", "", ("guards[0]", "high, low")),
        ("high = 70\n", "high = 70\nlow = 80\n", ("guards[0].low", "80", "high = 70")),
        ('"open-load"', '"open"', ("boards[0].guards[1].action", "open-load")),
        ('load = "switch.cut-off"', "", ("guards[1].load", "switch.cut-off")),
        ('load = "switch.cut-off"', 'load = "meter.board"', ("guards[1].load", "of the guard's own")),
        ('load = "switch.cut-off"', 'load = "load.gateway-radio"', ("guards[1].load", "flight software holds")),
        ('action = "throttle"', 'action = "throttle"\nload = "x"', ("guards[0].load", "leave it out")),
        ('"throttle.cpu"]\ndriver = "linux.cpufreq"', '"sensor.b"]\ndriver = "linux.one_wire"', ("throttle.cpu",)),
        ("[limits.sat-1]", "[limits.sat-7]", ("limits.sat-7", '"sat-1"?')),
        ("chip_maximum_celsius", "chip_max_celsius", ("limits.sat-1", "chip_max_celsius", "chip_maximum_celsius")),
        ("yellow_high = 70", "yellow_high = 90", ("limits.sat-1", "ThermalStatus")),
        ("[limits.sat-1]", f"{SECOND}\n[limits.sat-1]", ("boards.name", '"pi-1"', "no other")),
        (
            "[limits.sat-1]",
            f"{SECOND.replace('pi-1', 'pi-2')}\n[limits.sat-1]",
            ("boards.pi-2.satellite", '"pi-1"', "a satellite of its own"),
        ),
        (
            "[limits.sat-1]",
            '[[instruments]]\nname = "sun"\ndriver = "scpi.solar"\n[limits.sat-1]',
            ("instruments.sun.driver", "scpi.solar_array_simulator"),
        ),
        (
            "[limits.sat-1]",
            '[[instruments]]\nname = "sun"\ndriver = "scpi.solar_array_simulator"\nfollows = "array"\n[limits.sat-1]',
            ("instruments.sun.follows", "sat-1.array.watts"),
        ),
    ],
)
def test_a_mistake_is_one_sentence(tmp_path: Path, wrong: str, right: str, words: tuple[str, ...]) -> None:
    assert wrong in BENCH
    sentence = load(tmp_path, BENCH.replace(wrong, right, 1))
    assert "mine.toml" in sentence
    assert "\n" not in sentence
    assert [word for word in words if word not in sentence] == [], sentence


def test_a_guard_never_powers_the_bench_computer_off(tmp_path: Path) -> None:
    away = BENCH.replace('action = "throttle"', 'action = "power-off"')
    assert load(tmp_path, away) == ""
    here = away.replace('address = "ssh://skyrack@pi-1.local"', 'address = "local"')
    assert "would power this computer off" in load(tmp_path, here)


def test_two_channels_of_one_chip_share_its_address(tmp_path: Path) -> None:
    channels = '"i2c.ina3221"\nsettings = { bus = 1, address = 0x40, channel = 1 }\n'
    channels += '[boards.devices."meter.rail"]\ndriver = "i2c.ina3221"\n'
    text = BENCH.replace('"i2c.ina226"\nsettings = { bus = 1', f"{channels}settings = {{ channel = 2, bus = 1")
    assert load(tmp_path, text) == ""


def test_devices_whose_watts_the_satellite_feels_get_the_boards_scale(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    own = 'settings = { scale = 12, meter = "meter.board", throttle = "throttle.cpu" }'
    path.write_text(BENCH.replace('settings = { meter = "meter.board", throttle = "throttle.cpu" }', own))
    bench, _, designs = load_bench_and_designs(path)
    devices = resolve(bench, "pi-1", designs["sat-1"]).devices
    assert devices["load.gateway-radio"].settings == {"line": 17, "scale": 100.0}
    assert devices["node.node-1"].settings["scale"] == 12
    assert "scale" not in devices["meter.board"].settings
    with pytest.raises(LookupError, match="pi-9"):
        resolve(bench, "pi-9", designs["sat-1"])


@pytest.mark.parametrize(("scale", "odd"), [("100", False), ("1", True), ("100000", True)])
def test_a_scale_that_no_board_fits_is_noted(tmp_path: Path, scale: str, odd: bool) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(BENCH.replace("watts_scale = 100", f"watts_scale = {scale}"))
    bench, _, designs = load_bench_and_designs(path)
    notes = resolve(bench, "pi-1", designs["sat-1"]).notes
    assert bool(notes) is odd
    if odd:
        assert "watts_scale" in notes[0]
        assert "25.9 to 175 would fit" in notes[0]


@pytest.mark.parametrize(
    ("address", "board"),
    [
        ("local", None),
        ("ssh://pi-1.local", SshAddress("pi-1.local")),
        ("ssh://me@10.0.0.7:2222", SshAddress("10.0.0.7", "me", 2222)),
        ("ssh://me@[fe80::1]", SshAddress("fe80::1", "me")),
    ],
)
def test_addresses(address: str, board: SshAddress | None) -> None:
    assert parse_address(address) == board


@pytest.mark.parametrize("name", files.shipped_names("benches"))
def test_the_settings_of_every_shipped_bench_are_ones_that_its_drivers_take(name: str, tmp_path: Path) -> None:
    """On a machine that has none of the hardware, what is wrong may only be that it is not there."""
    bench, _, designs = load_bench_and_designs(files.shipped("benches", name))

    async def problems() -> list[str]:
        found = []
        for board in bench.boards:
            design = designs[board.satellite]
            resolved = resolve(bench, board.name, design)
            check = BoardCheck(resolved.devices, board.satellite, design, attach(Host(root=tmp_path)))
            found += [row.problem for row in await check.look()]
            await check.close()
        return found

    told = [problem.replace(str(tmp_path), "") for problem in asyncio.run(problems())]
    assert [problem for problem in told if "setting" in problem or "must be" in problem or "missing" in problem] == []


def test_the_example_of_the_documentation_loads(tmp_path: Path) -> None:
    page = (Path(__file__).parents[3] / "docs/bench.md").read_text(encoding="utf-8")
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert load(tmp_path, example) == ""
