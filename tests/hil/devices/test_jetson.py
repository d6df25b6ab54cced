from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest

from flight.hal import DeviceEnvironment, DeviceError, Quality
from hil.devices.host import Host, attach
from hil.devices.jetson import devfreq, nvpmodel, rails
from hil.devices.throttle import KnobThrottle

PlantTree = Callable[[str], Host]
STATUS = "/var/lib/nvpmodel/status"

# Does what nvpmodel does: sets a mode, wants a reboot for one (what it then says was copied from boards that people
# wrote of), refuses whoever is not root (its words for that are made up).
NVPMODEL = """#!/bin/sh
[ -e {root}/not-root ] && {{ echo 'NVPM ERROR: only root may do that'; exit 1; }}
case $2 in
0) printf 'pmode:0000 fmode:quiet' > {status} ;;
3) echo 'NVPM WARN: Golden image context is already created'
   echo 'NVPM WARN: Reboot required for changing to this power mode: 3'
   echo 'NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:'; read answer
   echo 'NVPM ERROR: bad input!'; echo 'NVPM ERROR: optMask is 1, no request for power mode' ;;
*) printf 'pmode:%04d fmode:quiet' $2 > {status} ;;
esac
"""


@pytest.fixture
def orin(plant_tree: PlantTree) -> Host:
    host = plant_tree("jetson-orin-nano")
    program = host.path("/usr/sbin/nvpmodel")
    program.parent.mkdir(parents=True)
    program.write_text(NVPMODEL.format(root=host.root, status=host.path(STATUS)))
    program.chmod(0o755)
    return host


@pytest.fixture
def on_orin(orin: Host, environment: DeviceEnvironment) -> DeviceEnvironment:
    return replace(environment, attachments=attach(orin))


def ratio(throttle: KnobThrottle) -> float:
    reading = asyncio.run(throttle.read_ratio())
    assert reading.good
    return reading.value


def test_the_input_of_the_module_is_the_total(on_orin: DeviceEnvironment) -> None:
    meter = rails.meter("meter.board", {}, on_orin)
    assert meter.how == "INA3221 VDD_IN"
    assert asyncio.run(meter.read()).value == pytest.approx(5.016 * 1.064)


def test_where_no_rail_is_the_input_the_total_is_their_sum(orin: Host, on_orin: DeviceEnvironment) -> None:
    orin.path("/sys/class/hwmon/hwmon1/in1_label").write_text("NC\n")
    meter = rails.meter("meter.board", {}, on_orin)
    assert meter.how == "INA3221 VDD_CPU_GPU_CV + VDD_SOC"
    assert asyncio.run(meter.read()).value == pytest.approx(5.008 * (0.176 + 0.296))


def test_a_rail_that_is_not_there(on_orin: DeviceEnvironment) -> None:
    with pytest.raises(DeviceError, match=r"rail VDDRQ .* \(here: VDD_IN, VDD_CPU_GPU_CV, VDD_SOC\)"):
        rails.meter("meter.board", {"rail": "VDDRQ"}, on_orin)


def test_the_monitor_is_bound_anew_under_another_number(orin: Host, on_orin: DeviceEnvironment) -> None:
    meter = rails.meter("meter.board", {"rail": "VDD_SOC"}, on_orin)
    old = orin.path("/sys/class/hwmon/hwmon1")
    for file in ("in3_input", "curr3_input"):
        content = (old / file).read_text()
        (old / file).write_text("")
        (old / file).unlink()
        (old / file).write_text(content)
    old.rename(old.with_name("hwmon6"))
    assert asyncio.run(meter.read()).value == pytest.approx(5.008 * 0.296)


def test_xavier_by_the_driver_of_jetpack_4(plant_tree: PlantTree, environment: DeviceEnvironment) -> None:
    environment = replace(environment, attachments=attach(plant_tree("jetson-xavier-nx")))
    meter = rails.meter("meter.gpu", {"rail": "VDD_CPU_GPU_CV"}, environment)
    assert asyncio.run(meter.read()).value == pytest.approx(0.531)


def test_the_gpu_is_capped_and_given_back(orin: Host, on_orin: DeviceEnvironment) -> None:
    throttle = devfreq.throttle("throttle.gpu", {}, on_orin)
    assert throttle.how == "GPU 17000000.gpu, 306 to 625 MHz"
    cap, floor = (orin.path(f"/sys/class/devfreq/17000000.gpu/{key}_freq") for key in ("max", "min"))
    asyncio.run(throttle.set_ratio(0.4))
    assert cap.read_text() == "408000000"
    assert ratio(throttle) == pytest.approx((408 - 306) / (624.75 - 306))
    floor.write_text("510000000\n")
    asyncio.run(throttle.set_ratio(0.0))
    assert (cap.read_text(), floor.read_text()) == ("306000000", "306000000")
    asyncio.run(throttle.close())
    assert (cap.read_text(), floor.read_text()) == ("624750000", "306000000")


def test_xavier_has_another_gpu(plant_tree: PlantTree, environment: DeviceEnvironment) -> None:
    environment = replace(environment, attachments=attach(plant_tree("jetson-xavier-nx")))
    assert devfreq.throttle("throttle.gpu", {}, environment).how == "GPU 17000000.gv11b, 115 to 1109 MHz"


def test_no_gpu(environment: DeviceEnvironment) -> None:
    with pytest.raises(DeviceError, match=r"GPU of a Jetson in devfreq \(here: none\) is absent"):
        devfreq.throttle("throttle.gpu", {}, environment)


@pytest.mark.parametrize(
    ("board", "names"),
    [
        ("jetson-orin-nano", ["7W", "15W", "25W", "MAXN_SUPER"]),
        ("jetson-xavier-nx", ["MODE_10W_2CORE", "MODE_15W_2CORE", "MODE_15W_4CORE", "MODE_20W_6CORE"]),
    ],
)
def test_power_modes_are_in_the_order_of_their_budgets(board: str, names: list[str], plant_tree: PlantTree) -> None:
    listed = plant_tree(board).path(nvpmodel.CONFIGURATION).read_text()
    assert [mode.name for mode in nvpmodel.modes(listed)] == names


def test_a_mode_is_set_by_ratio_and_put_back(orin: Host, on_orin: DeviceEnvironment) -> None:
    throttle = nvpmodel.throttle("throttle.board", {"modes": "15W, MAXN_SUPER"}, on_orin)
    assert ratio(throttle) == 0.0
    asyncio.run(throttle.set_ratio(0.8))
    assert orin.path(STATUS).read_text() == "pmode:0002 fmode:quiet"
    assert ratio(throttle) == 1.0
    asyncio.run(throttle.close())
    assert orin.path(STATUS).read_text() == "pmode:0000 fmode:quiet"


def test_a_mode_that_needs_a_reboot_changes_nothing(orin: Host, on_orin: DeviceEnvironment) -> None:
    throttle = nvpmodel.throttle("throttle.board", {}, on_orin)
    assert ratio(throttle) == pytest.approx(1 / 3)
    with pytest.raises(DeviceError, match='7W needs a reboot; leave it out by the setting "modes"'):
        asyncio.run(throttle.set_ratio(0.0))
    assert ratio(throttle) == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("change", "settings", "problem"),
    [
        ({"etc/nvpmodel.conf": ""}, {}, "lists no POWER_MODEL"),
        ({"var/lib/nvpmodel/status": "?"}, {}, "no power mode"),
        ({}, {"modes": "15W,30W"}, "no power mode '30W'; known are 7W, 15W, 25W, MAXN_SUPER"),
        ({}, {"mode": "15W"}, "did you mean"),
    ],
)
def test_what_does_not_fit(
    change: Mapping[str, str], settings: dict[str, object], problem: str, orin: Host, on_orin: DeviceEnvironment
) -> None:
    for file, content in change.items():
        (orin.root / file).write_text(content)
    with pytest.raises(DeviceError, match=problem):
        nvpmodel.throttle("throttle.board", settings, on_orin)


def test_only_root_may_set_a_mode(orin: Host, on_orin: DeviceEnvironment) -> None:
    throttle = nvpmodel.throttle("throttle.board", {}, on_orin)
    (orin.root / "not-root").touch()
    with pytest.raises(DeviceError, match="only root may set it"):
        asyncio.run(throttle.set_ratio(1.0))


def test_a_mode_that_somebody_else_set_and_that_was_left_out(orin: Host, on_orin: DeviceEnvironment) -> None:
    throttle = nvpmodel.throttle("throttle.board", {"modes": "15W,MAXN_SUPER"}, on_orin)
    orin.path(STATUS).write_text("pmode:0001 fmode:quiet")
    reading = asyncio.run(throttle.read_ratio())
    assert reading.quality is Quality.STALE
    assert "power mode 1 is none of 15W, MAXN_SUPER" in reading.problem
