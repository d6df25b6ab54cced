"""Scans: what is here is found and nothing is touched; the bench file that is suggested passes its check."""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hil.boards.check import Bench, examine
from hil.boards.file import load_bench_and_designs
from hil.boards.scan import Scan, scan
from hil.boards.suggest import suggest
from hil.devices.host import Host
from skyrack.cli import main

PlantTree = Callable[[str], Host]
PutOnBus = Callable[..., Any]

INA226 = {0xFE: 0x5449, 0xFF: 0x2260, 0x00: 0x4127}
INA3221 = {0xFE: 0x5449, 0xFF: 0x3220, 0x00: 0x7127}
INA228 = {0x3E: 0x5449, 0x3F: 0x2281}
INA219 = {0x00: 0x399F, 0xFE: 0x399F}
TMP117 = {0x0F: 0x0117}
TMP102 = {0x01: 0x60A0, 0x0F: 0x5000, 0x02: 0x4B00, 0x03: 0x5000}
LM75 = {0x01: 0x00FF, 0x02: 0x4B00, 0x03: 0x5000, 0x0F: 0x5000}
ADS1115 = {0x01: 0x8583, 0x02: 0x8000, 0x03: 0x7FFF, 0x0F: 0x7FFF}
PCA9685 = {0x00: 0x1100, 0xFE: 0x1E}
BME280 = {0xD0: 0x60}


def allowed(_path: str, _mode: int) -> bool:
    return True


def look(host: Host, *buses: int) -> Scan:
    return scan(host, buses, allowed)


@pytest.mark.parametrize(
    ("address", "registers", "name", "certain"),
    [
        (0x40, INA226, "INA226", True),
        (0x41, INA3221, "INA3221", True),
        (0x45, INA228, "INA228", True),
        (0x40, INA219, "INA219", False),
        (0x40, PCA9685, "PCA9685", False),
        (0x48, TMP117, "TMP117", True),
        (0x48, TMP102, "TMP102", False),
        (0x4F, LM75, "TMP105 or LM75", False),
        (0x49, ADS1115, "ADS1115", False),
        (0x48, INA226, "INA226", True),
        (0x76, BME280, "BME280", True),
        (0x4A, {}, "", False),
    ],
)
def test_a_chip_is_told_by_what_it_says_of_itself(
    tmp_path: Path, put_on_bus: PutOnBus, address: int, registers: dict[int, int], name: str, certain: bool
) -> None:
    host = Host(root=tmp_path)
    put_on_bus(host, 1, {address: registers})
    (bus,) = look(host).i2c
    (chip,) = bus.chips
    assert (chip.bus, chip.address, chip.chip, chip.certain) == (1, address, name, certain)


def test_a_scan_writes_nothing_and_reads_no_register_of_a_stranger(tmp_path: Path, put_on_bus: PutOnBus) -> None:
    host = Host(root=tmp_path)
    # An I/O expander takes the number of a register for its outputs.
    bus = put_on_bus(host, 1, {0x20: {}, 0x3C: {}, 0x50: {}, 0x68: {}, 0x40: INA226})
    assert len(look(host).i2c[0].chips) == 5
    assert bus.writes == 0
    assert {address for address, registers in bus.asked.items() if registers} == {0x40}
    assert min(bus.asked) == 0x08
    assert max(bus.asked) == 0x77


def test_what_the_kernel_serves_is_not_asked(tmp_path: Path, put_on_bus: PutOnBus) -> None:
    host = Host(root=tmp_path)
    bus = put_on_bus(host, 1, {0x40: INA226, 0x48: TMP117})
    device = tmp_path / "sys/bus/i2c/devices/1-0040"
    driver = tmp_path / "sys/bus/i2c/drivers/ina2xx"
    device.mkdir(parents=True)
    driver.mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    (device / "name").write_text("ina226\n")
    held, free = look(host).i2c[0].chips
    assert (held.chip, held.kernel_driver, free.chip) == ("ina226", "ina2xx", "TMP117")
    assert 0x40 not in bus.asked


def test_a_bus_of_the_computer_itself_is_left_alone_unless_it_is_named(tmp_path: Path, put_on_bus: PutOnBus) -> None:
    host = Host(root=tmp_path)
    bus = put_on_bus(host, 7, {0x48: TMP117})
    name = tmp_path / "sys/class/i2c-dev/i2c-7/name"
    name.parent.mkdir(parents=True)
    name.write_text("SMBus I801 adapter at efa0\n")
    (left,) = look(host).i2c
    assert "--bus 7" in left.problem
    assert bus.asked == {}
    assert look(host).problems == ()
    assert look(host, 7).i2c[0].chips[0].chip == "TMP117"


def test_a_bus_that_hangs_is_told_and_not_waited_for_again_and_again(tmp_path: Path, put_on_bus: PutOnBus) -> None:
    host = Host(root=tmp_path)
    bus = put_on_bus(host, 1, {0x48: TMP117})
    bus.refuses = errno.ETIMEDOUT
    found = look(host)
    assert "no answer in time" in found.problems[0]
    assert len(bus.asked) == 1


def test_what_may_not_be_used_is_told_with_what_gives_it(plant_tree: PlantTree) -> None:
    host = plant_tree("raspberry-pi-5")

    def refuse(bus: int) -> Any:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), f"/dev/i2c-{bus}")

    host.open_i2c = refuse
    problems = scan(host, (), lambda _path, _mode: False).problems
    told = " ".join(problems)
    assert ("/dev/i2c-1" in told, "/dev/vcio" in told, "/dev/watchdog" in told) == (True, True, True)
    assert "/sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq" in told
    assert str(host.root) not in told
    assert all("group" in problem or "udev" in problem for problem in problems)


@pytest.mark.parametrize(
    ("tree", "kind", "meter", "thermometer"),
    [
        ("raspberry-pi-4", "raspberry-pi", "board.cpu_meter", "cpu-thermal"),
        ("raspberry-pi-5", "raspberry-pi", "raspberry_pi.pmic", "cpu-thermal"),
        ("jetson-orin-nano", "jetson", "jetson.rail", "cpu-thermal"),
        ("jetson-xavier-nx", "jetson", "jetson.rail", "CPU-therm"),
        ("laptop", "computer", "board.cpu_meter", "x86_pkg_temp"),
    ],
)
def test_the_suggested_bench_of_a_real_boards_tree_loads_and_its_devices_read(
    plant_tree: PlantTree, put_on_bus: PutOnBus, tmp_path: Path, tree: str, kind: str, meter: str, thermometer: str
) -> None:
    host = plant_tree(tree)
    for path in host.path("/dev").glob("i2c-*"):
        put_on_bus(host, int(path.name.removeprefix("i2c-")), {})
    found = look(host)
    assert found.kind == kind
    path = tmp_path / "mine.toml"
    path.write_text(suggest(found))
    bench, constellation, designs = load_bench_and_designs(path)
    (board,) = bench.boards
    assert board.kind == kind
    assert board.devices["meter.board"].driver == meter
    assert board.devices["thermal.node-1"].settings["zone"] == thermometer
    checked = asyncio.run(examine(Bench(path, bench, constellation, designs), (), 0.6, "", lambda _views: None, host))
    # The firmware of a Raspberry Pi answers an ioctl, which no file does.
    missing = {row.device: row.problem for row in checked[0].rows if not row.good and "raspberry_pi." not in row.driver}
    assert missing == {}
    assert checked[0].notes == ()


def test_what_sits_on_the_bus_is_in_the_suggestion(plant_tree: PlantTree, put_on_bus: PutOnBus, tmp_path: Path) -> None:
    host = plant_tree("raspberry-pi-4")
    put_on_bus(host, 1, {0x40: INA226, 0x48: TMP117, 0x49: ADS1115, 0x41: PCA9685, 0x20: {}})
    text = suggest(look(host), "ssh://skyrack@pi-1.local", "pi")
    path = tmp_path / "pi.toml"
    path.write_text(text)
    (board,) = load_bench_and_designs(path)[0].boards
    assert board.address == "ssh://skyrack@pi-1.local"
    assert board.devices["meter.board"].driver == "i2c.ina226"
    assert board.devices["thermal.cold-plate"].settings == {"bus": 1, "address": 0x48}
    assert "ADS1115 at 0x49" in text
    assert "PCA9685 at 0x41" in text
    assert "somebody at 0x20" in text


def test_a_scan_survives_its_way_as_json(plant_tree: PlantTree) -> None:
    found = look(plant_tree("jetson-orin-nano"))
    assert msgspec.convert(json.loads(json.dumps(msgspec.to_builtins(found))), Scan) == found


def skyrack(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_scan_writes_a_bench_file_that_check_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "here.toml"
    code, out, _ = skyrack(capsys, "hil", "scan", "--json", "--write", str(path))
    assert code == 0
    assert json.loads(out)["cores"] >= 1
    assert load_bench_and_designs(path)[0].name == "here"
    code, _, err = skyrack(capsys, "hil", "scan", "--write", str(path))
    assert (code, "is there already" in err) == (2, True)


@pytest.mark.parametrize("address", ["pi-1", "ssh://pi:0", "http://pi-1"])
def test_an_address_of_another_form_is_one_sentence(capsys: pytest.CaptureFixture[str], address: str) -> None:
    code, _, err = skyrack(capsys, "hil", "scan", address)
    assert code == 2
    assert "ssh://skyrack@pi-1.local" in err
