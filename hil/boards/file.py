"""The bench file: boards, which devices on them are real, and limits at which the bench protects itself.

name = "one-pi"
constellation = "bench"

[[boards]]
name = "pi-1"
satellite = "sat-1"
address = "ssh://skyrack@pi-1.local"
watts_scale = 100

[boards.devices."node.node-1"]
driver = "board.rack_node"
settings = { meter = "meter.board", throttle = "throttle.cpu" }
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hil.boards.address import LOCAL
from skyrack import files
from skyrack.satellite import ConstellationFile, Device, Name, NotNegative, Positive, SatelliteFile, load_constellation

Kind = Literal["computer", "raspberry-pi", "jetson"]
Action = Literal["throttle", "stop-work", "open-load", "power-off"]


class Guard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A limit at which the bench protects a board, whatever the software under test does.

    ``device`` is a meter or thermometer of the board, read as it is, without the scale. ``load`` is the device
    ("switch.rail") that an ``open-load`` opens: one of its own, since flight software holds those of the satellite. Out
    of its limits for ``for_seconds`` a guard acts, and holds until a person clears it; a reading that comes back inside
    ends the count when it is inside by ``hysteresis``. A guard whose device gives no good reading for ten times as long
    acts too.
    """

    device: str
    high: float | None = None
    low: float | None = None
    for_seconds: Positive = 3.0
    hysteresis: NotNegative = 0.0
    action: Action
    load: str = ""


class BenchBoard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A board of the bench.

    Attributes:
        name: of the board.
        satellite: whose flight services run on it, or whose rack node it is.
        rack_node: which rack node of the satellite this board is; empty for the board that flies the satellite, which
            may have a node of its own among its devices.
        rack_address: at which the flying board reaches this node, such as "tcp://pi-2.local:7400"; empty takes the host
            of ``address`` and port 7400, or, for a local board, a free port.
        rack_patience_seconds: seconds of silence after which what runs on this node counts as lost.
        address: "local", or "ssh://user@host:port".
        kind: what it is; ``skyrack hil scan`` finds out.
        python: Python on the board that has Skyrack; empty takes what ``skyrack hil provision`` installs, or, for a
            local board, the one that runs this.
        directory: where the board keeps a run's files; empty takes a place that suits.
        watts_scale: watts of the satellite that one watt of this board stands for, in devices that do not say.
        watchdog_device: such as /dev/watchdog; empty is none.
        devices: real devices, by the names that the satellite gives them; what others refer to ("meter.board") too.
        guards: limits at which the bench protects this board.
    """

    name: Name
    satellite: Name
    rack_node: str = ""
    rack_address: str = ""
    rack_patience_seconds: Annotated[float, Meta(ge=1)] = 60.0
    address: str = LOCAL
    kind: Kind = "computer"
    python: str = ""
    directory: str = ""
    watts_scale: Positive = 1.0
    watchdog_device: str = ""
    devices: dict[str, Device] = {}
    guards: tuple[Guard, ...] = ()


class BenchInstrument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An instrument on the bench computer.

    Attributes:
        name: of the instrument.
        driver: of the entry points ``skyrack.instruments``.
        follows: the plant's quantity that it plays, such as "sat-1.array.watts"; empty when it only measures.
        watts_scale: watts of the satellite that one of its watts stands for.
        settings: resource, channel, limits.
    """

    name: Name
    driver: str
    follows: str = ""
    watts_scale: Positive = 1.0
    settings: dict[str, float | int | str | bool] = {}


class BenchFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bench. Satellites of the constellation without a board fly as plain processes of the bench computer.

    Of the boards of a satellite one flies its services, and the others are rack nodes of it.

    ``limits`` override the dictionary's for the boards' real scale, by satellite and then "Message.field", as a
    satellite file does.
    """

    name: Name
    description: str = ""
    constellation: str
    rate: Positive = 1.0
    boards: Annotated[tuple[BenchBoard, ...], Meta(min_length=1)]
    instruments: tuple[BenchInstrument, ...] = ()
    limits: dict[str, dict[str, dict[Literal["red_low", "yellow_low", "yellow_high", "red_high"], float]]] = {}


def load_bench(path: Path) -> BenchFile:
    """Read and check a bench file; ``files.find("benches", name)`` finds a shipped one.

    Raises:
        FileError: what does not add up, with file, key, value and what would be right.
    """
    return load_bench_and_designs(path)[0]


def load_bench_and_designs(path: Path) -> tuple[BenchFile, ConstellationFile, dict[str, SatelliteFile]]:
    """Read and check a bench file with what it flies: its constellation, and designs by satellite.

    The constellation is a file (also beside the bench file), or the name of a shipped one.

    Raises:
        FileError: what does not add up, with file, key, value and what would be right.
    """
    from hil.boards.bench_checks import check_bench

    bench = files.load(path, BenchFile)
    try:
        found = files.find("constellations", bench.constellation, beside=path)
    except files.FileError as error:
        raise files.FileError(path, error.problem, key="constellation", value=bench.constellation) from None
    constellation, designs = load_constellation(found)
    check_bench(path, bench, designs)
    return bench, constellation, designs
