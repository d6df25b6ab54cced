"""Racks of several boards: which are nodes of a satellite that another one flies, and how the two reach each other.

The keys of a run are made here, on the bench computer, and live as long as the run. Each board is given its own, and
the public one of its far end.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hil.boards.address import LOCAL, parse_address
from hil.boards.file import BenchBoard
from hil.devices.remote_node.keys import KeyPair
from hil.sil.ports import free_rows
from skyrack.satellite import Device

PORT = 7400
DRIVER = "remote.rack_node"
KEY_FILE = "keys/rack.key"
"""Below a board's directory, where all its processes are at home."""
FORM = 'must be such as "tcp://pi-2.local:7400": a name or an IPv4 address that the board which flies can reach'
# Between those of a run's other processes and those that systems hand out for outgoing connections.
FIRST_PORT, LAST_PORT = 32_000, 32_700

_ADDRESS = re.compile(r"tcp://(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*):(?P<port>[0-9]{1,5})")
_HERE = ("127.0.0.1", "localhost")


@dataclass(frozen=True, slots=True)
class Seat:
    """A board as a rack node: where it listens and is reached, its key, and the public one that may command it."""

    board: str
    node: str
    bind: str
    address: str
    patience_seconds: float
    pair: KeyPair = field(repr=False)
    allowed: str


@dataclass(frozen=True, slots=True)
class Rack:
    """The nodes of a satellite that are boards of their own, and the key of the board that flies it."""

    pair: KeyPair = field(repr=False)
    seats: tuple[Seat, ...]

    def devices(self) -> dict[str, Device]:
        """The nodes as the flight software finds them."""
        return {
            f"node.{seat.node}": Device(
                driver=DRIVER,
                settings={
                    "address": seat.address,
                    "server_key": seat.pair.public,
                    "key_file": KEY_FILE,
                    "patience_seconds": seat.patience_seconds,
                },
            )
            for seat in self.seats
        }


def reached_at(board: BenchBoard) -> str:
    """Address of a node's board for the one that flies; empty where the run has to choose a port.

    Raises:
        ValueError: there is none that follows from the file; the message says what would be right.
    """
    if board.rack_address:
        match = _ADDRESS.fullmatch(board.rack_address)
        if match is None or not 1 <= int(match["port"]) <= 65535:
            raise ValueError(FORM)
        return board.rack_address
    place = parse_address(board.address)
    if place is None:
        return ""
    if ":" in place.host:
        raise ValueError(FORM)
    return f"tcp://{place.host}:{PORT}"


def racks_of(boards: Sequence[BenchBoard]) -> Mapping[str, Rack]:
    """The racks of a bench that was checked, by satellite, with new keys and free ports.

    Raises:
        OSError: no port is free.
    """
    nodes = [board for board in boards if board.rack_node]
    asking = [board.name for board in nodes if not reached_at(board)]
    ports = free_rows([1] * len(asking), random.SystemRandom(), FIRST_PORT, LAST_PORT)
    chosen = dict(zip(asking, ports, strict=True))
    racks: dict[str, Rack] = {}
    for satellite in dict.fromkeys(board.satellite for board in nodes):
        pair = KeyPair.new()
        seats = tuple(_seat(board, chosen, pair.public) for board in nodes if board.satellite == satellite)
        racks[satellite] = Rack(pair, seats)
    return racks


def _seat(board: BenchBoard, chosen: Mapping[str, int], allowed: str) -> Seat:
    address = reached_at(board) or f"tcp://127.0.0.1:{chosen[board.name]}"
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    # Whoever has not the key is not let in; but what is for this computer alone is heard by nobody else.
    bind = f"tcp://{'127.0.0.1' if board.address == LOCAL and host in _HERE else '*'}:{port}"
    return Seat(board.name, board.rack_node, bind, address, board.rack_patience_seconds, KeyPair.new(), allowed)


def flying(boards: Sequence[BenchBoard], satellite: str) -> BenchBoard | None:
    """The board that flies a satellite."""
    return next((board for board in boards if board.satellite == satellite and not board.rack_node), None)
