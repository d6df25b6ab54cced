"""The catalogue of faults: one list that works alike in the twin, in software in the loop and on a bench.

A fault is data: what, where, when, how long. It acts through :class:`Effects`, which each kind of run provides as far
as it can. Faults of the physical world and of sensors go through the plant, which hands the latter to the devices that
read it; faults of processes, disks and clocks need whoever runs those.

    [[faults]]
    kind = "pump-stop"
    satellite = "sat-1"
    at_seconds = 600
    duration_seconds = 300
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Final, Literal, Protocol, get_args

import msgspec
from msgspec import Meta

from skyrack import files
from skyrack.satellite import Name, NotNegative, Positive, Ratio

Need = Literal["plant", "links", "processes", "disks", "clocks"]
Run = Literal["twin", "software", "bench"]
"""Kinds of runs: in virtual time, as processes of this machine, with real boards and devices."""

GROUND: Final = "ground"
BROKER: Final = "broker"
"""What stands for a satellite where a process or a disk on the ground is meant."""

_REAL_DEVICES = "only on simulated devices: no software bends what a real one says"
_REAL_WORLD = "only where what it strikes is simulated: no software stops a real one"
_CLOCK = (
    "a step of the time of day moves nobody before the machine starts anew: mission time hangs on its monotonic clock, "
    "and a run must not change the clock of the machine"
)


def _unit(unit: str, description: str) -> Meta:
    return Meta(description=description, extra={"unit": unit})


class Effects(Protocol):
    """What a run lets faults do: those whose ``needs`` it names in ``can``."""

    @property
    def can(self) -> frozenset[Need]:
        """Which needs this run serves."""
        ...

    def check(self, fault: Fault) -> None:
        """Before anything begins: raises UserError where what a fault is to strike is not there."""
        ...

    def actuate(self, satellite: str, key: str, value: float) -> None:
        """Set one of the plant's fault keys."""
        ...

    def kill(self, satellite: str, service: str) -> None:
        """Kill a flight service at once; satellite "ground" kills the ground, "broker" the broker.

        Raises:
            UserError: there is no such service.
        """
        ...

    def cut_power(self, satellite: str, down_seconds: float) -> None:
        """End all that runs on the satellite's boards at once, and start it again after so many mission seconds."""
        ...

    def fill_disk(self, satellite: str, *, full: bool) -> None:
        """Let writes to the satellite's disk fail for want of space, or succeed again."""
        ...

    def jump_clock(self, satellite: str, seconds: float) -> None:
        """Step the clock of the satellite's host."""
        ...

    def flip_bits(self, satellite: str, link: str, count: int) -> None:
        """Flip a bit in each of the next ``count`` pieces that pass the link."""
        ...


Device = Annotated[str, _unit("", 'name of a device, such as "battery", "array", "gnss", "thermal.radiator"')]


class _Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    satellite: Annotated[Name, _unit("", "whom it strikes")]
    at_seconds: Annotated[NotNegative, _unit("s", "when it begins, from the beginning of the run, mission time")]
    duration_seconds: Annotated[Positive | None, _unit("s", "how long it lasts, mission time; for good without")] = None

    lasts: ClassVar[bool] = True
    needs: ClassVar[Need] = "plant"
    # Where it works with a restriction, or not at all, and why.
    restricted: ClassVar[dict[Run, str]] = {}
    refused: ClassVar[dict[Run, str]] = {}

    @property
    def kind(self) -> str:
        """The catalogue's name of its kind."""
        return str(self.__struct_config__.tag)

    @property
    def target(self) -> str:
        """The device, load, laser, link or service that it strikes; empty where the kind says it all."""
        parts = (getattr(self, name, "") for name in ("device", "load", "laser", "link", "service"))
        return next((part for part in parts if part), "")

    def begin(self, effects: Effects) -> None:
        raise NotImplementedError

    def end(self, effects: Effects) -> None:
        """Undo; faults that do not last have nothing to undo."""


class PlantFault(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fault of the physical world or of a sensor: one of the plant's fault keys."""

    def setting(self) -> tuple[str, float]:
        """The plant's key, and its value while the fault lasts; zero mends it."""
        raise NotImplementedError

    def begin(self, effects: Effects) -> None:
        key, value = self.setting()
        effects.actuate(self.satellite, key, value)

    def end(self, effects: Effects) -> None:
        effects.actuate(self.satellite, self.setting()[0], 0.0)


class SensorStuck(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="sensor-stuck"):
    """A device goes on reporting what it last reported."""

    device: Device
    restricted: ClassVar[dict[Run, str]] = {"bench": _REAL_DEVICES}

    def setting(self) -> tuple[str, float]:
        return f"fault.device.{self.device}.stuck", 1.0


class SensorBias(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="sensor-bias"):
    """A device reports too much by bias, in its own unit."""

    device: Device
    bias: Annotated[float, _unit("of the device", "what it reports too much")]
    restricted: ClassVar[dict[Run, str]] = {"bench": _REAL_DEVICES}

    def setting(self) -> tuple[str, float]:
        return f"fault.device.{self.device}.bias", self.bias


class SensorNoise(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="sensor-noise"):
    """A device's values scatter by sigma, in its own unit."""

    device: Device
    sigma: Annotated[float, _unit("of the device", "standard deviation of the scatter"), Meta(gt=0)]
    restricted: ClassVar[dict[Run, str]] = {"bench": _REAL_DEVICES}

    def setting(self) -> tuple[str, float]:
        return f"fault.device.{self.device}.noise", self.sigma


class SensorSilent(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="sensor-silent"):
    """A device does not answer."""

    device: Device
    restricted: ClassVar[dict[Run, str]] = {"bench": _REAL_DEVICES}

    def setting(self) -> tuple[str, float]:
        return f"fault.device.{self.device}.silent", 1.0


class LoadShort(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="load-short"):
    """A load draws more than it should, while its switch is closed."""

    load: Annotated[Name, _unit("", "a load, rack node or laser terminal")]
    watts: Annotated[Positive, _unit("W", "what it draws on top of what it should")]
    restricted: ClassVar[dict[Run, str]] = {"bench": _REAL_WORLD}

    def setting(self) -> tuple[str, float]:
        return f"fault.load.{self.load}.short_watts", self.watts


class PumpStop(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="pump-stop"):
    """The pump stands still, whatever duty it is given."""

    restricted: ClassVar[dict[Run, str]] = {"bench": _REAL_WORLD}

    def setting(self) -> tuple[str, float]:
        return "fault.pump.stopped", 1.0


class RadiatorLoss(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="radiator-loss"):
    """A part of the radiator no longer radiates."""

    lost_ratio: Annotated[Ratio, _unit("1", "part of the area that is lost")]

    def setting(self) -> tuple[str, float]:
        return "fault.radiator.lost_ratio", self.lost_ratio


class LaserMispointing(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="laser-mispointing"):
    """A terminal looks beside where its gimbal says."""

    laser: Annotated[Name, _unit("", "a laser terminal")]
    offset_radians: Annotated[float, _unit("rad", "angle between where it looks and where its gimbal says")]
    restricted: ClassVar[dict[Run, str]] = {"bench": _REAL_WORLD}

    def setting(self) -> tuple[str, float]:
        return f"fault.laser.{self.laser}.mispointing_radians", self.offset_radians


class LinkOutage(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="link-outage"):
    """A link is down, whatever the geometry."""

    link: Annotated[Literal["optical", "antenna"], _unit("", "which link to the ground")]

    def setting(self) -> tuple[str, float]:
        return f"fault.link.{self.link}.outage", 1.0


class ProcessKill(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="process-kill"):
    """SIGKILL to a flight service, to the executive with all of them, or to "ground" or "broker" as satellite."""

    service: Annotated[str, _unit("", "a flight service; none for ground and broker")] = ""
    lasts: ClassVar[bool] = False
    needs: ClassVar[Need] = "processes"

    def begin(self, effects: Effects) -> None:
        effects.kill(self.satellite, self.service)


class Reboot(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="reboot"):
    """The power of a satellite's computers is cut: flight services and rack nodes end at once, then all starts anew."""

    down_seconds: Annotated[Positive, _unit("s", "until the first process runs again, mission time")] = 30.0
    lasts: ClassVar[bool] = False
    needs: ClassVar[Need] = "processes"
    restricted: ClassVar[dict[Run, str]] = {
        "software": "ends the processes; what the kernel has taken is written, as it is not when power is cut",
        "bench": "kills the executive with all services; rack nodes go on: cut the board's supply for the rest",
    }

    def begin(self, effects: Effects) -> None:
        effects.cut_power(self.satellite, self.down_seconds)


class DiskFull(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="disk-full"):
    """Nothing more fits on the satellite's disk, or on that of "ground"."""

    needs: ClassVar[Need] = "disks"
    restricted: ClassVar[dict[Run, str]] = {
        "software": "no file may be written (RLIMIT_FSIZE 0 on live processes): EFBIG, where a full disk says ENOSPC",
    }
    refused: ClassVar[dict[Run, str]] = {"bench": "its processes run on a board, whose files are left alone"}

    def begin(self, effects: Effects) -> None:
        effects.fill_disk(self.satellite, full=True)

    def end(self, effects: Effects) -> None:
        effects.fill_disk(self.satellite, full=False)


class ClockJump(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="clock-jump"):
    """The time of day of the satellite's computer steps; its mission time follows when the computer starts next."""

    seconds: Annotated[float, _unit("s", "by which it steps; below zero it steps back")]
    lasts: ClassVar[bool] = False
    needs: ClassVar[Need] = "clocks"
    refused: ClassVar[dict[Run, str]] = {"software": _CLOCK, "bench": _CLOCK}

    def begin(self, effects: Effects) -> None:
        effects.jump_clock(self.satellite, self.seconds)


class BitFlip(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="bit-flip"):
    """Bits flip in what passes a link."""

    link: Annotated[Literal["optical", "antenna"], _unit("", "which link to the ground")] = "optical"
    count: Annotated[int, _unit("1", "so many of the next frames have a bit flipped"), Meta(ge=1)] = 1
    lasts: ClassVar[bool] = False
    needs: ClassVar[Need] = "links"
    restricted: ClassVar[dict[Run, str]] = {
        "twin": "in frames; what their transport adds is left whole",
    }

    def begin(self, effects: Effects) -> None:
        effects.flip_bits(self.satellite, self.link, self.count)


Fault = (
    SensorStuck
    | SensorBias
    | SensorNoise
    | SensorSilent
    | LoadShort
    | PumpStop
    | RadiatorLoss
    | LaserMispointing
    | LinkOutage
    | ProcessKill
    | Reboot
    | DiskFull
    | ClockJump
    | BitFlip
)


KINDS: Final[dict[str, type[Fault]]] = {str(kind.__struct_config__.tag): kind for kind in get_args(Fault)}
"""Kinds of faults by name."""


class _FaultFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    faults: tuple[dict[str, Any], ...] = ()


def load_faults(path: Path) -> tuple[Fault, ...]:
    """Read a file of faults.

    Raises:
        FileError: what does not add up, in one sentence.
    """
    return parse_faults(files.load(path, _FaultFile).faults, path)


def parse_faults(tables: Sequence[dict[str, Any]], source: Path | str) -> tuple[Fault, ...]:
    """Faults from tables that were read already; ``source`` names them in errors.

    Raises:
        FileError: what does not add up, in one sentence.
    """
    faults: list[Fault] = []
    for number, table in enumerate(tables):
        kind = table.get("kind")
        if kind not in KINDS:
            problem = f"is no kind of fault; {files.suggest(str(kind), KINDS)}"
            raise files.FileError(source, problem, key=f"faults[{number}].kind", value=kind)
        faults.append(files.convert(table, KINDS[kind], f"{source}: faults[{number}]"))
    return tuple(faults)
