"""Checks that the boards of a satellite add up: one flies it, each of the others is one of its rack nodes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from hil.boards.address import LOCAL
from hil.boards.file import BenchBoard
from hil.boards.parts import HELPERS
from hil.boards.racks import flying, reached_at
from skyrack.files import FileError, suggest
from skyrack.satellite import SatelliteFile

Refuse = Callable[[str, object, str], FileError]
NODE_DRIVERS = ("board.rack_node", "process.rack_node")


def check_racks(boards: Sequence[BenchBoard], designs: Mapping[str, SatelliteFile], refuse: Refuse) -> None:
    """Check the boards of each satellite against one another; each was checked by itself.

    Raises:
        FileError: the first thing that does not add up.
    """
    for satellite in dict.fromkeys(board.satellite for board in boards):
        together = [board for board in boards if board.satellite == satellite]
        nodes = ", ".join(node.name for node in designs[satellite].nodes)
        flies = flying(together, satellite)
        if flies is None:
            problem = f"no board flies {satellite}; leave it out for the board that does"
            raise refuse(f"boards.{together[0].name}.rack_node", together[0].rack_node, problem)
        taken = {name.removeprefix("node."): flies.name for name in flies.devices if name.startswith("node.")}
        addresses: dict[str, str] = {}
        for board in together:
            where = f"boards.{board.name}"
            if board is flies:
                continue
            if not board.rack_node:
                problem = (
                    f'the board "{flies.name}" flies it already; say by rack_node which node this one is ({nodes})'
                )
                raise refuse(f"{where}.satellite", satellite, f"{problem}, or give it a satellite of its own")
            other = taken.setdefault(board.rack_node, board.name)
            if other != board.name:
                problem = f'the board "{other}" is that node already; there are {nodes}'
                raise refuse(f"{where}.rack_node", board.rack_node, problem)
            _check_way(where, board, flies, addresses, refuse)


def serves_a_node(board: BenchBoard, design: SatelliteFile, known: Collection[str], refuse: Refuse) -> None:
    """Check that a board which is a rack node has that node, and nothing that only a board which flies can use.

    Raises:
        FileError: the first thing that does not add up.
    """
    where, name = f"boards.{board.name}", f"node.{board.rack_node}"
    names = [node.name for node in design.nodes]
    if board.rack_node not in names:
        problem = f"{board.satellite} has no such rack node; {suggest(board.rack_node, names)}"
        raise refuse(f"{where}.rack_node", board.rack_node, problem)
    if board.watchdog_device:
        problem = "the flight services stroke a watchdog, and on this board none run; leave it out"
        raise refuse(f"{where}.watchdog_device", board.watchdog_device, problem)
    device = board.devices.get(name)
    if device is None:
        problem = f'must have the device "{name}", with the driver {" or ".join(NODE_DRIVERS)}'
        raise refuse(f"{where}.devices", sorted(board.devices), problem)
    if device.driver not in NODE_DRIVERS:
        problem = f"must be {' or '.join(NODE_DRIVERS)}: this board is the node"
        raise refuse(f"{where}.devices.{name}.driver", device.driver, problem)
    for other in board.devices:
        if other in known and other != name:
            problem = (
                f"no flight services run here to use it: put it on the board that flies {board.satellite}, or name it "
                f"as what {name} and guards use: {', '.join(f'{helper}.<name>' for helper in HELPERS)}"
            )
            raise refuse(f"{where}.devices.{other}", other, problem)


def _check_way(where: str, board: BenchBoard, flies: BenchBoard, addresses: dict[str, str], refuse: Refuse) -> None:
    try:
        address = reached_at(board)
    except ValueError as error:
        raise refuse(f"{where}.rack_address", board.rack_address, str(error)) from None
    if not address and flies.address != LOCAL:
        problem = f'must say how the board "{flies.name}" reaches this computer, such as tcp://192.168.1.2:7400'
        raise refuse(f"{where}.rack_address", board.rack_address, problem)
    other = addresses.setdefault(address or board.name, board.name)
    if other != board.name:
        problem = f'the board "{other}" is reached there already; give each its own rack_address'
        raise refuse(f"{where}.rack_address", address, problem)
