from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from flight.hal import DeviceEnvironment, DeviceError, Quality
from hil.devices.host import Host, attach
from hil.devices.linux import cpufreq, hwmon, one_wire, power_supply, powercap, thermal_zone

PlantTree = Callable[[str], Host]
T = TypeVar("T")


class Clock(Protocol):
    time: float


def get(coroutine: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(coroutine)


@pytest.fixture
def laptop(plant_tree: PlantTree) -> Host:
    return plant_tree("laptop")


@pytest.fixture
def on_laptop(laptop: Host, environment: DeviceEnvironment) -> DeviceEnvironment:
    return replace(environment, attachments=attach(laptop))


def text(host: Host, path: str) -> str:
    return host.path(path).read_text().strip()


def write(host: Host, path: str, content: object) -> None:
    host.path(path).write_text(f"{content}\n")


class TestHwmon:
    def test_a_chip_that_moved_to_another_number_is_found_again(
        self, laptop: Host, on_laptop: DeviceEnvironment
    ) -> None:
        device = hwmon.temperature("thermal.a", {"chip": "tmp102", "device": "7-0049"}, on_laptop)
        old = laptop.path("/sys/class/hwmon/hwmon8")
        new = old.rename(old.with_name("hwmon12"))
        (new / "temp1_input").rename(new / "kept")
        # The file that is open goes on to read as it was: say that its device is gone.
        (new / "kept").write_text("")
        (new / "temp1_input").write_text("29000\n")
        assert get(device.read()).value == pytest.approx(29.0)

    def test_two_chips_of_one_name_are_told_apart_by_their_device(self, on_laptop: DeviceEnvironment) -> None:
        with pytest.raises(DeviceError, match='several chips tmp102; say which by the setting "device": 7-0045, 7-00'):
            hwmon.temperature("thermal.a", {"chip": "tmp102"}, on_laptop)

    def test_a_chip_that_is_not_here_is_answered_with_those_that_are(self, on_laptop: DeviceEnvironment) -> None:
        with pytest.raises(DeviceError, match=r"the hwmon chip ina219 \(here: coretemp, ina226 \(7-0044\), thinkpad"):
            hwmon.power("meter.a", {"chip": "ina219"}, on_laptop)

    def test_a_channel_that_is_not_there_is_answered_with_those_that_are(self, on_laptop: DeviceEnvironment) -> None:
        for settings in ({}, {"label": "Core 7"}, {"index": 9}):
            with pytest.raises(DeviceError, match=r"1 \(Package id 0\), 2 \(Core 0\)"):
                hwmon.temperature("thermal.a", {"chip": "coretemp", **settings}, on_laptop)

    def test_no_watts_where_there_is_a_thermometer(self, on_laptop: DeviceEnvironment) -> None:
        with pytest.raises(DeviceError, match="the chip coretemp measures no power"):
            hwmon.power("meter.a", {"chip": "coretemp"}, on_laptop)

    def test_watts_are_volts_times_amperes_where_the_chip_has_no_power(
        self, laptop: Host, on_laptop: DeviceEnvironment
    ) -> None:
        laptop.path("/sys/class/hwmon/hwmon6/power1_input").unlink()
        device = hwmon.power("meter.a", {"chip": "ina226", "scale": 100}, on_laptop)
        assert get(device.read()).value == pytest.approx(5.104 * 1.210 * 100)
        assert device.how == "hwmon ina226, volts times amperes"

    def test_a_rail_is_chosen_by_its_label(self, plant_tree: PlantTree, environment: DeviceEnvironment) -> None:
        environment = replace(environment, attachments=attach(plant_tree("jetson-orin-nano")))
        device = hwmon.power("meter.a", {"chip": "ina3221", "label": "VDD_SOC"}, environment)
        assert get(device.read()).value == pytest.approx(5.008 * 0.296)


class TestFan:
    def test_it_is_taken_over_turned_and_given_back(self, laptop: Host, on_laptop: DeviceEnvironment) -> None:
        fan = hwmon.fan("pump.a", {"chip": "thinkpad"}, on_laptop)
        assert get(fan.read_duty()).value == pytest.approx(128 / 255)
        assert get(fan.read()).value == 2810.0
        get(fan.set_duty(0.25))
        assert text(laptop, "/sys/class/hwmon/hwmon5/pwm1_enable") == "1"
        assert text(laptop, "/sys/class/hwmon/hwmon5/pwm1") == "64"
        get(fan.close())
        assert text(laptop, "/sys/class/hwmon/hwmon5/pwm1_enable") == "2"
        assert text(laptop, "/sys/class/hwmon/hwmon5/pwm1") == "128"

    def test_a_fan_that_stands_still_runs_at_nothing(self, laptop: Host, on_laptop: DeviceEnvironment) -> None:
        fan = hwmon.fan("pump.a", {"chip": "thinkpad"}, on_laptop)
        write(laptop, "/sys/class/hwmon/hwmon5/fan1_input", 0)
        assert get(fan.read_duty())[:1] == (0.0,)
        assert get(fan.read_duty()).good

    def test_who_only_looks_changes_nothing(self, laptop: Host, on_laptop: DeviceEnvironment) -> None:
        fan = hwmon.fan("pump.a", {"chip": "thinkpad"}, on_laptop)
        write(laptop, "/sys/class/hwmon/hwmon5/pwm1", 200)
        get(fan.close())
        assert text(laptop, "/sys/class/hwmon/hwmon5/pwm1") == "200"

    def test_no_permission_and_no_duty(
        self, laptop: Host, on_laptop: DeviceEnvironment, deny: Callable[[Path], None]
    ) -> None:
        fan = hwmon.fan("pump.a", {"chip": "thinkpad"}, on_laptop)
        deny(laptop.path("/sys/class/hwmon/hwmon5/pwm1_enable"))
        with pytest.raises(DeviceError, match=r"pump\.a: .*pwm1_enable may not be used by .* udev rules"):
            get(fan.set_duty(0.5))
        with pytest.raises(DeviceError, match="must be 0 to 1"):
            get(fan.set_duty(1.5))

    def test_a_fan_that_is_gone_is_absent(self, laptop: Host, on_laptop: DeviceEnvironment) -> None:
        fan = hwmon.fan("pump.a", {"chip": "thinkpad"}, on_laptop)
        write(laptop, "/sys/class/hwmon/hwmon5/pwm1", "")
        laptop.path("/sys/class/hwmon/hwmon5").rename(laptop.path("/gone"))
        reading = get(fan.read_duty())
        assert reading.quality is Quality.ABSENT
        assert reading.value == pytest.approx(128 / 255)


class TestThermalZone:
    def test_several_zones_want_a_choice(self, on_laptop: DeviceEnvironment) -> None:
        with pytest.raises(DeviceError, match='say which by the setting "zone": acpitz, x86_pkg_temp'):
            thermal_zone.temperature("thermal.a", {}, on_laptop)


class TestPowercap:
    ENERGY = "/sys/class/powercap/intel-rapl:0/energy_uj"

    def test_watts_are_energy_since_the_last_look(
        self, laptop: Host, on_laptop: DeviceEnvironment, clock: Clock
    ) -> None:
        meter = powercap.meter("meter.cpu", {}, on_laptop)
        first = get(meter.read())
        assert (first.quality, "no value yet" in first.problem) == (Quality.STALE, True)
        write(laptop, self.ENERGY, 181002345678 + 30_000_000)
        clock.time += 2.0
        assert get(meter.read()).value == pytest.approx(15.0)
        # Too soon for another look: the counter would say more of its own steps.
        clock.time += 0.001
        assert get(meter.read()).value == pytest.approx(15.0)

    def test_the_counter_wraps(self, laptop: Host, on_laptop: DeviceEnvironment, clock: Clock) -> None:
        meter = powercap.meter("meter.cpu", {}, on_laptop)
        write(laptop, self.ENERGY, 262143328850 - 1_000_000)
        clock.time += 1.0
        get(meter.read())
        write(laptop, self.ENERGY, 4_000_000)
        clock.time += 1.0
        assert get(meter.read()).value == pytest.approx(5.0)

    def test_the_host_runs_slower_than_the_mission(
        self, laptop: Host, on_laptop: DeviceEnvironment, clock: Clock
    ) -> None:
        clock.rate = 60.0  # type: ignore[attr-defined]
        meter = powercap.meter("meter.cpu", {}, on_laptop)
        write(laptop, self.ENERGY, 181002345678 + 30_000_000)
        clock.time += 120.0
        assert get(meter.read()).value == pytest.approx(15.0)

    def test_the_kernel_lets_only_root_read(
        self, laptop: Host, on_laptop: DeviceEnvironment, deny: Callable[[Path], None]
    ) -> None:
        deny(laptop.path(self.ENERGY))
        with pytest.raises(DeviceError, match=r"energy_uj may not be used by .* udev rules"):
            powercap.meter("meter.cpu", {}, on_laptop)

    def test_a_zone_that_is_not_here(self, on_laptop: DeviceEnvironment) -> None:
        with pytest.raises(DeviceError, match=r"powercap zone psys \(here: package-0, core\)"):
            powercap.meter("meter.cpu", {"zone": "psys"}, on_laptop)

    def test_a_limit_brings_down_every_constraint_and_is_put_back(
        self, laptop: Host, on_laptop: DeviceEnvironment
    ) -> None:
        throttle = powercap.throttle("throttle.cpu", {"lowest_watts": 8}, on_laptop)
        assert get(throttle.read_ratio()).value == 1.0
        get(throttle.set_ratio(0.5))
        zone = "/sys/class/powercap/intel-rapl:0"
        assert text(laptop, f"{zone}/constraint_0_power_limit_uw") == "18000000"
        assert text(laptop, f"{zone}/constraint_1_power_limit_uw") == "18000000"
        assert get(throttle.read_ratio()).value == pytest.approx(0.5)
        get(throttle.close())
        assert text(laptop, f"{zone}/constraint_0_power_limit_uw") == "28000000"
        assert text(laptop, f"{zone}/constraint_1_power_limit_uw") == "60000000"


class TestCpufreq:
    CAP = "/sys/devices/system/cpu/cpufreq/policy{}/scaling_max_freq"

    def test_the_nearest_step_is_taken_on_every_policy(
        self, plant_tree: PlantTree, environment: DeviceEnvironment
    ) -> None:
        host = plant_tree("jetson-orin-nano")
        throttle = cpufreq.throttle("throttle.cpu", {}, replace(environment, attachments=attach(host)))
        get(throttle.set_ratio(0.5))
        assert [text(host, self.CAP.format(policy)) for policy in (0, 4)] == ["806400", "806400"]
        assert get(throttle.read_ratio()).value == pytest.approx((806400 - 115200) / (1510400 - 115200))
        get(throttle.set_ratio(0.0))
        assert text(host, self.CAP.format(4)) == "115200"
        get(throttle.close())
        assert text(host, self.CAP.format(4)) == "1510400"

    def test_without_steps_any_frequency_will_do(self, laptop: Host, on_laptop: DeviceEnvironment) -> None:
        throttle = cpufreq.throttle("throttle.cpu", {}, on_laptop)
        get(throttle.set_ratio(0.25))
        assert text(laptop, self.CAP.format(1)) == "1400000"

    def test_a_service_that_was_killed_leaves_what_it_found_to_the_next(
        self, laptop: Host, on_laptop: DeviceEnvironment, tmp_path: Path
    ) -> None:
        environment = replace(on_laptop, state_dir=tmp_path / "state")
        killed = cpufreq.throttle("throttle.cpu", {}, environment)
        get(killed.set_ratio(0.0))
        after = cpufreq.throttle("throttle.cpu", {}, environment)
        assert get(after.read_ratio()).value == 0.0
        get(after.close())
        assert text(laptop, self.CAP.format(0)) == "4400000"

    def test_what_was_found_before_a_restart_of_the_board_is_forgotten(
        self, laptop: Host, on_laptop: DeviceEnvironment, tmp_path: Path
    ) -> None:
        environment = replace(on_laptop, state_dir=tmp_path / "state")
        get(cpufreq.throttle("throttle.cpu", {}, environment).set_ratio(0.0))
        write(laptop, "/proc/sys/kernel/random/boot_id", "another")
        for policy in (0, 1):
            write(laptop, self.CAP.format(policy), 3_000_000)
        after = cpufreq.throttle("throttle.cpu", {}, environment)
        assert get(after.read_ratio()).value == 1.0
        get(after.close())
        assert text(laptop, self.CAP.format(0)) == "3000000"

    def test_who_only_looks_does_not_lift_the_cap_of_another(self, laptop: Host, on_laptop: DeviceEnvironment) -> None:
        flying = cpufreq.throttle("throttle.cpu", {}, on_laptop)
        looking = cpufreq.throttle("throttle.cpu", {}, on_laptop)
        get(flying.set_ratio(0.0))
        get(looking.close())
        assert text(laptop, self.CAP.format(0)) == "400000"

    def test_no_permission_is_told_when_it_is_turned(
        self, laptop: Host, on_laptop: DeviceEnvironment, deny: Callable[[Path], None]
    ) -> None:
        throttle = cpufreq.throttle("throttle.cpu", {}, on_laptop)
        deny(laptop.path(self.CAP.format(0)))
        with pytest.raises(DeviceError, match=r"throttle\.cpu: .*scaling_max_freq may not be used by"):
            get(throttle.set_ratio(0.5))
        get(throttle.close())

    def test_a_machine_without_frequency_scaling(self, environment: DeviceEnvironment) -> None:
        with pytest.raises(DeviceError, match="policy0 is absent; this is a virtual machine"):
            cpufreq.throttle("throttle.cpu", {}, environment)

    @pytest.mark.parametrize("ratio", [-0.1, 1.1, float("nan")])
    def test_no_ratio(self, ratio: float, on_laptop: DeviceEnvironment) -> None:
        with pytest.raises(DeviceError, match="must be 0 to 1"):
            get(cpufreq.throttle("throttle.cpu", {}, on_laptop).set_ratio(ratio))


class TestPowerSupply:
    BATTERY = "/sys/class/power_supply/BAT0"

    def test_a_laptop_discharges(self, on_laptop: DeviceEnvironment) -> None:
        battery = power_supply.battery("battery", {}, on_laptop)
        state = get(battery.read())
        assert state.good
        assert state.value.voltage_volts == pytest.approx(11.82)
        assert state.value.current_amperes == pytest.approx(-0.8)
        assert state.value.temperature_celsius == 25.0
        assert "25 °C is assumed" in battery.how

    def test_it_stands_for_a_satellite(self, on_laptop: DeviceEnvironment) -> None:
        battery = power_supply.battery("battery", {"scale": 1000, "voltage_scale": 10}, on_laptop)
        state = get(battery.read()).value
        assert state.voltage_volts == pytest.approx(118.2)
        assert state.voltage_volts * state.current_amperes == pytest.approx(-9456.0)

    def test_a_gauge_with_current_and_temperature(self, laptop: Host, on_laptop: DeviceEnvironment) -> None:
        laptop.path(f"{self.BATTERY}/power_now").rename(laptop.path(f"{self.BATTERY}/current_now"))
        write(laptop, f"{self.BATTERY}/current_now", 1_500_000)
        write(laptop, f"{self.BATTERY}/status", "Charging")
        write(laptop, f"{self.BATTERY}/temp", 312)
        state = get(power_supply.battery("battery", {}, on_laptop).read()).value
        found = (state.voltage_volts, state.current_amperes, state.temperature_celsius)
        assert found == pytest.approx((11.82, 1.5, 31.2))

    def test_a_battery_that_is_pulled_out_and_put_back(self, laptop: Host, on_laptop: DeviceEnvironment) -> None:
        battery = power_supply.battery("battery", {}, on_laptop)
        write(laptop, f"{self.BATTERY}/voltage_now", "")
        laptop.path(self.BATTERY).rename(laptop.path("/away"))
        gone = get(battery.read())
        assert gone.quality is Quality.ABSENT
        assert gone.value.voltage_volts == pytest.approx(11.82)
        laptop.path("/away").rename(laptop.path(self.BATTERY))
        write(laptop, f"{self.BATTERY}/voltage_now", 11_500_000)
        assert get(battery.read()).value.voltage_volts == pytest.approx(11.5)

    def test_a_battery_of_a_mouse_is_none(self, on_laptop: DeviceEnvironment) -> None:
        with pytest.raises(DeviceError, match=r"hidpp_battery_0 \(here: BAT0\) is absent"):
            power_supply.battery("battery", {"supply": "hidpp_battery_0"}, on_laptop)


class TestOneWire:
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            ("72 01 4b 46 7f ff 0e 10 57 : crc=33 NO\n72 01 4b 46 7f ff 0e 10 57 t=23125", "CRC is wrong"),
            ("50 05 4b 46 7f ff 0c 10 1c : crc=1c YES\n50 05 4b 46 7f ff 0c 10 1c t=85000", "restarted"),
            ("00 00 00 00 00 00 00 00 00 : crc=00 YES\n00 00 00 00 00 00 00 00 00 t=0", "shorted"),
            ("72 01 4b 46", "no temperature"),
        ],
    )
    def test_what_is_no_temperature(
        self, content: str, problem: str, plant_tree: PlantTree, environment: DeviceEnvironment
    ) -> None:
        host = plant_tree("raspberry-pi-4")
        device = one_wire.temperature("thermal.a", {}, replace(environment, attachments=attach(host)))
        write(host, "/sys/bus/w1/devices/28-0316a2790c42/w1_slave", content)
        reading = get(device.read())
        assert (reading.value, reading.quality) == (23.125, Quality.STALE)
        assert problem in reading.problem

    def test_a_true_85_degrees_is_believed(self) -> None:
        assert one_wire.celsius("50 05 4b 46 7f ff 10 10 1c : crc=1c YES\n50 05 4b 46 7f ff 10 10 1c t=85000") == 85.0

    def test_frost(self) -> None:
        assert one_wire.celsius("5e ff 4b 46 7f ff 02 10 c2 : crc=c2 YES\n5e ff 4b 46 7f ff 02 10 c2 t=-10125") < -10.0
