"""Examines the devices of a board, on that board: a look at all of them, again and again, and their exercise."""

from __future__ import annotations

import asyncio
import random
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment
from hil.boards.file import BenchFile
from hil.boards.resolve import resolve
from hil.boards.watched import Row, Watched
from skyrack import files
from skyrack.clock import Anchor, MissionClock
from skyrack.satellite import Device, SatelliteFile, load_satellite

# These need a plant, or another board.
NOT_HERE = ("simulated.", "process.", "model.", "remote.")


class BoardCheck:
    """The devices of one board. Make it inside an event loop, and close it."""

    def __init__(
        self, devices: Mapping[str, Device], satellite: str, design: SatelliteFile, attachments: Mapping[str, object]
    ) -> None:
        """``devices`` as :func:`~hil.boards.resolve.resolve` gives them; the simulated ones are left out."""
        self._directory = tempfile.TemporaryDirectory(prefix="skyrack-check-")
        environment = DeviceEnvironment(
            satellite=satellite,
            clock=MissionClock(Anchor.utc()),
            rng=random.Random(0),
            state_dir=Path(self._directory.name),
            attachments=attachments,
            design=design,
        )
        real = {name: device for name, device in devices.items() if not device.driver.startswith(NOT_HERE)}
        self._registry = DeviceRegistry(environment, real, {})
        self.watched = [Watched(name, device.driver, self._registry.get) for name, device in real.items()]

    async def look(self) -> list[Row]:
        """Read all devices once."""
        return list(await asyncio.gather(*(one.look() for one in self.watched)))

    async def exercise(self, *, dangerous: bool) -> list[Row]:
        """Exercise all devices, one after the other: a throttle would spoil what a meter measures."""
        return [await one.exercise(dangerous=dangerous) for one in self.watched]

    async def close(self) -> None:
        """Let go of all devices."""
        await self._registry.close()
        self._directory.cleanup()


_checks: dict[tuple[Path, str, Path], BoardCheck] = {}
"""An agent is asked again and again: devices that are kept have noise and a period."""


async def check_board(
    bench: Path, board: str, satellite: Path, *, exercise: str = "", attachments: Mapping[str, object] | None = None
) -> Mapping[str, Any]:
    """Look once at the devices of a board; ``exercise`` "safe" or "all" has them move, too.

    Returns:
        {"rows": [...]}, each a :class:`Row` as JSON takes it.

    Raises:
        FileError: bench file or satellite file do not add up.
        LookupError: the bench has no such board.
    """
    key = (bench, board, satellite)
    if key not in _checks:
        found = files.load(bench, BenchFile)
        design = load_satellite(satellite)
        resolved = resolve(found, board, design)
        _checks[key] = BoardCheck(resolved.devices, resolved.board.satellite, design, attachments or {})
    check = _checks[key]
    rows = await check.look()
    if exercise:
        rows = await check.exercise(dangerous=exercise == "all")
    return {"rows": msgspec.to_builtins(rows)}


async def let_go() -> None:
    """Close the devices of all boards that were looked at."""
    while _checks:
        _, check = _checks.popitem()
        await check.close()
