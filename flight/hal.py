"""What flight software may ask of hardware: one protocol per kind of device, and how a device is found.

Flight code knows these protocols and nothing else. Drivers are looked up by name in the entry-point group
``skyrack.devices``; each entry is a factory ``(name, settings, environment) -> device``.

Every read is asynchronous and returns a :class:`Reading`. A driver that cannot read raises nothing for a passing
fault: it returns its last value with quality ``STALE`` or ``ABSENT``, so that control goes on with eyes open.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from pathlib import Path

    from skyrack.clock import Clock
    from skyrack.satellite import SatelliteFile

T = TypeVar("T")

Vector = tuple[float, float, float]


class Quality(enum.Enum):
    """How far a reading may be trusted."""

    GOOD = "good"
    STALE = "stale"
    ABSENT = "absent"


class Reading(NamedTuple, Generic[T]):
    """A value, when it was true (mission time) and how far to trust it; ``problem`` says why not, with the remedy."""

    value: T
    mission_time_seconds: float
    quality: Quality = Quality.GOOD
    problem: str = ""

    @property
    def good(self) -> bool:
        """Whether control may act on the value."""
        return self.quality is Quality.GOOD


@dataclass(frozen=True, slots=True)
class BatteryState:
    """Terminal voltage (V), current (A, charging positive) and cell temperature (degrees Celsius)."""

    voltage_volts: float
    current_amperes: float
    temperature_celsius: float


@dataclass(frozen=True, slots=True)
class OrbitFix:
    """Position (m) and velocity (m/s), TEME of date; when that was by the receiver's own time, where it tells it.

    ``time_seconds`` is UTC in seconds since the Unix epoch, of mission time; the reading that carries a fix has the
    time of this board's clock, which may be wrong.
    """

    position_meters: Vector
    velocity_meters_per_second: Vector
    time_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class LaserReading:
    """What a laser terminal reports of itself.

    Angles are in the terminal's frame: azimuth and elevation of the line of sight, satellite orbital frame (x along
    the velocity, z to the Earth's centre, y completes it), radians. Azimuth turns from x towards y; elevation is
    positive away from the Earth (towards -z). ``tracking_error_radians`` is the quadrant detector's offset, partner
    minus line of sight, as (azimuth * cos(elevation), elevation); it means something only when
    ``received_power_watts`` is over the detector's threshold.
    """

    azimuth_radians: float
    elevation_radians: float
    received_power_watts: float
    tracking_error_radians: tuple[float, float]
    slewing: bool


@runtime_checkable
class Battery(Protocol):
    """Battery monitor."""

    async def read(self) -> Reading[BatteryState]:
        """Measure the battery."""
        ...


class SolarArray(Protocol):
    """Power taken from the solar array."""

    async def read(self) -> Reading[float]:
        """Measure, W."""
        ...


class PowerMeter(Protocol):
    """What a supply rail delivers. Devices refer to it by name; services meet it behind a load switch."""

    async def read(self) -> Reading[float]:
        """Measure, W."""
        ...


class Throttle(Protocol):
    """Slows a computer down: frequency caps, power modes, a power limit; 1 lets it run freely, 0 is its slowest."""

    async def read_ratio(self) -> Reading[float]:
        """Limit that is in force."""
        ...

    async def set_ratio(self, ratio: float) -> None:
        """Command a limit; the nearest step that the hardware has is taken.

        Raises:
            DeviceError: it cannot be set here; the sentence says which permission or part is missing.
        """
        ...

    async def close(self) -> None:
        """Give the computer back as it was found."""
        ...


@dataclass(frozen=True, slots=True)
class BoardState:
    """What a board says of its own supply and clocks: now, and (``was_``) at some time since it booted."""

    under_voltage: bool = False
    frequency_capped: bool = False
    throttled: bool = False
    was_under_voltage: bool = False
    was_frequency_capped: bool = False
    was_throttled: bool = False


class BoardMonitor(Protocol):
    """A board's own protection: it slows down by itself when its supply sags or it is too hot."""

    async def read(self) -> Reading[BoardState]:
        """Ask the firmware."""
        ...


class LoadSwitch(Protocol):
    """A switch with a power meter behind it."""

    async def read_watts(self) -> Reading[float]:
        """Measure what flows through the switch, W."""
        ...

    async def is_closed(self) -> Reading[bool]:
        """Whether the load is powered."""
        ...

    async def set_closed(self, closed: bool) -> None:
        """Power the load, or cut it. Raises DeviceError when the switch is gone."""
        ...


class TemperatureSensor(Protocol):
    """Thermometer."""

    async def read(self) -> Reading[float]:
        """Measure, degrees Celsius."""
        ...


class Pump(Protocol):
    """Coolant pump; duty 0 to 1."""

    async def read_duty(self) -> Reading[float]:
        """Duty that the pump really runs at."""
        ...

    async def set_duty(self, duty_ratio: float) -> None:
        """Command a duty. Raises DeviceError when the pump is gone."""
        ...


class Heater(Protocol):
    """Heater with an on-off switch; ``watts`` is its rating."""

    watts: float

    async def is_on(self) -> Reading[bool]:
        """Whether the heater is powered."""
        ...

    async def set_on(self, on: bool) -> None:
        """Power the heater, or cut it. Raises DeviceError when the heater is gone."""
        ...


class GnssReceiver(Protocol):
    """Position and velocity."""

    async def read(self) -> Reading[OrbitFix]:
        """Measure the orbit."""
        ...


class LaserTerminal(Protocol):
    """A pointing, acquisition and tracking head with a transmitter and a quadrant detector."""

    async def read(self) -> Reading[LaserReading]:
        """Read angles and detector."""
        ...

    async def point(
        self,
        azimuth_radians: float,
        elevation_radians: float,
        point_ahead: tuple[float, float] = (0.0, 0.0),
        rates: tuple[float, float] = (0.0, 0.0),
        at_seconds: float | None = None,
    ) -> None:
        """Turn the line of sight so that it passes these angles at mission time ``at_seconds`` (default: now).

        The terminal goes on at ``rates`` (azimuth, elevation; radians per second) until the next command, so the
        line of sight stays on a moving partner between commands. The transmit beam leads it by ``point_ahead``
        (azimuth * cos(elevation), elevation; radians).
        """
        ...

    async def set_transmitter(self, on: bool) -> None:
        """Switch the transmit laser."""
        ...


class WorkState(enum.Enum):
    """Life of one piece of work on a rack node."""

    RUNNING = "running"
    EXITED = "exited"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Work:
    """What a rack node is asked to run.

    ``work_id`` names job and attempt and is the key for re-adoption after a restart. Paths are absolute; in the
    twin they are ``None`` and the node runs a model of ``expected_seconds`` at ``power_watts``.
    """

    work_id: str
    # Run in work_dir/program.
    command: tuple[str, ...]
    power_watts: float
    memory_bytes: int
    cores: int
    grace_seconds: float
    limit_seconds: float
    expected_seconds: float
    disk_bytes: int = 0
    # Whether the program keeps its state in checkpoint_dir; else a stopped one begins again.
    checkpoint: bool = False
    work_dir: Path | None = None
    input_dir: Path | None = None
    output_dir: Path | None = None
    checkpoint_dir: Path | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class OutputRecord:
    """A file that work left in its output directory; ``path`` is relative to it."""

    path: str
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class WorkReport:
    """State of a piece of work; energies in joules of mission time, times in mission seconds.

    Energy and time are of the run that :meth:`RackNode.start` began: after a stop, and :meth:`RackNode.forget`, the
    same work may be started again, here or on another node. ``exit_code`` is negative for a signal, as in
    ``subprocess``. ``stopped`` says that it ended because :meth:`RackNode.stop` asked, ``limit`` which limit ended
    it: "time", "memory", "disk", "processes" or "".
    """

    state: WorkState
    exit_code: int | None = None
    reason: str = ""
    progress_ratio: float = 0.0
    energy_joules: float = 0.0
    run_seconds: float = 0.0
    stderr_tail: str = ""
    stopped: bool = False
    limit: str = ""
    outputs: tuple[OutputRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class NodeState:
    """Draw of a rack node (W), whether it is powered, and the work it runs."""

    powered: bool
    draw_watts: float
    cap_watts: float
    running: tuple[str, ...]


class RackNode(Protocol):
    """A computer in the rack: runs work, draws power, dies when its load switch opens."""

    idle_watts: float
    peak_watts: float

    async def read(self) -> Reading[NodeState]:
        """Measure draw and state."""
        ...

    async def start(self, work: Work) -> None:
        """Begin, or adopt when this work_id is already running or finished here (never runs a finished one again).

        Raises:
            DeviceError: the node is off, or cannot run it; the sentence says why.
        """
        ...

    async def stop(self, work_id: str) -> None:
        """Ask to end (SIGTERM, then SIGKILL after the work's grace). Returns at once; see :meth:`report`."""
        ...

    async def report(self, work_id: str) -> WorkReport | None:
        """What is known of this work; ``None`` when this node never had it."""
        ...

    async def forget(self, work_id: str) -> None:
        """Drop what is kept of an ended work: its final status is safe elsewhere."""
        ...

    async def set_power_cap(self, watts: float) -> None:
        """Bound the node's draw; work slows down to obey."""
        ...

    async def close(self) -> None:
        """Let go without stopping work that runs: a restarted service adopts it."""
        ...


class DeviceError(Exception):
    """A device cannot do what it was asked; the message names the device and the remedy."""


@dataclass(frozen=True, slots=True)
class DeviceEnvironment:
    """What a driver may use. ``attachments`` carries what the run provides: the plant's address, directories."""

    satellite: str
    clock: Clock
    rng: random.Random
    state_dir: Path | None
    attachments: Mapping[str, object] = field(default_factory=dict)
    # The satellite's design: ratings of what the device stands for.
    design: SatelliteFile | None = None
    # Other devices of the satellite, by name: a rack node has a meter and a throttle. Raises DeviceError.
    device: Callable[[str], object] | None = None


class DeviceFactory(Protocol):
    """What an entry point of ``skyrack.devices`` is."""

    def __call__(self, name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> object:
        """Make the device ``name``.

        Raises:
            DeviceError: the settings do not fit, or the device is not there.
        """
        ...
