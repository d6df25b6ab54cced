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
from typing import Annotated, Any, ClassVar, Literal, Protocol, get_args

import msgspec
from msgspec import Meta

from skyrack import files
from skyrack.satellite import Name, NotNegative, Positive, Ratio

Need = Literal["plant", "links", "processes", "disks", "clocks"]


class Effects(Protocol):
    """What a run lets faults do: those whose ``needs`` it names in ``can``."""

    @property
    def can(self) -> frozenset[Need]:
        """Which needs this run serves."""
        ...

    def actuate(self, satellite: str, key: str, value: float) -> None:
        """Set one of the plant's fault keys."""
        ...

    def kill(self, satellite: str, service: str) -> None:
        """Kill a flight service at once; satellite "ground" kills the ground, "broker" the broker."""
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


class _Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind"):
    satellite: Name
    # From the beginning of the run, mission seconds.
    at_seconds: NotNegative
    # Absent: for good.
    duration_seconds: Positive | None = None

    lasts: ClassVar[bool] = True
    needs: ClassVar[Need] = "plant"

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

    device: str

    def setting(self) -> tuple[str, float]:
        return f"fault.device.{self.device}.stuck", 1.0


class SensorBias(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="sensor-bias"):
    """A device reports too much by ``bias``, in its own unit."""

    device: str
    bias: float

    def setting(self) -> tuple[str, float]:
        return f"fault.device.{self.device}.bias", self.bias


class SensorNoise(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="sensor-noise"):
    """A device's values scatter by ``sigma``, in its own unit."""

    device: str
    sigma: Positive

    def setting(self) -> tuple[str, float]:
        return f"fault.device.{self.device}.noise", self.sigma


class SensorSilent(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="sensor-silent"):
    """A device does not answer."""

    device: str

    def setting(self) -> tuple[str, float]:
        return f"fault.device.{self.device}.silent", 1.0


class LoadShort(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="load-short"):
    """A load draws more than it should, while its switch is closed."""

    load: Name
    watts: Positive

    def setting(self) -> tuple[str, float]:
        return f"fault.load.{self.load}.short_watts", self.watts


class PumpStop(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="pump-stop"):
    """The pump stands still, whatever duty it is given."""

    def setting(self) -> tuple[str, float]:
        return "fault.pump.stopped", 1.0


class RadiatorLoss(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="radiator-loss"):
    """A part of the radiator no longer radiates."""

    lost_ratio: Ratio

    def setting(self) -> tuple[str, float]:
        return "fault.radiator.lost_ratio", self.lost_ratio


class LaserMispointing(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="laser-mispointing"):
    """A terminal looks beside where its gimbal says."""

    laser: Name
    offset_radians: float

    def setting(self) -> tuple[str, float]:
        return f"fault.laser.{self.laser}.mispointing_radians", self.offset_radians


class LinkOutage(PlantFault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="link-outage"):
    """A link is down, whatever the geometry."""

    link: Literal["optical", "antenna"]

    def setting(self) -> tuple[str, float]:
        return f"fault.link.{self.link}.outage", 1.0


class ProcessKill(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="process-kill"):
    """SIGKILL to a service; satellite "ground" or "broker" means those."""

    service: str = ""
    lasts: ClassVar[bool] = False
    needs: ClassVar[Need] = "processes"

    def begin(self, effects: Effects) -> None:
        effects.kill(self.satellite, self.service)


class DiskFull(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="disk-full"):
    """Nothing more fits on the satellite's disk."""

    needs: ClassVar[Need] = "disks"

    def begin(self, effects: Effects) -> None:
        effects.fill_disk(self.satellite, full=True)

    def end(self, effects: Effects) -> None:
        effects.fill_disk(self.satellite, full=False)


class ClockJump(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="clock-jump"):
    """The host's time of day steps."""

    seconds: float
    lasts: ClassVar[bool] = False
    needs: ClassVar[Need] = "clocks"

    def begin(self, effects: Effects) -> None:
        effects.jump_clock(self.satellite, self.seconds)


class BitFlip(_Fault, frozen=True, forbid_unknown_fields=True, kw_only=True, tag="bit-flip"):
    """Bits flip in what passes a link."""

    link: Literal["optical", "antenna"] = "optical"
    count: Annotated[int, Meta(ge=1)] = 1
    lasts: ClassVar[bool] = False
    needs: ClassVar[Need] = "links"

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
    | DiskFull
    | ClockJump
    | BitFlip
)


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
    by_kind = {str(kind.__struct_config__.tag): kind for kind in get_args(Fault)}
    faults: list[Fault] = []
    for number, table in enumerate(tables):
        kind = table.get("kind")
        if kind not in by_kind:
            problem = f"is no kind of fault; {files.suggest(str(kind), by_kind)}"
            raise files.FileError(source, problem, key=f"faults[{number}].kind", value=kind)
        faults.append(files.convert(table, by_kind[kind], f"{source}: faults[{number}]"))
    return tuple(faults)
