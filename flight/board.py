"""The board file: which satellite this board flies, which services, and where its files and far ends are."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from skyrack import files
from skyrack.satellite import ConstellationFile, Name, SatelliteFile, load_constellation, load_satellite

SERVICES = ("navigation", "power", "thermal", "compute", "laser", "gateway")

# What drives a device that the satellite file does not name, by kind: the part of its name before the first dot.
SIMULATED_DRIVERS = {
    "battery": "simulated.battery",
    "array": "simulated.array",
    "load": "simulated.load_switch",
    "thermal": "simulated.temperature",
    "pump": "simulated.pump",
    "heater": "simulated.heater",
    "gnss": "simulated.gnss",
    "laser": "simulated.laser",
    "antenna": "simulated.antenna",
    "node": "process.rack_node",
}
DRIVERS_OF_THE_TWIN = {**SIMULATED_DRIVERS, "node": "model.rack_node"}

SHIPPED_RULES = Path(__file__).with_name("executive") / "rules.toml"

# sockaddr_un holds 108 bytes with the NUL at the end.
_LONGEST_SOCKET_PATH_BYTES = 107
_LONGEST_SOCKET_NAME = "/navigation.pub"


class Board(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A board file. Relative paths start at the directory of the file."""

    satellite: Name
    # A satellite's design: a path, or the name of a shipped one; empty takes the one that the constellation names.
    satellite_file: str = ""
    constellation_file: str
    # Sockets of the bus. Their paths are limited to 107 bytes, so this one should be short.
    run_dir: str
    state_dir: str
    log_dir: str
    clock_file: str
    keys_dir: str = ""
    seed: int = 0
    services: Annotated[tuple[str, ...], Meta(min_length=1)] = SERVICES
    # Where the run's far ends are: plant, backhaul.optical, backhaul.antenna, metrics.port...
    attachments: dict[str, str] = {}
    default_drivers: dict[str, str] = msgspec.field(default_factory=lambda: dict(SIMULATED_DRIVERS))
    # /dev/watchdog of a board that has one; empty is none.
    watchdog_device: str = ""
    # Fault rules; empty takes the shipped ones.
    rules_file: str = ""


@dataclass(frozen=True, slots=True)
class Paths:
    """A board's directories and files, absolute."""

    run: Path
    state: Path
    log: Path
    clock: Path
    keys: Path | None
    rules: Path

    def make(self) -> None:
        """Make the directories that services write to."""
        for directory in (self.run, self.state, self.log):
            directory.mkdir(parents=True, exist_ok=True)


def load_board(path: Path) -> Board:
    """Read and check a board file; paths in the result are absolute.

    Raises:
        FileError: what is wrong, with file, key, value and what would be right.
    """
    path = path.absolute()
    board = files.load(path, Board)
    for service in board.services:
        if service not in SERVICES:
            raise files.FileError(path, files.suggest(service, SERVICES), key="services", value=service)
    resolved = {
        key: str(path.parent / value)
        for key in ("run_dir", "state_dir", "log_dir", "clock_file", "keys_dir", "rules_file")
        if (value := getattr(board, key))
    }
    longest = f"{resolved['run_dir']}{_LONGEST_SOCKET_NAME}"
    if len(longest.encode()) > _LONGEST_SOCKET_PATH_BYTES:
        problem = (
            f"must be shorter, such as /run/skyrack: a socket's path has at most {_LONGEST_SOCKET_PATH_BYTES} bytes"
        )
        raise files.FileError(path, problem, key="run_dir", value=board.run_dir)
    for key in ("constellation_file", "satellite_file"):
        value = getattr(board, key)
        beside = path.parent / value
        if value and beside.is_file():
            resolved[key] = str(beside)
    return msgspec.structs.replace(board, default_drivers={**SIMULATED_DRIVERS, **board.default_drivers}, **resolved)


def paths_of(board: Board) -> Paths:
    """The directories and files of a board."""
    return Paths(
        run=Path(board.run_dir),
        state=Path(board.state_dir),
        log=Path(board.log_dir),
        clock=Path(board.clock_file),
        keys=Path(board.keys_dir) if board.keys_dir else None,
        rules=Path(board.rules_file) if board.rules_file else SHIPPED_RULES,
    )


def write_board(path: Path, board: Board) -> None:
    """Write a board file, whole or not at all."""
    lines: list[str] = []
    tables: list[str] = []
    for key, value in msgspec.structs.asdict(board).items():
        if isinstance(value, dict):
            tables += ["", f"[{key}]", *(f"{_text(name)} = {_text(member)}" for name, member in sorted(value.items()))]
        elif isinstance(value, tuple):
            lines.append(f"{key} = [{', '.join(_text(item) for item in value)}]")
        else:
            lines.append(f"{key} = {_text(value) if isinstance(value, str) else value}")
    with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
        file.write("\n".join([*lines, *tables]) + "\n")
    Path(file.name).replace(path)


def load_design(board: Board) -> tuple[SatelliteFile, ConstellationFile]:
    """The satellite's design and the constellation that it flies in.

    Raises:
        FileError: a file does not add up, or the constellation has no satellite of this name.
    """
    path = files.find("constellations", board.constellation_file)
    constellation, designs = load_constellation(path)
    if board.satellite not in designs:
        problem = f'has no satellite "{board.satellite}", which the board file flies; '
        raise files.FileError(path, problem + files.suggest(board.satellite, designs))
    if board.satellite_file:
        return load_satellite(files.find("satellites", board.satellite_file)), constellation
    return designs[board.satellite], constellation


def _text(value: str) -> str:
    # A JSON string is a TOML basic string, save that TOML does not take a bare DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
