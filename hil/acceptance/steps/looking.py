"""What several steps look at: all devices a few times over, and curves of watts, degrees and frequency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hil.acceptance.model import NotApplicableError
from hil.acceptance.rig import Rig, Session


def kind(device: str) -> str:
    """Kind of a device, from its name."""
    return device.partition(".")[0]


async def looks(session: Session, count: int, period_seconds: float, *, exercise: bool = False) -> list[dict[str, Any]]:
    """Look at all devices so often; the rows of each look."""
    rig = session.rig
    if not rig.devices:
        raise NotApplicableError(f"board {rig.board.name} has no real devices in the bench file")
    found = []
    for number in range(count):
        last = number == count - 1
        answer = await rig.ask("accept-look", seconds=60.0, exercise=exercise and last)
        found.append({row["device"]: row for row in answer["rows"]})
        if not last:
            await rig.sleep(period_seconds)
    return found


@dataclass(slots=True)
class Curves:
    """Samples over time, s since the first."""

    seconds: list[float] = field(default_factory=list)
    values: dict[str, list[float | None]] = field(default_factory=dict)
    hertz: list[float | None] = field(default_factory=list)

    def add(self, seconds: float, sample: Mapping[str, Any]) -> None:
        """Take one sample in."""
        for name in {*self.values, *sample["values"]}:
            known = self.values.setdefault(name, [None] * len(self.seconds))
            known.append(sample["values"].get(name))
        self.seconds.append(seconds)
        self.hertz.append(sample["hertz"])

    def of(self, name: str) -> tuple[list[float], list[float]]:
        """Times and values of a device where it was good."""
        values = self.values.get(name, [])
        pairs = [(second, value) for second, value in zip(self.seconds, values, strict=False) if value is not None]
        return [second for second, _ in pairs], [value for _, value in pairs]


async def sample_for(
    rig: Rig, curves: Curves, began: float, seconds: float, period_seconds: float, stop_above: Mapping[str, float]
) -> str:
    """Sample for so long; the name of a device that went over its limit, which ends it at once."""
    until = rig.now() + seconds
    while rig.now() < until:
        sample = await rig.ask("accept-sample", seconds=20.0)
        curves.add(rig.now() - began, sample)
        for name, limit in stop_above.items():
            if sample["values"].get(name, limit) > limit:
                return name
        await rig.sleep(period_seconds)
    return ""


def thermometers(rig: Rig) -> list[str]:
    """Devices that are thermometers by name."""
    return [name for name in rig.devices if kind(name) == "thermal" or "temperature" in rig.devices[name]]


def meters(rig: Rig) -> list[str]:
    """Devices that measure watts, in the board's own watts."""
    return [name for name in rig.devices if kind(name) == "meter"]
