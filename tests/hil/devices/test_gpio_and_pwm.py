"""Load switches, heaters and pumps on GPIO lines and PWM channels."""

from __future__ import annotations

import asyncio
import errno
import shutil
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from flight.devices import load_driver
from flight.hal import DeviceEnvironment, DeviceError, Quality, Reading
from hil.devices.host import Host
from tests.hil.devices.fake_gpio import FakeGpio

T = TypeVar("T")


@pytest.fixture
def gpio(host: Host) -> FakeGpio:
    gpio = FakeGpio()
    host.open_gpio = gpio.open
    return gpio


@pytest.fixture
def make(environment: DeviceEnvironment) -> Callable[..., Any]:
    def make(driver: str, name: str = "load.node-1", **settings: object) -> Any:
        return load_driver(driver)(name, settings, environment)

    return make


def get(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


# GPIO.


def test_a_load_switch_closes_opens_and_is_read_back(gpio: FakeGpio, make: Callable[..., Any]) -> None:
    switch = make("gpio.load_switch", line=5, watts=6.0, scale=100.0)
    assert gpio.lines[5].high, "a load is powered from the start"
    assert get(switch.is_closed()).value
    assert get(switch.read_watts()).value == 600.0
    get(switch.set_closed(False))
    assert not gpio.lines[5].high
    assert get(switch.read_watts()).value == 0.0
    # Somebody shorts the line: what is there counts, not what was asked.
    gpio.lines[5].high = True
    assert get(switch.is_closed()).value


def test_active_low_names_and_feedback(gpio: FakeGpio, make: Callable[..., Any]) -> None:
    switch = make("gpio.load_switch", line="GPIO3", active_low=True, watts=6.0, feedback_line=4)
    assert not gpio.lines[3].high
    gpio.lines[4].high = True  # not active: the load has no power, whatever was commanded
    assert not get(switch.is_closed()).value
    gpio.lines[4].high = False
    assert get(switch.is_closed()).value


def test_a_restart_switches_nothing(gpio: FakeGpio, make: Callable[..., Any]) -> None:
    switch = make("gpio.load_switch", line=5, watts=6.0)
    get(switch.set_closed(False))
    get(switch.close())
    again = make("gpio.load_switch", line=5, watts=6.0)
    assert not get(again.is_closed()).value
    get(again.set_closed(True))
    get(again.close())
    assert gpio.lines[5].high, "keep is what a load switch does when it is let go"
    opening = make("gpio.load_switch", line=5, watts=6.0, on_close="open")
    get(opening.close())
    assert not gpio.lines[5].high


def test_a_load_switch_reads_its_meter(gpio: FakeGpio, environment: DeviceEnvironment) -> None:
    class Meter:
        async def read(self) -> Reading[float]:
            return Reading(432.1, 7.0)

    def device(name: str) -> object:
        if name == "meter.board":
            return Meter()
        raise DeviceError(f'no driver serves the device "{name}"')

    driver = load_driver("gpio.load_switch")
    switch: Any = driver("load.node-1", {"line": 1, "meter": "meter.board"}, replace(environment, device=device))
    assert get(switch.read_watts()) == Reading(432.1, 7.0)
    with pytest.raises(DeviceError, match=r"no driver serves the device \"meter\.bord\""):
        driver("load.node-1", {"line": 2, "meter": "meter.bord"}, replace(environment, device=device))
    with pytest.raises(DeviceError, match="meter or watts is missing"):
        driver("load.node-1", {"line": 2}, environment)


def test_a_line_that_somebody_holds_names_who(gpio: FakeGpio, make: Callable[..., Any]) -> None:
    gpio.lines[5].consumer = "pwm-fan"
    with pytest.raises(DeviceError, match=r'line 5 of .*/dev/gpiochip0 is held by "pwm-fan"; end what uses it'):
        make("gpio.load_switch", line=5, watts=1.0)


def test_lines_and_chips_that_are_not_there(gpio: FakeGpio, host: Host, make: Callable[..., Any]) -> None:
    with pytest.raises(DeviceError, match=r"has no line GPIO99; gpioinfo lists"):
        make("gpio.load_switch", line="GPIO99", watts=1.0)
    with pytest.raises(DeviceError, match='the setting "line" is missing'):
        make("gpio.load_switch", watts=1.0)
    with pytest.raises(DeviceError, match='chip = "i2c-1" must be such as "gpiochip0"'):
        make("gpio.load_switch", chip="i2c-1", line=1, watts=1.0)
    with pytest.raises(DeviceError, match='no setting "lin"; did you mean "line"'):
        make("gpio.load_switch", lin=1, watts=1.0)

    def refuse(path: str) -> Any:
        raise OSError(errno.EACCES, "Permission denied", path)

    host.open_gpio = refuse
    with pytest.raises(DeviceError, match="add the user to the group gpio"):
        make("gpio.load_switch", line=1, watts=1.0)


def test_a_chip_that_vanishes_and_returns_is_driven_as_commanded(gpio: FakeGpio, make: Callable[..., Any]) -> None:
    switch = make("gpio.load_switch", line=5, watts=6.0)
    gpio.gone = True
    gone = get(switch.is_closed())
    assert (gone.value, gone.quality) != (True, Quality.GOOD)
    assert "absent" in gone.problem
    with pytest.raises(DeviceError, match="absent"):
        get(switch.set_closed(False))
    gpio.gone = False
    for line in gpio.lines:
        line.high, line.output, line.consumer = True, False, ""
    assert not get(switch.is_closed()).value, "the last command holds"


def test_a_heater_is_off_when_nobody_watches_it(
    gpio: FakeGpio, make: Callable[..., Any], environment: DeviceEnvironment
) -> None:
    heater = make("gpio.heater", "heater.battery-heater", line=2, watts=8.0)
    assert heater.watts == 8.0
    assert not get(heater.is_on()).value
    get(heater.set_on(True))
    assert gpio.lines[2].high
    get(heater.close())
    assert not gpio.lines[2].high
    with pytest.raises(DeviceError, match='the satellite has no heater "rack" to take it from'):
        make("gpio.heater", "heater.rack", line=3)


# PWM.


@pytest.fixture
def chip(tmp_path: Path) -> Path:
    """pwmchip0 of a Raspberry Pi: two channels, both exported already."""
    chip = tmp_path / "sys/class/pwm/pwmchip0"
    for channel in (0, 1):
        directory = chip / f"pwm{channel}"
        directory.mkdir(parents=True)
        for file, value in (("period", "0"), ("duty_cycle", "0"), ("enable", "0"), ("polarity", "normal")):
            (directory / file).write_text(f"{value}\n")
    (chip / "npwm").write_text("2\n")
    (chip / "export").write_text("")
    return chip


def shown(chip: Path, channel: int = 0) -> dict[str, str]:
    return {path.name: path.read_text().strip() for path in (chip / f"pwm{channel}").iterdir()}


def test_a_pump_runs_at_the_duty_it_is_asked_for(chip: Path, make: Callable[..., Any]) -> None:
    pump = make("pwm.pump", "pump", minimum_ratio=0.2)
    assert shown(chip) == {"period": "40000", "duty_cycle": "0", "enable": "1", "polarity": "normal"}
    for asked, runs in ((0.5, 20000), (0.1, 8000), (0.0, 0), (1.0, 40000)):
        get(pump.set_duty(asked))
        assert shown(chip)["duty_cycle"] == str(runs)
    assert get(pump.read_duty()).value == 1.0
    with pytest.raises(DeviceError, match=r"a duty of 1\.5 cannot be"):
        get(pump.set_duty(1.5))


def test_a_pump_that_runs_goes_on_through_a_restart(chip: Path, make: Callable[..., Any]) -> None:
    get(make("pwm.pump", "pump").set_duty(0.75))
    again = make("pwm.pump", "pump")
    assert get(again.read_duty()).value == 0.75
    get(again.close())
    assert shown(chip)["duty_cycle"] == "30000"
    faster = make("pwm.pump", "pump", frequency_hertz=50e3, inverted=True)
    assert shown(chip) == {"period": "20000", "duty_cycle": "15000", "enable": "1", "polarity": "inversed"}
    assert get(faster.read_duty()).value == 0.75


def test_a_pump_with_a_tachometer_tells_what_it_really_does(
    chip: Path, gpio: FakeGpio, make: Callable[..., Any], clock: Any, environment: DeviceEnvironment
) -> None:
    pump = make("pwm.pump", "pump", tachometer_line=7, full_speed_rpm=3000)
    # 1500 revolutions a minute with two pulses each are 50 a second; the kernel kept the last few of them.
    gpio.lines[7].edges.extend((number, number * 20_000_000) for number in range(30, 50))
    assert get(pump.read_duty()).value == pytest.approx(0.5)
    clock.time += 1.0
    gpio.lines[7].edges.extend((number, number * 20_000_000) for number in (98, 99))
    assert get(pump.read_duty()).value == pytest.approx(0.5)
    clock.time += 3.0
    assert get(pump.read_duty()).value == 0.0, "it is stuck, whatever the chip says"

    class Fan:
        async def read(self) -> Reading[float]:
            return Reading(750.0, 5.0, Quality.STALE, "late")

    settings: dict[str, object] = {"tachometer": "fan", "full_speed_rpm": 3000, "channel": 1}
    by_device: Any = load_driver("pwm.pump")("pump", settings, replace(environment, device=lambda name: Fan()))
    assert get(by_device.read_duty()) == Reading(0.25, 5.0, Quality.STALE, "late")
    with pytest.raises(DeviceError, match="full_speed_rpm is missing"):
        make("pwm.pump", "pump", tachometer_line=6)


def test_a_heater_with_a_duty(chip: Path, make: Callable[..., Any]) -> None:
    heater = make("pwm.heater", "heater.rack", channel=1, watts=10.0, duty_ratio=0.4)
    assert heater.watts == 4.0
    get(heater.set_on(True))
    assert get(heater.is_on()).value
    assert shown(chip, 1) == {"period": "100000000", "duty_cycle": "40000000", "enable": "1", "polarity": "normal"}
    get(heater.close())
    assert shown(chip, 1)["duty_cycle"] == "0"


def test_pwm_that_is_not_there_or_not_ours(
    chip: Path, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DeviceError, match=r"pwmchip4, there is pwmchip0; switch PWM on"):
        make("pwm.pump", "pump", chip="pwmchip4")
    with pytest.raises(DeviceError, match="has channels 0 to 1, and no 2"):
        make("pwm.pump", "pump", channel=2)
    shutil.rmtree(chip / "pwm1")

    write_text = Path.write_text

    def busy(path: Path, text: str) -> int:
        if path.name == "export":
            raise OSError(errno.EBUSY, "Device or resource busy")
        return write_text(path, text)

    monkeypatch.setattr(Path, "write_text", busy)
    with pytest.raises(DeviceError, match="is in use by the kernel"):
        make("pwm.pump", "pump", channel=1)


def test_a_pwm_chip_that_vanishes_and_returns(chip: Path, make: Callable[..., Any], tmp_path: Path) -> None:
    pump = make("pwm.pump", "pump")
    get(pump.set_duty(0.5))
    assert get(pump.read_duty()).value == 0.5
    away = tmp_path / "away"
    chip.rename(away)
    gone = get(pump.read_duty())
    assert (gone.value, gone.quality) == (0.5, Quality.ABSENT)
    with pytest.raises(DeviceError, match="absent"):
        get(pump.set_duty(0.7))
    away.rename(chip)
    (chip / "pwm0/enable").write_text("0")
    (chip / "pwm0/period").write_text("0")
    get(pump.set_duty(0.7))
    assert get(pump.read_duty()).value == pytest.approx(0.7)
