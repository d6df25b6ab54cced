"""The files that a bench really flies: designs with the boards' devices and limits in them, and their constellation.

Flight software, ground and plant of a run read these, and nothing else: one truth.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import tomli_w

from hil.boards.file import BenchBoard, BenchFile
from hil.boards.racks import Rack, racks_of
from hil.boards.resolve import resolve
from skyrack.satellite import ConstellationFile, SatelliteFile

CONSTELLATION, BENCH = "constellation.toml", "bench.toml"


@dataclass(frozen=True, slots=True)
class Derived:
    """What was written below ``directory``; ``notes`` are sentences about what looks odd, though it may be meant.

    ``racks`` are those of several boards, by satellite; their keys are in no file here.
    """

    directory: Path
    designs: Mapping[str, SatelliteFile]
    notes: tuple[str, ...]
    racks: Mapping[str, Rack]

    @property
    def constellation(self) -> Path:
        """The constellation file, whose satellites are files beside it."""
        return self.directory / CONSTELLATION

    def files(self) -> dict[str, bytes]:
        """All that a board needs that flies a satellite, by name."""
        return self._read((CONSTELLATION, BENCH, *map(satellite_file, self.designs)))

    def files_of_node(self, board: BenchBoard) -> dict[str, bytes]:
        """All that a board needs that is a rack node, by name."""
        return self._read((BENCH, design_of(board)))

    def _read(self, names: tuple[str, ...]) -> dict[str, bytes]:
        return {name: (self.directory / name).read_bytes() for name in names}


def satellite_file(satellite: str) -> str:
    """Name of the file of a satellite."""
    return f"satellite-{satellite}.toml"


def design_of(board: BenchBoard) -> str:
    """Name of the file of the design that a board is given: that of its satellite, or of the satellite as its node."""
    return f"node-{board.name}.toml" if board.rack_node else satellite_file(board.satellite)


def derive(
    bench: BenchFile, constellation: ConstellationFile, designs: Mapping[str, SatelliteFile], directory: Path
) -> Derived:
    """Write the files of a bench.

    Raises:
        OSError: they cannot be written, or no port is free for a rack's node.
    """
    directory.mkdir(parents=True, exist_ok=True)
    made = dict(designs)
    notes: list[str] = []
    for board in bench.boards:
        design = made[board.satellite]
        resolved = resolve(bench, board.name, design)
        notes += resolved.notes
        if board.rack_node:
            # Its devices are its own: the flight software is elsewhere.
            own = msgspec.structs.replace(designs[board.satellite], devices=resolved.devices)
            _write(directory / design_of(board), own)
            continue
        made[board.satellite] = msgspec.structs.replace(design, devices={**design.devices, **resolved.devices})
    racks = racks_of(bench.boards)
    for satellite, rack in racks.items():
        design = made[satellite]
        made[satellite] = msgspec.structs.replace(design, devices={**design.devices, **rack.devices()})
    for satellite, limits in bench.limits.items():
        design = made[satellite]
        merged = {**design.limits}
        for field, sides in limits.items():
            merged[field] = {**merged.get(field, {}), **sides}
        made[satellite] = msgspec.structs.replace(design, limits=merged)
    for satellite, design in made.items():
        _write(directory / satellite_file(satellite), design)
    flown = tuple(
        msgspec.structs.replace(satellite, file=satellite_file(satellite.name))
        for satellite in constellation.satellites
    )
    _write(directory / CONSTELLATION, msgspec.structs.replace(constellation, satellites=flown))
    _write(directory / BENCH, msgspec.structs.replace(bench, constellation=CONSTELLATION))
    return Derived(directory, made, tuple(notes), racks)


def _write(path: Path, struct: msgspec.Struct) -> None:
    content: Any = msgspec.to_builtins(struct, builtin_types=(datetime,))
    path.write_text(tomli_w.dumps(_without_none(content)), encoding="utf-8")


def _without_none(value: Any) -> Any:
    """TOML has no null: what is None is left out, and is None again when it is read."""
    if isinstance(value, dict):
        return {key: _without_none(member) for key, member in value.items() if member is not None}
    if isinstance(value, list | tuple):
        return [_without_none(member) for member in value]
    return value
