"""Chips on I2C, against models of their registers."""

from __future__ import annotations

import asyncio
import errno
import math
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import pytest

from flight.devices import load_driver
from flight.hal import DeviceEnvironment, DeviceError, Quality, Reading
from hil.devices.gauge import Gauge
from hil.devices.host import Host
from hil.devices.i2c.ina2xx_scales import ina219_calibration, ina226_calibration, ina228_calibration
from hil.devices.i2c.thermistors import Thermistor
from tests.hil.devices import fake_chips as fakes
from tests.hil.devices.fake_chips import FakeBus

T = TypeVar("T")


@pytest.fixture
def bus(host: Host) -> FakeBus:
    bus = FakeBus()
    host.open_i2c = lambda number: bus
    return bus


@pytest.fixture
def make(environment: DeviceEnvironment, bus: FakeBus) -> Callable[..., Gauge]:
    """Through the entry points, as services do."""

    def make(driver: str, **settings: object) -> Gauge:
        device = load_driver(driver)("meter.x", settings, environment)
        assert isinstance(device, Gauge)
        return device

    return make


def get(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


def read(gauge: Gauge) -> Reading[float]:
    return get(gauge.read())


MONITORS: dict[str, tuple[Callable[..., fakes.CurrentMonitor], float]] = {
    "i2c.ina219": (fakes.Ina219, 0.1),
    "i2c.ina226": (fakes.Ina226, 0.1),
    "i2c.ina228": (fakes.Ina228, 0.015),
}


@pytest.mark.parametrize("driver", MONITORS)
@pytest.mark.parametrize(("volts", "amperes"), [(5.1, 0.75), (12.0, -0.4), (5.0, 0.0)])
def test_monitors_read_power_current_and_voltage_with_signs(
    driver: str, volts: float, amperes: float, bus: FakeBus, make: Callable[..., Gauge]
) -> None:
    kind, ohms = MONITORS[driver]
    bus.chips[0x41] = kind(ohms, volts, amperes)
    read_as = {
        quantity: read(make(driver, address=0x41, quantity=quantity)).value
        for quantity in ("power", "current", "voltage")
    }
    assert read_as["voltage"] == pytest.approx(volts, abs=3e-3)
    assert read_as["current"] == pytest.approx(amperes, abs=1e-3)
    assert read_as["power"] == pytest.approx(volts * amperes, abs=0.01)


def test_an_ina3221_reads_each_of_its_channels(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    bus.chips[0x40] = fakes.Ina3221(0.1, ((5.0, 1.2), (12.0, -0.3), (3.3, 0.0)))
    watts = [read(make("i2c.ina3221", channel=channel)).value for channel in (1, 2, 3)]
    assert watts == pytest.approx([6.0, -3.6, 0.0], abs=0.05)


def test_calibration_by_the_data_sheets_examples() -> None:
    # 0.04096 / (3.2 A / 2^15 * 0.1 ohms) is 4194.3, and bit 0 is always 0.
    assert ina219_calibration(0.1, 3.2).register == 4194
    assert ina219_calibration(0.1, 3.2).range_code == 3
    assert ina219_calibration(0.1, 0.4).range_code == 0
    # INA226 (SBOS547): 2 milliohms and a bit of 1 mA give 2560.
    assert ina226_calibration(0.002, 1e-3 * 2**15).register == 2560
    # INA228 (SLYS021): 16.2 milliohms and 10 A give a bit of 19.07 uA and 4050.
    assert ina228_calibration(0.0162, 10.0).register == 4050
    assert ina228_calibration(0.0162, 10.0).amperes_per_bit == pytest.approx(19.07e-6, rel=1e-3)
    assert ina228_calibration(0.0162, 1.0).range_code == 1


@pytest.mark.parametrize(
    ("driver", "settings", "sentence"),
    [
        ("i2c.ina219", {"address": 0x50}, "address = 80 must be 64 to 79"),
        ("i2c.ina3221", {"address": 0x44}, "address = 68 must be 64 to 67"),
        ("i2c.ina3221", {"channel": 4}, "channel = 4 must be 1 to 3"),
        ("i2c.ina219", {"adress": 0x40}, 'no setting "adress"; did you mean "address"'),
        ("i2c.ina226", {"shunt_ohms": 0.1, "maximum_amperes": 10}, "is 1 V, and an INA226 measures 0.08192 V at most"),
        ("i2c.ina219", {"quantity": "energy"}, "must be one of power, current, voltage"),
        ("i2c.tmp117", {"address": 0x4C}, "address = 76 must be 72 to 75"),
        ("i2c.thermistor", {"steinhart_a": 1e-3}, "steinhart_b is missing"),
        ("i2c.photodiode", {"full_scale_volts": 3.3}, "must be one of 6.144, 4.096"),
        ("i2c.photodiode", {"samples_per_second": 100}, "must be one of 8, 16"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    driver: str, settings: dict[str, object], sentence: str, make: Callable[..., Gauge]
) -> None:
    with pytest.raises(DeviceError, match=sentence):
        make(driver, **settings)


def test_a_wrong_chip_at_the_address_is_refused(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    bus.chips[0x40] = fakes.Ina219(0.1)
    bus.chips[0x41] = fakes.Ina226(0.1)
    bus.chips[0x48] = fakes.Tmp105()
    with pytest.raises(DeviceError, match="is no INA226: register 0xfe says 0x0000, and should say 0x5449"):
        make("i2c.ina226", address=0x40)
    with pytest.raises(DeviceError, match="is no INA219: bits 15 and 14"):
        make("i2c.ina219", address=0x41)
    with pytest.raises(DeviceError, match="is no INA228"):
        make("i2c.ina228", address=0x41)
    with pytest.raises(DeviceError, match=r"is no TMP102.*try i2c.tmp105"):
        make("i2c.tmp102")
    with pytest.raises(DeviceError, match="is no TMP117: register 0x0f"):
        make("i2c.tmp117")


def test_a_wrong_address_names_the_place_and_what_to_look_at(make: Callable[..., Gauge]) -> None:
    with pytest.raises(DeviceError, match=r"nothing answers as INA219 at 0x45 on i2c-3; look at its supply, SDA"):
        make("i2c.ina219", bus=3, address=0x45)


def test_a_chip_that_the_kernel_serves_is_left_to_it(tmp_path: Path, bus: FakeBus, make: Callable[..., Gauge]) -> None:
    device = tmp_path / "sys/bus/i2c/devices/1-0040"
    driver = tmp_path / "sys/bus/i2c/drivers/ina2xx"
    driver.mkdir(parents=True)
    (device / "hwmon/hwmon4").mkdir(parents=True)
    (device / "driver").symlink_to(driver)
    bus.chips[0x40] = fakes.Ina219(0.1)
    with pytest.raises(DeviceError, match=r"driver ina2xx as hwmon4: use linux\.hwmon_power"):
        make("i2c.ina219")
    assert bus.transfers == 0


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        (errno.EACCES, r"/dev/i2c-1 may not be used by .*; add the user to the group i2c"),
        (errno.ENOENT, "there is no bus /dev/i2c-1: switch I2C on"),
        (errno.ETIMEDOUT, "i2c-1 is stuck: something holds SDA or SCL low"),
    ],
)
def test_a_bus_that_cannot_be_used_is_explained(
    code: int, sentence: str, host: Host, make: Callable[..., Gauge]
) -> None:
    def refuse(number: int) -> FakeBus:
        raise OSError(code, "refused")

    host.open_i2c = refuse
    with pytest.raises(DeviceError, match=sentence):
        make("i2c.ina219")


def test_a_chip_that_vanishes_and_returns_is_configured_again(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    chip = bus.chips[0x40] = fakes.Ina226(0.1, 5.0, 0.5)
    gauge = make("i2c.ina226")
    assert read(gauge).value == pytest.approx(2.5, abs=0.01)
    del bus.chips[0x40]
    gone = read(gauge)
    assert gone.quality is Quality.ABSENT
    assert gone.value == pytest.approx(2.5, abs=0.01)
    assert "nothing answers" in gone.problem
    chip.reset()
    bus.chips[0x40] = chip
    back = read(gauge)
    assert back.good
    assert back.value == pytest.approx(2.5, abs=0.01)


@pytest.mark.parametrize("driver", MONITORS)
def test_a_dip_of_the_supply_never_gives_a_wrong_number(driver: str, bus: FakeBus, make: Callable[..., Gauge]) -> None:
    kind, ohms = MONITORS[driver]
    chip = bus.chips[0x40] = kind(ohms, 5.0, 0.5)
    gauge = make(driver)
    chip.reset()
    dipped = read(gauge)
    assert dipped.quality is Quality.STALE
    assert "lost its settings" in dipped.problem
    assert read(gauge).value == pytest.approx(2.5, abs=0.01)


@pytest.mark.parametrize("driver", [*MONITORS, "i2c.ina3221"])
def test_too_much_current_is_an_overflow_and_no_number(driver: str, bus: FakeBus, make: Callable[..., Gauge]) -> None:
    if driver == "i2c.ina3221":
        three = fakes.Ina3221(0.1, ((5.0, 0.5),) * 3)
        bus.chips[0x40] = three
        gauge = make(driver)
        three.loads = ((5.0, 1.9),) * 3
    else:
        kind, ohms = MONITORS[driver]
        chip = bus.chips[0x40] = kind(ohms, 5.0, 0.1)
        gauge = make(driver, maximum_amperes=0.3)
        chip.amperes = 0.6
    reading = read(gauge)
    assert reading.quality is Quality.STALE
    assert "overflow" in reading.problem or "absurd" in reading.problem


def test_a_stuck_bus_passes_and_an_adapter_that_is_unplugged_comes_back(
    bus: FakeBus, host: Host, make: Callable[..., Gauge]
) -> None:
    bus.chips[0x48] = fakes.Tmp117(31.5)
    gauge = make("i2c.tmp117")
    bus.stuck = True
    assert read(gauge).quality is Quality.STALE
    bus.stuck = False
    assert read(gauge) == (31.5, 1000.0, Quality.GOOD, "")
    bus.gone = True
    assert read(gauge).quality is Quality.ABSENT
    again = FakeBus({0x48: fakes.Tmp117(32.5)})
    host.open_i2c = lambda number: again
    assert read(gauge).value == 32.5


def test_a_slow_chip_is_late_and_does_not_hold_control_up(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    bus.chips[0x48] = fakes.Tmp102(25.0)
    gauge = make("i2c.tmp102", timeout_seconds=0.02)
    bus.seconds = 0.15
    late = read(gauge)
    assert late.quality is Quality.STALE
    assert late.value == 25.0
    assert "no answer within" in late.problem


@pytest.mark.parametrize("celsius", [-40.0, -0.0625, 0.0, 21.4375, 125.0])
def test_thermometers(celsius: float, bus: FakeBus, make: Callable[..., Gauge]) -> None:
    bus.chips |= {0x48: fakes.Tmp102(celsius), 0x49: fakes.Tmp105(celsius), 0x4A: fakes.Tmp117(celsius)}
    assert read(make("i2c.tmp102", address=0x48)).value == celsius
    # Twelve bits were asked of it; it has nine after power-on.
    assert read(make("i2c.tmp105", address=0x49)).value == celsius
    assert read(make("i2c.tmp117", address=0x4A)).value == celsius


def test_a_tmp117_that_has_not_measured_yet_says_so(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    chip = bus.chips[0x48] = fakes.Tmp117(20.0)
    gauge = make("i2c.tmp117")
    chip.measured = False
    reading = read(gauge)
    assert reading.quality is Quality.STALE
    assert "has not measured since its reset" in reading.problem


def test_absurd_and_stuck_values_are_not_good(bus: FakeBus, make: Callable[..., Gauge], clock: Any) -> None:
    chip = bus.chips[0x48] = fakes.Tmp102(20.0)
    gauge = make("i2c.tmp102", low=0.0, high=90.0, stuck_after_seconds=60.0)
    assert read(gauge).good
    chip.celsius = 120.0
    assert "absurd" in read(gauge).problem
    chip.celsius = 20.0
    clock.time += 61.0
    assert "stuck" in read(gauge).problem
    chip.celsius = 20.5
    assert read(gauge).good


# ADS1115.


def _divider_volts(ohms: float, series: float = 10e3, supply: float = 3.3) -> float:
    return supply * ohms / (ohms + series)


def test_a_thermistor_by_beta_and_by_steinhart_and_hart(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    # A usual one: 10 kilohms at 25, 32650 at 0 and 3603 at 50 degrees; its beta is of 25 and 85 degrees.
    state = {"ohms": 10e3}
    bus.chips[0x48] = fakes.Ads1115(lambda channel: _divider_volts(state["ohms"]), polls=1)
    by_beta = make("i2c.thermistor", beta=3977)
    coefficients = {"steinhart_a": 1.129148e-3, "steinhart_b": 2.34125e-4, "steinhart_c": 8.76741e-8}
    by_coefficients = make("i2c.thermistor", **coefficients)
    for ohms, celsius in ((10e3, 25.0), (32650.0, 0.0), (3603.0, 50.0)):
        state["ohms"] = ohms
        assert read(by_beta).value == pytest.approx(celsius, abs=0.8)
        assert read(by_coefficients).value == pytest.approx(celsius, abs=0.1)


def test_a_thermistor_above_its_resistor(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    bus.chips[0x48] = fakes.Ads1115(lambda channel: 3.3 - _divider_volts(32650.0))
    assert read(make("i2c.thermistor", beta=3977, to_supply=True)).value == pytest.approx(0.0, abs=0.8)


def test_open_and_short_thermistors_are_told_apart(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    state = {"volts": 1.65}
    bus.chips[0x48] = fakes.Ads1115(lambda channel: state["volts"])
    gauge = make("i2c.thermistor")
    assert read(gauge).value == pytest.approx(25.0, abs=0.05)
    for volts, word in ((3.3, "open: a wire is off"), (0.0, "short"), (3.6, "measure the supply")):
        state["volts"] = volts
        reading = read(gauge)
        assert not reading.good
        assert word in reading.problem
    state["volts"] = 1.65
    assert read(gauge).good


def test_a_photodiode_in_watts(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    volts = {0: 0.0, 2: 1.02}
    bus.chips[0x49] = fakes.Ads1115(lambda channel: volts[channel])
    gauge = make("i2c.photodiode", address=0x49, channel=2, resistor_ohms=1e5, dark_volts=0.02, scale=1e3)
    assert read(gauge).value == pytest.approx(1e3 * 1.0 / 1e5 / 0.5, rel=1e-3)
    volts[2] = 4.2
    assert "over its full scale of 4.096 V" in read(gauge).problem


def test_a_converter_that_never_finishes_or_is_another_chip(bus: FakeBus, make: Callable[..., Gauge]) -> None:
    bus.chips[0x48] = fakes.Ads1115(lambda channel: 1.0, polls=1000)
    with pytest.raises(DeviceError, match="does not finish its conversion"):
        make("i2c.photodiode", samples_per_second=860)
    bus.chips[0x48] = fakes.Tmp102()
    with pytest.raises(DeviceError, match="has other settings than were written"):
        make("i2c.photodiode", samples_per_second=860)


def test_coefficients_that_give_no_temperature() -> None:
    with pytest.raises(ValueError, match="check them"):
        Thermistor(-1.0, 0.0, 0.0).celsius(1e4)
    assert math.isclose(Thermistor.of_beta(1e4, 25.0, 3950.0).celsius(1e4), 25.0, abs_tol=1e-9)
