"""``nvidia.meter``, ``nvidia.temperature``, ``nvidia.power_limit``: NVIDIA GPUs through NVML (nvidia-ml-py).

For GPUs on PCIe. On a Jetson NVML answers "Not Supported" to all of this: use ``jetson.rail``, ``linux.thermal_zone``
and ``jetson.power_mode`` there. Anybody may read; a power limit needs root. Calls may take milliseconds, so NVML has a
thread of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flight.hal import DeviceEnvironment, DeviceError
from hil.devices.gauge import GAUGE_SETTINGS, Gauge
from hil.devices.options import Options
from hil.devices.throttle import Keepsake, KnobThrottle, between, sentences

BUS = "nvml"
WATTS_SPAN = (0.0, 2000.0)
CELSIUS_SPAN = (-20.0, 120.0)

# Members of nvmlReturn_t (nvml.h) by the attribute of pynvml that holds each.
_SENTENCES = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": "the NVIDIA driver is absent; install it, and look whether nvidia-smi works",
    "NVML_ERROR_DRIVER_NOT_LOADED": "the NVIDIA driver is not loaded; look whether nvidia-smi works",
    "NVML_ERROR_NO_PERMISSION": "only root may do that; run the executive as root, or set it by nvidia-smi -pl at boot",
    "NVML_ERROR_NOT_SUPPORTED": "this GPU does not tell; on a Jetson use jetson.rail or jetson.power_mode",
    "NVML_ERROR_NOT_FOUND": "there is no such GPU; nvidia-smi -L lists them",
    "NVML_ERROR_INVALID_ARGUMENT": "there is no such GPU, or no such limit; nvidia-smi -L lists the GPUs",
    "NVML_ERROR_GPU_IS_LOST": "the GPU fell off the bus; reset it or restart the machine",
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": "driver and library have different versions; restart the machine",
}
# The GPU is there, and did not answer this once.
_PASSING = ("NVML_ERROR_TIMEOUT", "NVML_ERROR_IN_USE", "NVML_ERROR_NOT_READY", "NVML_ERROR_UNKNOWN")


class Gpu:
    """A GPU, by index or UUID; found again after it was lost."""

    def __init__(self, which: str) -> None:
        self._which = which
        self._handle: Any = None

    def ask(self, call: str, *arguments: object) -> Any:
        """Call a function of pynvml with the GPU's handle.

        Raises:
            DeviceError: the GPU or its driver is not there, or does not allow it.
            ValueError: a passing fault.
        """
        try:
            import pynvml
        except ImportError as error:
            raise DeviceError("nvidia-ml-py is not installed; install skyrack[boards]") from error
        try:
            if self._handle is None:
                # Counted by NVML: once for every GPU that is open.
                pynvml.nvmlInit()
                self._handle = self._find(pynvml)
            return getattr(pynvml, call)(self._handle, *arguments)
        except pynvml.NVMLError as error:
            raise self._explained(pynvml, error) from error

    def close(self) -> None:
        """Let go of NVML."""
        if self._handle is not None:
            self._handle = None
            import pynvml

            pynvml.nvmlShutdown()

    def _find(self, pynvml: Any) -> Any:
        if self._which.isdigit():
            return pynvml.nvmlDeviceGetHandleByIndex(int(self._which))
        return pynvml.nvmlDeviceGetHandleByUUID(self._which)

    def _explained(self, pynvml: Any, error: Exception) -> DeviceError | ValueError:
        value = getattr(error, "value", None)
        for name in _PASSING:
            if value == getattr(pynvml, name, object()):
                return ValueError(f"NVML: {error}")
        if value not in (pynvml.NVML_ERROR_NO_PERMISSION, pynvml.NVML_ERROR_NOT_SUPPORTED):
            self._handle = None
        for name, sentence in _SENTENCES.items():
            if value == getattr(pynvml, name, object()):
                return DeviceError(f"GPU {self._which}: {sentence}")
        return DeviceError(f"GPU {self._which}: NVML says {error}")


class _Query:
    """A number of a GPU, as a gauge samples it."""

    def __init__(self, gpu: Gpu, measure: Callable[[Gpu], float]) -> None:
        self._gpu = gpu
        self._measure = measure

    def __call__(self) -> float:
        return self._measure(self._gpu)

    def close(self) -> None:
        """Let go of the GPU."""
        self._gpu.close()


def watts(gpu: Gpu) -> float:
    """Power of the whole card, W (nvmlDeviceGetPowerUsage gives milliwatts). Raises as :meth:`Gpu.ask`."""
    return float(gpu.ask("nvmlDeviceGetPowerUsage")) / 1000.0


def celsius(gpu: Gpu) -> float:
    """Temperature of the die, degrees Celsius. Raises as :meth:`Gpu.ask`."""
    return float(gpu.ask("nvmlDeviceGetTemperature", 0))


def _gpu(options: Options) -> Gpu:
    return Gpu(options.text("gpu", "0"))


def meter(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``nvidia.meter``. Settings: gpu (index or UUID, as text; default "0"), a gauge's."""
    gpu = _gpu(Options(name, settings, ("gpu", *GAUGE_SETTINGS)))
    return Gauge(name, _Query(gpu, watts), settings, environment, "W", WATTS_SPAN, bus=BUS, how="NVML")


def temperature(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> Gauge:
    """Entry point ``nvidia.temperature``. Settings: gpu, a gauge's."""
    gpu = _gpu(Options(name, settings, ("gpu", *GAUGE_SETTINGS)))
    return Gauge(name, _Query(gpu, celsius), settings, environment, "°C", CELSIUS_SPAN, bus=BUS, how="NVML")


class PowerLimit:
    """The knob: ratio 0 is the least limit that the card takes, 1 the limit that was found; milliwatts."""

    def __init__(self, gpu: Gpu, name: str, environment: DeviceEnvironment) -> None:
        self._gpu = gpu
        lowest, highest = gpu.ask("nvmlDeviceGetPowerManagementLimitConstraints")
        found = str(gpu.ask("nvmlDeviceGetPowerManagementLimit"))
        self._keepsake = Keepsake(name, environment, {"limit": found})
        self.lowest = int(lowest)
        self.top = min(int(self._keepsake.found["limit"]), int(highest))

    def get(self) -> float:
        """Limit in force."""
        return between(self.lowest, self.top, float(self._gpu.ask("nvmlDeviceGetPowerManagementLimit")))

    def turn(self, ratio: float) -> None:
        """Limit the power."""
        self._keepsake.keep()
        self._set(round(self.lowest + ratio * (self.top - self.lowest)))

    def put_back(self) -> None:
        """The limit that was found."""
        try:
            if self._keepsake.changed:
                self._set(int(self._keepsake.found["limit"]))
                self._keepsake.let_go()
        finally:
            self._gpu.close()

    def _set(self, milliwatts: int) -> None:
        self._gpu.ask("nvmlDeviceSetPowerManagementLimit", milliwatts)


def throttle(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> KnobThrottle:
    """Entry point ``nvidia.power_limit``. Setting: gpu."""
    gpu = _gpu(Options(name, settings, ("gpu",)))
    with sentences(name):
        knob = PowerLimit(gpu, name, environment)
    how = f"power limit of GPU, {knob.lowest / 1000:g} to {knob.top / 1000:g} W"
    return KnobThrottle(name, knob, environment, how, bus=BUS)
