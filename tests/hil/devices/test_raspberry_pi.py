from __future__ import annotations

import asyncio
import errno
import fcntl
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from flight.hal import BoardState, DeviceEnvironment, DeviceError, Quality
from hil.devices.host import Host, attach
from hil.devices.raspberry_pi import firmware, pmic

PlantTree = Callable[[str], Host]

# Captured on a Raspberry Pi 5 Model B Rev 1.0 with four busy cores; ml-energy/zeus, tests of zeus.device.machine.rpi.
PMIC = """ 3V7_WL_SW_A current(0)=0.09368929A
   3V3_SYS_A current(1)=0.08783370A
   1V8_SYS_A current(2)=0.18054710A
  DDR_VDD2_A current(3)=0.22543980A
  DDR_VDDQ_A current(4)=0.06666720A
   1V1_SYS_A current(5)=0.17566740A
    0V8_SW_A current(6)=0.37670900A
  VDD_CORE_A current(7)=6.22421000A
   3V3_DAC_A current(17)=0.00006105A
   3V3_ADC_A current(18)=0.00036630A
   0V8_AON_A current(16)=0.00305250A
      HDMI_A current(22)=0.02417580A
 3V7_WL_SW_V volt(8)=3.69977600V
   3V3_SYS_V volt(9)=3.31003300V
   1V8_SYS_V volt(10)=1.80512600V
  DDR_VDD2_V volt(11)=1.10476100V
  DDR_VDDQ_V volt(12)=0.60146460V
   1V1_SYS_V volt(13)=1.11025500V
    0V8_SW_V volt(14)=0.80146440V
  VDD_CORE_V volt(15)=0.86173300V
   3V3_DAC_V volt(20)=3.31318300V
   3V3_ADC_V volt(21)=3.30677300V
   0V8_AON_V volt(19)=0.80029220V
      HDMI_V volt(23)=5.08664000V
     EXT5V_V volt(24)=5.09066000V
      BATT_V volt(25)=0.00000000V
"""
# Twelve products, summed by hand.
PMIC_WATTS = 7.2398


@dataclass
class Firmware:
    """The far side of the mailbox, as raspberrypi/utils vcgencmd.c and the kernel's vcio.c speak to it."""

    throttled: int = 0
    answer: str = PMIC
    fails: int = 0

    def ioctl(self, descriptor: int, request: int, buffer: bytearray, mutate: bool) -> int:
        del descriptor
        assert mutate
        assert request == 0xC008_6400
        size, status, tag, room, _ = struct.unpack_from("=5I", buffer)
        assert (size, status) == (len(buffer), 0)
        assert len(buffer) == 24 + room
        assert buffer[-4:] == bytes(4)
        if self.fails:
            raise OSError(self.fails, "failed")
        assert tag == 0x0003_0080
        answers = {b"pmic_read_adc": self.answer, b"get_throttled": f"throttled=0x{self.throttled:x}"}
        said = answers[bytes(buffer[24:]).split(b"\0")[0]].encode()
        buffer[24 : 24 + len(said) + 1] = said + b"\0"
        struct.pack_into("=I", buffer, 4, 0x8000_0000)
        return 0


@pytest.fixture
def videocore(monkeypatch: pytest.MonkeyPatch) -> Firmware:
    far = Firmware()
    monkeypatch.setattr(fcntl, "ioctl", far.ioctl)
    return far


@pytest.fixture
def pi(plant_tree: PlantTree) -> Host:
    return plant_tree("raspberry-pi-5")


@pytest.fixture
def on_pi(pi: Host, environment: DeviceEnvironment) -> DeviceEnvironment:
    return replace(environment, attachments=attach(pi))


def test_the_bits_of_the_firmware() -> None:
    assert firmware.board_state(0) == BoardState()
    # What `vcgencmd get_throttled` says after a dip of the supply: under-voltage and throttled, now and since boot.
    assert firmware.board_state(0x50005) == BoardState(
        under_voltage=True, throttled=True, was_under_voltage=True, was_throttled=True
    )
    assert firmware.board_state(0x20002) == BoardState(frequency_capped=True, was_frequency_capped=True)
    # The soft temperature limit of the Pi 3B+ caps the frequency.
    assert firmware.board_state(0x80008) == BoardState(frequency_capped=True, was_frequency_capped=True)


def test_the_firmware_is_asked_itself(videocore: Firmware, on_pi: DeviceEnvironment) -> None:
    monitor = firmware.monitor("board", {}, on_pi)
    assert monitor.how == "the firmware's get_throttled"
    videocore.throttled = 0x50005
    reading = asyncio.run(monitor.read())
    assert reading.good
    assert reading.value == BoardState(under_voltage=True, throttled=True, was_under_voltage=True, was_throttled=True)


def test_the_device_for_commands_alone_will_do(
    videocore: Firmware, pi: Host, on_pi: DeviceEnvironment, deny: Callable[[Path], None]
) -> None:
    deny(pi.path("/dev/vcio"))
    pi.path("/dev/vcio_gencmd").touch()
    videocore.throttled = 0x20002
    assert asyncio.run(firmware.monitor("board", {}, on_pi).read()).value.frequency_capped


def test_a_firmware_that_does_not_answer_is_stale(videocore: Firmware, on_pi: DeviceEnvironment) -> None:
    monitor = firmware.monitor("board", {}, on_pi)
    videocore.fails = errno.ETIMEDOUT
    reading = asyncio.run(monitor.read())
    assert (reading.value, reading.quality) == (BoardState(), Quality.STALE)
    videocore.fails = 0
    assert asyncio.run(monitor.read()).good


def test_without_permission_the_kernel_is_asked(
    plant_tree: PlantTree, environment: DeviceEnvironment, deny: Callable[[Path], None]
) -> None:
    host = plant_tree("raspberry-pi-4")
    environment = replace(environment, attachments=attach(host))
    deny(host.path("/dev/vcio"))
    monitor = firmware.monitor("board", {}, environment)
    assert monitor.how == "get_throttled of the kernel"
    file = host.path("/sys/devices/platform/soc/soc:firmware/get_throttled")
    file.write_text("50005\n")
    assert asyncio.run(monitor.read()).value.throttled
    file.write_text("perhaps\n")
    assert asyncio.run(monitor.read()).quality is Quality.STALE
    file.unlink()
    assert asyncio.run(monitor.read()).quality is Quality.ABSENT


def test_a_mainline_kernel_knows_under_voltage_only(pi: Host, on_pi: DeviceEnvironment) -> None:
    pi.path("/dev/vcio").unlink()
    monitor = firmware.monitor("board", {}, on_pi)
    assert monitor.how == "hwmon rpi_volt, under-voltage only"
    pi.path("/sys/class/hwmon/hwmon3/in0_lcrit_alarm").write_text("1\n")
    assert asyncio.run(monitor.read()).value == BoardState(under_voltage=True)


def test_what_is_no_raspberry_pi_says_so_and_who_gives_permission(
    environment: DeviceEnvironment, pi: Host, on_pi: DeviceEnvironment, deny: Callable[[Path], None]
) -> None:
    pi.path("/sys/class/hwmon/hwmon3").rename(pi.path("/gone"))
    deny(pi.path("/dev/vcio"))
    with pytest.raises(DeviceError, match="group video"):
        firmware.monitor("board", {}, on_pi)
    pi.path("/dev/vcio").unlink()
    with pytest.raises(DeviceError, match="this is no Raspberry Pi"):
        firmware.monitor("board", {}, environment)


def test_watts_are_the_sum_of_the_rails(videocore: Firmware, on_pi: DeviceEnvironment) -> None:
    meter = pmic.meter("meter.board", {"scale": 1000}, on_pi)
    assert asyncio.run(meter.read()).value == pytest.approx(PMIC_WATTS * 1000, rel=1e-3)
    assert "bypasses" in meter.how
    core = pmic.meter("meter.core", {"rail": "VDD_CORE"}, on_pi)
    assert asyncio.run(core.read()).value == pytest.approx(6.22421 * 0.861733)
    videocore.fails = errno.EINVAL
    assert asyncio.run(meter.read()).quality is Quality.STALE


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ('error=1 error_msg="Command not registered"', "refuses the command pmic_read_adc"),
        ("VDD_CORE_A current(7)=6.2A\n", "has no rails; is this a Raspberry Pi 5"),
        ("", "has no rails"),
    ],
)
def test_a_board_without_a_power_chip(answer: str, problem: str, videocore: Firmware, on_pi: DeviceEnvironment) -> None:
    videocore.answer = answer
    with pytest.raises(DeviceError, match=problem):
        pmic.meter("meter.board", {}, on_pi)


def test_a_rail_that_is_not_there(videocore: Firmware, on_pi: DeviceEnvironment) -> None:
    assert videocore.answer
    with pytest.raises(DeviceError, match=r"there is no rail VDD_GPU .*VDD_CORE"):
        pmic.meter("meter.board", {"rail": "VDD_GPU"}, on_pi)


def test_the_program_is_asked_where_the_mailbox_is_closed(
    pi: Host, on_pi: DeviceEnvironment, deny: Callable[[Path], None]
) -> None:
    deny(pi.path("/dev/vcio"))
    with pytest.raises(DeviceError, match="group video"):
        pmic.meter("meter.board", {}, on_pi)
    program = pi.path("/usr/bin/vcgencmd")
    program.parent.mkdir(parents=True)
    program.write_text(f'#!/bin/sh\n[ "$1" = pmic_read_adc ] && cat <<END\n{PMIC}END\n')
    program.chmod(0o755)
    meter = pmic.meter("meter.board", {}, on_pi)
    assert asyncio.run(meter.read()).value == pytest.approx(PMIC_WATTS, rel=1e-3)
