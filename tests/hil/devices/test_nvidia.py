from __future__ import annotations

import asyncio
import sys
import types
from dataclasses import dataclass, field

import pynvml as real
import pytest

from flight.hal import DeviceEnvironment, DeviceError, Quality
from hil.devices import nvidia

UUID = "GPU-8a56d4a5-6c3f-7a0e-1d0b-0a6b7c8d9e0f"


@dataclass
class Card:
    """What NVML tells of one card; ``fails`` is the error of every call."""

    milliwatts: int = 61_500
    celsius: int = 44
    limit: int = 250_000
    constraints: tuple[int, int] = (100_000, 300_000)
    fails: int = 0
    refuses: int = 0
    calls: list[str] = field(default_factory=list)


class FakeNvml(types.ModuleType):
    """The functions of pynvml that the drivers use, and its real errors."""

    def __init__(self, card: Card) -> None:
        super().__init__("pynvml")
        self.card = card
        for name in dir(real):
            if name.startswith(("NVML_ERROR", "NVMLError")):
                setattr(self, name, getattr(real, name))
        for method in dir(type(self)):
            # nvmlDeviceGetPowerUsage is device_get_power_usage below.
            if not method.startswith("_"):
                name = "".join(word.capitalize() for word in method.split("_")).replace("Uuid", "UUID")
                setattr(self, f"nvml{name}", getattr(self, method))

    def _called(self, name: str) -> None:
        self.card.calls.append(name)
        if self.card.fails:
            raise real.NVMLError(self.card.fails)

    def init(self) -> None:
        self._called("init")

    def shutdown(self) -> None:
        self.card.calls.append("shutdown")

    def device_get_handle_by_index(self, index: int) -> str:
        self._called("handle")
        if index != 0:
            raise real.NVMLError(real.NVML_ERROR_INVALID_ARGUMENT)
        return "card"

    def device_get_handle_by_uuid(self, uuid: str) -> str:
        self._called("handle")
        if uuid != UUID:
            raise real.NVMLError(real.NVML_ERROR_NOT_FOUND)
        return "card"

    def device_get_power_usage(self, handle: str) -> int:
        self._called(handle)
        return self.card.milliwatts

    def device_get_temperature(self, handle: str, sensor: int) -> int:
        self._called(handle)
        assert sensor == real.NVML_TEMPERATURE_GPU
        return self.card.celsius

    def device_get_power_management_limit_constraints(self, handle: str) -> list[int]:
        self._called(handle)
        return list(self.card.constraints)

    def device_get_power_management_limit(self, handle: str) -> int:
        self._called(handle)
        return self.card.limit

    def device_set_power_management_limit(self, handle: str, limit: int) -> None:
        self._called(handle)
        if self.card.refuses:
            raise real.NVMLError(self.card.refuses)
        self.card.limit = limit


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    card = Card()
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml(card))
    return card


def test_watts_degrees_and_load(card: Card, environment: DeviceEnvironment) -> None:
    assert asyncio.run(nvidia.meter("meter.gpu", {"scale": 10}, environment).read()).value == pytest.approx(615.0)
    assert asyncio.run(nvidia.temperature("thermal.gpu", {"gpu": UUID}, environment).read()).value == 44.0
    assert "init" in card.calls


def test_a_card_that_falls_off_the_bus_and_is_reset(card: Card, environment: DeviceEnvironment) -> None:
    meter = nvidia.meter("meter.gpu", {}, environment)
    card.fails = real.NVML_ERROR_GPU_IS_LOST
    gone = asyncio.run(meter.read())
    assert (gone.value, gone.quality) == (61.5, Quality.ABSENT)
    assert "fell off the bus" in gone.problem
    card.fails = 0
    card.calls.clear()
    assert asyncio.run(meter.read()).good
    assert card.calls[:2] == ["init", "handle"]


def test_a_passing_fault_is_stale_and_keeps_the_handle(card: Card, environment: DeviceEnvironment) -> None:
    meter = nvidia.meter("meter.gpu", {}, environment)
    card.fails = real.NVML_ERROR_TIMEOUT
    assert asyncio.run(meter.read()).quality is Quality.STALE
    card.fails = 0
    card.calls.clear()
    assert asyncio.run(meter.read()).good
    assert "init" not in card.calls


def test_absurd_watts(card: Card, environment: DeviceEnvironment) -> None:
    meter = nvidia.meter("meter.gpu", {}, environment)
    card.milliwatts = 2**31
    assert "absurd" in asyncio.run(meter.read()).problem


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (real.NVML_ERROR_LIBRARY_NOT_FOUND, "the NVIDIA driver is absent; install it"),
        (real.NVML_ERROR_DRIVER_NOT_LOADED, "driver is not loaded"),
        (real.NVML_ERROR_NOT_SUPPORTED, "on a Jetson use jetson.rail"),
        (real.NVML_ERROR_LIB_RM_VERSION_MISMATCH, "different versions"),
        (real.NVML_ERROR_UNKNOWN, "NVML: "),
    ],
)
def test_what_keeps_a_card_from_being_read(
    error: int, sentence: str, card: Card, environment: DeviceEnvironment
) -> None:
    card.fails = error
    with pytest.raises(DeviceError, match=sentence):
        nvidia.meter("meter.gpu", {}, environment)


def test_a_card_that_is_not_there(card: Card, environment: DeviceEnvironment) -> None:
    assert card.limit
    for which in ("3", "GPU-0"):
        with pytest.raises(DeviceError, match="there is no such GPU"):
            nvidia.meter("meter.gpu", {"gpu": which}, environment)


def test_here_is_no_driver(environment: DeviceEnvironment) -> None:
    try:
        real.nvmlInit()
    except real.NVMLError:
        with pytest.raises(DeviceError, match=r"meter\.gpu: GPU 0: .*nvidia-smi works"):
            nvidia.meter("meter.gpu", {}, environment)
    else:
        pytest.skip("there is one")


def test_the_limit_goes_between_what_the_card_takes_and_what_was_found(
    card: Card, environment: DeviceEnvironment
) -> None:
    throttle = nvidia.throttle("throttle.gpu", {}, environment)
    assert throttle.how == "power limit of GPU, 100 to 250 W"
    asyncio.run(throttle.set_ratio(0.5))
    assert card.limit == 175_000
    assert asyncio.run(throttle.read_ratio()).value == pytest.approx(0.5)
    asyncio.run(throttle.close())
    assert card.limit == 250_000
    assert card.calls[-1] == "shutdown"


def test_only_root_may_limit(card: Card, environment: DeviceEnvironment) -> None:
    throttle = nvidia.throttle("throttle.gpu", {}, environment)
    card.refuses = real.NVML_ERROR_NO_PERMISSION
    with pytest.raises(DeviceError, match=r"throttle\.gpu: GPU 0: only root may do that"):
        asyncio.run(throttle.set_ratio(0.5))
    # Reading goes on.
    assert asyncio.run(throttle.read_ratio()).value == 1.0
    asyncio.run(throttle.close())
