"""What a board's devices are in full, once the bench's scales are filled in, and what about them looks odd."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from hil.boards.file import BenchBoard, BenchFile
from hil.boards.parts import PEAK_WATTS, SCALED_KINDS, UNSCALED_ROOMS
from skyrack.satellite import Device, SatelliteFile


@dataclass(frozen=True, slots=True)
class ResolvedBoard:
    """A board's devices with their scales; ``notes`` are sentences about what looks odd, though it may be meant."""

    board: BenchBoard
    devices: dict[str, Device]
    notes: tuple[str, ...] = ()


def resolve(bench: BenchFile, board: str, design: SatelliteFile) -> ResolvedBoard:
    """Fill in what the devices of a board do not say.

    Args:
        bench: the bench.
        board: name of one of its boards.
        design: of the satellite that the board flies.

    Raises:
        LookupError: the bench has no such board.
    """
    found = next((one for one in bench.boards if one.name == board), None)
    if found is None:
        raise LookupError(f'the bench "{bench.name}" has no board "{board}"')
    devices = {name: _scaled(name, device, found.watts_scale) for name, device in found.devices.items()}
    return ResolvedBoard(found, devices, tuple(_notes(found, devices, design)))


def _scaled(name: str, device: Device, watts_scale: float) -> Device:
    scaled = name.partition(".")[0] in SCALED_KINDS and not device.driver.startswith(UNSCALED_ROOMS)
    if not scaled or "scale" in device.settings:
        return device
    return msgspec.structs.replace(device, settings={**device.settings, "scale": watts_scale})


def _notes(board: BenchBoard, devices: dict[str, Device], design: SatelliteFile) -> list[str]:
    notes = []
    least, most = PEAK_WATTS[board.kind]
    for node in design.nodes:
        device = devices.get(f"node.{node.name}")
        scale = device.settings.get("scale") if device is not None else None
        if device is None or isinstance(scale, bool | str) or not scale:
            continue
        real = node.peak_watts / scale
        if not least <= real <= most:
            notes.append(
                f"{board.name}: at watts_scale = {scale:g}, {node.name} at its peak of {node.peak_watts:g} W is "
                f"{real:.3g} W of this board, while a {board.kind} draws {least:g} to {most:g} W at its peak; "
                f"{node.peak_watts / most:.3g} to {node.peak_watts / least:.3g} would fit"
            )
    if not board.guards and board.kind != "computer":
        notes.append(f"{board.name}: no guards; nothing but the software under test protects this board")
    return notes
