"""Our drivers on drivers of a real kernel: chips that i2c-stub plays, lines of gpio-sim, PWM of a PCA9685.

Registers are those of the data sheets; what the kernel makes of them is in its Documentation/hwmon/{ina2xx,lm75}.rst.
"""

from __future__ import annotations

import shlex
from typing import Any

import pytest

from scripts.boards.board import Board
from scripts.boards.cache import REPOSITORY

INA226, INA226_OURS, LM75, TMP102, PCA9685 = 0x40, 0x44, 0x48, 0x49, 0x60
FREE_ADDRESS = 0x41

# The kernel's ina2xx with the 10 milliohm that it takes when nobody tells: 1 bit of power is 25 * 250 uA * 1 V.
WATTS_PER_BIT = 0.00625
BUS_VOLTS_PER_BIT = 0.00125


def word(value: int) -> int:
    """The bytes of a register the other way round: SMBus words begin with the low byte, these chips with the high."""
    return (value & 0xFF) << 8 | value >> 8


def lm75(celsius: float) -> int:
    """Register 0 of an LM75: 9 bits, half degrees, to the left."""
    return word(round(celsius * 2) << 7 & 0xFFFF)


@pytest.fixture(scope="module")
def bus(kernel: Board) -> int:
    """The number of the stub's bus, with an INA226 and an LM75 that the kernel drives."""
    addresses = ",".join(hex(address) for address in (INA226, FREE_ADDRESS, INA226_OURS, LM75, TMP102, PCA9685))
    number = int(
        kernel.sh(
            f"sudo modprobe i2c-stub chip_addr={addresses} && sudo modprobe -a ina2xx lm75 pwm-pca9685 && "
            "/usr/sbin/i2cdetect -l | sed -n 's/^i2c-\\([0-9]*\\).*SMBus stub.*/\\1/p'"
        )
    )
    prepare = [setting(number, INA226, 0xFE, word(0x5449)), setting(number, INA226, 0xFF, word(0x2260))]
    prepare += [setting(number, INA226_OURS, 0xFE, word(0x5449)), setting(number, INA226_OURS, 0xFF, word(0x2260))]
    prepare += [setting(number, LM75, 0x00, lm75(20.0))]
    prepare += [f"echo ina226 {INA226:#04x} | sudo tee /sys/bus/i2c/devices/i2c-{number}/new_device"]
    prepare += [f"echo lm75 {LM75:#04x} | sudo tee /sys/bus/i2c/devices/i2c-{number}/new_device"]
    kernel.sh(" && ".join(prepare))
    return number


def setting(bus: int, address: int, register: int, value: int, mode: str = "w") -> str:
    """A command that puts a value into a register behind every driver's back."""
    return f"sudo /usr/sbin/i2cset -f -y {bus} {address:#04x} {register:#04x} {value:#06x} {mode}"


def values(answers: list[Any]) -> list[float]:
    return [answer["value"] for answer in answers if isinstance(answer, dict) and "value" in answer]


def test_hwmon_power_follows_the_kernels_ina226(kernel: Board, bus: int) -> None:
    meter = {"driver": "linux.hwmon_power", "settings": {"chip": "ina226", "device": f"{bus}-0040", "scale": 10.0}}
    steps: list[list[Any]] = []
    for watts in (4.8, 6.9, 2.7):
        steps.append(["shell", setting(bus, INA226, 0x03, word(round(watts / WATTS_PER_BIT)))])
        steps.append(["read", "meter.board"])
    answers = kernel.drive({"meter.board": meter}, steps)
    assert values(answers) == pytest.approx([48.0, 69.0, 27.0], abs=0.1)
    assert {answer["quality"] for answer in answers if "quality" in answer} == {"good"}


def test_hwmon_temperature_follows_the_kernels_lm75(kernel: Board, bus: int) -> None:
    sensor = {"driver": "linux.hwmon_temperature", "settings": {"chip": "lm75"}}
    steps: list[list[Any]] = [["shell", "true"]]
    for celsius in (21.5, 83.0, -12.5):
        # The kernel asks the chip again when its last answer is older than a conversion.
        steps += [["shell", setting(bus, LM75, 0x00, lm75(celsius)) + "; sleep 1.6"], ["read", "thermal.node-1"]]
    assert values(kernel.drive({"thermal.node-1": sensor}, steps)) == [21.5, 83.0, -12.5]


def test_a_chip_that_the_kernel_loses_is_absent_and_comes_back(kernel: Board, bus: int) -> None:
    sensor = {"driver": "linux.hwmon_temperature", "settings": {"chip": "lm75"}}
    devices = f"/sys/bus/i2c/devices/i2c-{bus}"
    answers = kernel.drive(
        {"thermal.node-1": sensor},
        [
            ["shell", setting(bus, LM75, 0x00, lm75(40.0)) + "; sleep 1.6"],
            ["read", "thermal.node-1"],
            ["shell", f"echo {LM75:#04x} | tee {devices}/delete_device"],
            ["read", "thermal.node-1"],
            ["shell", setting(bus, LM75, 0x00, lm75(41.0))],
            ["shell", f"echo lm75 {LM75:#04x} | tee {devices}/new_device"],
            ["read", "thermal.node-1"],
        ],
    )
    before, gone, after = [answer for answer in answers if "quality" in answer]
    assert (before["value"], before["quality"]) == (40.0, "good")
    assert (gone["value"], gone["quality"]) == (40.0, "absent")
    assert gone["problem"]
    assert (after["value"], after["quality"]) == (41.0, "good")


def test_i2c_driver_reads_a_chip_that_no_kernel_driver_has(kernel: Board, bus: int) -> None:
    # 0.1 ohm and 3.2 A: ours calibrates the chip itself, so that the test asks it for what it wrote.
    meter = {
        "driver": "i2c.ina226",
        "settings": {"bus": bus, "address": INA226_OURS, "shunt_ohms": 0.1, "quantity": "voltage"},
    }
    volts = 5.1
    answers = kernel.drive(
        {"meter.board": meter},
        [
            ["shell", setting(bus, INA226_OURS, 0x02, word(round(volts / BUS_VOLTS_PER_BIT)))],
            ["read", "meter.board"],
            ["shell", setting(bus, INA226_OURS, 0x02, word(round(4.7 / BUS_VOLTS_PER_BIT)))],
            ["read", "meter.board"],
            ["shell", f"/usr/sbin/i2cget -y {bus} {INA226_OURS:#04x} 0x05 w"],
        ],
    )
    assert values(answers) == pytest.approx([volts, 4.7], abs=BUS_VOLTS_PER_BIT)
    assert int(answers[-1]["said"], 16) != 0, "the driver calibrates the chip"


def test_i2c_driver_says_who_has_the_chip(kernel: Board, bus: int) -> None:
    meter = {"driver": "i2c.ina226", "settings": {"bus": bus, "address": INA226, "shunt_ohms": 0.1}}
    ((refused),) = kernel.drive({"meter.board": meter}, [["make", "meter.board"]])
    assert "in use" in refused["error"] or "kernel" in refused["error"], refused


def test_a_missing_permission_names_its_remedy(kernel: Board, bus: int) -> None:
    meter = {"driver": "i2c.ina226", "settings": {"bus": bus, "address": INA226_OURS, "shunt_ohms": 0.1}}
    switch = {"driver": "pwm.pump", "settings": {"chip": "pwmchip0"}}
    refused = kernel.drive({"meter.board": meter, "pump.a": switch}, [["make", "meter.board"]], sudo=False)[0]
    assert "group i2c" in refused["error"], refused


@pytest.fixture(scope="module")
def lines(kernel: Board) -> str:
    """A GPIO chip of four lines, made by gpio-sim through configfs; the path of its lines in sysfs."""
    place = "/sys/kernel/config/gpio-sim/bench"
    kernel.sh(
        "sudo modprobe gpio-sim && (mountpoint -q /sys/kernel/config || "
        "sudo mount -t configfs configfs /sys/kernel/config) && "
        f"sudo mkdir -p {place}/bank0/line2 && echo 4 | sudo tee {place}/bank0/num_lines && "
        f"echo LOAD-SWITCH | sudo tee {place}/bank0/line2/name && echo 1 | sudo tee {place}/live"
    )
    chip = kernel.sh(f"cat {place}/bank0/chip_name")
    device = kernel.sh(f"cat {place}/dev_name")
    return f"{chip} /sys/devices/platform/{device}/{chip}"


def test_load_switch_moves_a_real_line_and_leaves_it_when_it_goes(kernel: Board, lines: str) -> None:
    chip, place = lines.split()
    level = f"cat {place}/sim_gpio2/value"
    switch = {"driver": "gpio.load_switch", "settings": {"chip": chip, "line": "LOAD-SWITCH", "watts": 5.0}}
    answers = kernel.drive(
        {"load.radio": switch},
        [
            ["ask", "load.radio", "set_closed", True],
            ["shell", level],
            ["ask", "load.radio", "is_closed"],
            ["ask", "load.radio", "read_watts"],
            ["ask", "load.radio", "set_closed", False],
            ["shell", level],
        ],
    )
    assert [answer["said"] for answer in answers if answer and "said" in answer] == ["1", "0"]
    assert values(answers) == [True, 5.0]


def test_two_programs_do_not_share_a_line(kernel: Board, lines: str) -> None:
    chip, _ = lines.split()
    switch = {"driver": "gpio.load_switch", "settings": {"chip": chip, "line": 2, "watts": 5.0}}
    heater = {"driver": "gpio.heater", "settings": {"chip": chip, "line": 2, "watts": 5.0}}
    answers = kernel.drive(
        {"load.radio": switch, "heater.battery": heater}, [["make", "load.radio"], ["make", "heater.battery"]]
    )
    assert answers[0] is None
    assert "skyrack" in answers[1]["error"], answers


def test_pump_sets_the_duty_of_a_pca9685(kernel: Board, bus: int) -> None:
    kernel.sh(f"echo pca9685 {PCA9685:#04x} | sudo tee /sys/bus/i2c/devices/i2c-{bus}/new_device")
    chip = kernel.sh("ls /sys/class/pwm").split()[0]
    pump = {"driver": "pwm.pump", "settings": {"chip": chip, "channel": 3, "frequency_hertz": 200}}
    # LED3_OFF, low and high byte: 4096 steps a period (data sheet, 7.3.3).
    registers = " ".join(f"$(/usr/sbin/i2cget -f -y {bus} {PCA9685:#04x} {register:#04x})" for register in (0x14, 0x15))
    answers = kernel.drive(
        {"pump.a": pump},
        [["ask", "pump.a", "set_duty", 0.25], ["ask", "pump.a", "read_duty"], ["shell", f"echo {registers}"]],
    )
    assert values(answers) == pytest.approx([0.25], abs=0.001)
    low, high = (int(text, 16) for text in answers[-1]["said"].split())
    assert (high << 8 | low) == pytest.approx(1024, abs=2)


def test_the_udev_rules_let_a_user_of_the_group_work(kernel: Board, bus: int, lines: str) -> None:
    chip, _ = lines.split()
    meter = {"driver": "i2c.ina226", "settings": {"bus": bus, "address": INA226_OURS, "quantity": "voltage"}}
    switch = {"driver": "gpio.load_switch", "settings": {"chip": chip, "line": 1, "watts": 5.0}}
    devices = {"meter.board": meter, "load.radio": switch}
    steps = [["make", "meter.board"], ["make", "load.radio"]]
    without = kernel.drive(devices, steps, sudo=False)
    assert all("group" in answer["error"] for answer in without), without
    # The group first, as the rules say: udev looks names of groups up when it reads its rules.
    kernel.sh("sudo groupadd --system skyrack && sudo usermod -aG skyrack pi")
    for rules in sorted((REPOSITORY / "deploy/board/udev").glob("*.rules")):
        kernel.sh(f"echo {shlex.quote(rules.read_text())} | sudo tee /etc/udev/rules.d/{rules.name} >/dev/null")
    kernel.sh("sudo modprobe softdog && sudo udevadm control --reload && sudo udevadm trigger --settle")
    found = kernel.sh("id; ls -l /dev/i2c-* /dev/gpiochip* /dev/watchdog*")
    assert kernel.drive(devices, steps, sudo=False) == [None, None], found
    assert kernel.sh("test -w /dev/watchdog && echo yes") == "yes"
