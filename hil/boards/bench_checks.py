"""Checks that a bench file adds up: what its structs cannot express. Pure: nothing is looked for on the machine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib.metadata import entry_points
from pathlib import Path

from flight.devices import driver_names
from flight.hal import DeviceError
from flight.thermal.network import COMMON_NODES
from hil.boards.address import LOCAL, parse_address
from hil.boards.file import BenchBoard, BenchFile, BenchInstrument, Guard
from hil.boards.parts import (
    FIRST_ADDRESS,
    HELPERS,
    LAST_ADDRESS,
    MEASURES,
    PARTS,
    REFERENCES,
    ROLES,
    Part,
    seats_of,
)
from hil.boards.rack_checks import check_racks, serves_a_node
from hil.instruments.protocol import InstrumentError, load_instrument
from skyrack.dictionary import default_limits
from skyrack.errors import UserError
from skyrack.files import FileError, suggest
from skyrack.limits import Limits
from skyrack.satellite import Device, SatelliteFile

INSTRUMENTS = "skyrack.instruments"

Refuse = Callable[[str, object, str], FileError]
"""Makes the error of a key, its value, and what would be right."""


def check_bench(path: Path, bench: BenchFile, designs: Mapping[str, SatelliteFile]) -> None:
    """Check a bench file against its constellation's satellites and the installed drivers.

    Raises:
        FileError: the first thing that does not add up, with file, key, value and what would be right.
    """

    def refuse(key: str, value: object, problem: str) -> FileError:
        return FileError(path, problem, key=key, value=value)

    _unique("boards", [board.name for board in bench.boards], refuse)
    _unique("instruments", [instrument.name for instrument in bench.instruments], refuse)
    for board in bench.boards:
        _check_board(board, designs, refuse)
    check_racks(bench.boards, designs, refuse)
    for instrument in bench.instruments:
        _check_instrument(instrument, designs, refuse)
    _check_limits(bench, designs, refuse)


def devices_of(design: SatelliteFile) -> frozenset[str]:
    """Names of the devices that flight software asks for."""
    thermal = (*COMMON_NODES, *(node.name for node in design.nodes))
    return frozenset(
        {
            "battery",
            "array",
            "pump",
            "gnss",
            "antenna",
            *(f"load.{name}" for name in design.load_names()),
            *(f"thermal.{name}" for name in thermal),
            *(f"heater.{heater.name}" for heater in design.heaters),
            *(f"laser.{laser.name}" for laser in design.lasers),
            *(f"node.{node.name}" for node in design.nodes),
        }
    )


def _unique(key: str, names: Collection[str], refuse: Refuse) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise refuse(f"{key}.name", name, "must be a name that no other has")
        seen.add(name)


def _check_board(board: BenchBoard, designs: Mapping[str, SatelliteFile], refuse: Refuse) -> None:
    where = f"boards.{board.name}"
    if board.satellite not in designs:
        problem = f"the constellation has no such satellite; {suggest(board.satellite, designs)}"
        raise refuse(f"{where}.satellite", board.satellite, problem)
    try:
        parse_address(board.address)
    except ValueError as error:
        raise refuse(f"{where}.address", board.address, str(error)) from None
    if board.watchdog_device and not board.watchdog_device.startswith("/dev/"):
        raise refuse(f"{where}.watchdog_device", board.watchdog_device, "must be such as /dev/watchdog0, or left out")
    if board.rack_address and not board.rack_node:
        problem = "is for a board that is a rack node: say which by rack_node, or leave it out"
        raise refuse(f"{where}.rack_address", board.rack_address, problem)
    known = devices_of(designs[board.satellite])
    if board.rack_node:
        serves_a_node(board, designs[board.satellite], known, refuse)
    for name, device in board.devices.items():
        _check_device(f"{where}.devices.{name}", name, device, known, refuse)
    for name, device in board.devices.items():
        _check_references(f"{where}.devices.{name}.settings", device, board.devices, refuse)
    _check_seats(where, board, refuse)
    for index, guard in enumerate(board.guards):
        _check_guard(f"{where}.guards[{index}]", guard, board.devices, refuse)
        if guard.action == "power-off" and board.address == LOCAL:
            problem = "would power this computer off; stop-work, throttle or open-load can be had here"
            raise refuse(f"{where}.guards[{index}].action", guard.action, problem)


def _check_device(where: str, name: str, device: Device, known: Collection[str], refuse: Refuse) -> None:
    kind, _, rest = name.partition(".")
    if name not in known and not (kind in HELPERS and rest):
        near = suggest(name, known) if kind in ROLES else suggest(kind, (*ROLES, *HELPERS))
        helpers = ", ".join(f"{helper}.<name>" for helper in HELPERS)
        problem = f"the satellite has no such device; {near} What only other devices and guards use is one of {helpers}"
        raise refuse(where, name, problem if near.endswith("?") else problem.replace(" What", "; what"))
    if device.driver not in driver_names():
        problem = f"no such driver is installed; {suggest(device.driver, driver_names())}"
        raise refuse(f"{where}.driver", device.driver, problem)
    part, wanted = PARTS.get(device.driver), {**HELPERS, **ROLES}[kind]
    if part is not None and part not in wanted:
        fitting = ", ".join(sorted(driver for driver, its in PARTS.items() if its in wanted))
        problem = f"that is {part.value}, and {name} must be {_words(wanted)}: {fitting}"
        raise refuse(f"{where}.driver", device.driver, problem)
    quantity = device.settings.get("quantity", "power")
    if kind in {"meter", "array"} and quantity != "power":
        problem = f'must be "power" for a power meter; name the device sensor.{rest or kind} to watch it only'
        raise refuse(f"{where}.settings.quantity", quantity, problem)
    _check_address(where, device, refuse)


def _check_address(where: str, device: Device, refuse: Refuse) -> None:
    address = device.settings.get("address")
    if address is None or not device.driver.startswith(("i2c.", "gimbal.")):
        return
    if isinstance(address, bool) or not isinstance(address, int):
        raise refuse(f"{where}.settings.address", address, "must be a number without quotes, such as 0x40")
    if not FIRST_ADDRESS <= address <= LAST_ADDRESS:
        problem = f"must be 0x{FIRST_ADDRESS:02x} to 0x{LAST_ADDRESS:02x}: an I2C address has seven bits"
        raise refuse(f"{where}.settings.address", f"0x{address:02x}", problem)


def _check_references(where: str, device: Device, devices: Mapping[str, Device], refuse: Refuse) -> None:
    for key, wanted in REFERENCES.items():
        target = device.settings.get(key)
        if not isinstance(target, str) or not target:
            continue
        if target not in devices:
            problem = f"this board has no such device; {suggest(target, devices)}"
            raise refuse(f"{where}.{key}", target, problem)
        part = PARTS.get(devices[target].driver)
        if part is not None and part not in wanted:
            raise refuse(f"{where}.{key}", target, f"that is {part.value}, and must be {_words(wanted)}")


def _check_seats(where: str, board: BenchBoard, refuse: Refuse) -> None:
    taken: dict[str, tuple[str, str]] = {}
    for name, device in board.devices.items():
        for seat in seats_of(device.driver, device.settings):
            other, occupant = taken.setdefault(seat.place, (name, seat.occupant))
            if other != name and (not occupant or occupant != seat.occupant):
                what = f" as {occupant}" if occupant else ""
                problem = f"{seat.place} is taken{what} by {other}; one of the two must be another"
                raise refuse(f"{where}.devices.{name}.settings", dict(device.settings), problem)


def _check_guard(where: str, guard: Guard, devices: Mapping[str, Device], refuse: Refuse) -> None:
    if guard.device not in devices:
        problem = f"this board has no such device; {suggest(guard.device, devices)}"
        raise refuse(f"{where}.device", guard.device, problem)
    part = PARTS.get(devices[guard.device].driver)
    if part is not None and part not in MEASURES:
        problem = f"that is {part.value}: a guard watches one that measures"
        raise refuse(f"{where}.device", guard.device, problem)
    if guard.high is None and guard.low is None:
        raise refuse(where, guard.device, "a guard needs high, low, or both, in the device's own unit")
    if guard.high is not None and guard.low is not None and guard.low >= guard.high:
        raise refuse(f"{where}.low", guard.low, f"must be less than high = {guard.high:g}")
    _check_action(where, guard, devices, refuse)


def _check_action(where: str, guard: Guard, devices: Mapping[str, Device], refuse: Refuse) -> None:
    parts = {name: PARTS.get(device.driver) for name, device in devices.items()}
    if guard.action == "throttle" and not {Part.THROTTLE, None} & set(parts.values()):
        raise refuse(
            f"{where}.action", guard.action, "this board has no throttle device; add one, or stop-work instead"
        )
    if guard.action == "stop-work" and not {Part.NODE, None} & set(parts.values()):
        raise refuse(f"{where}.action", guard.action, "this board has no rack node whose work could be stopped")
    if guard.action != "open-load":
        if guard.load:
            raise refuse(f"{where}.load", guard.load, 'is for action = "open-load" only; leave it out')
        return
    # What flight software asks for is held by it: a line of GPIO has one owner.
    own = [name for name, part in parts.items() if part in {Part.SWITCH, None} and name.startswith("switch.")]
    if guard.load not in devices:
        problem = f"must be the switch that is opened; {suggest(guard.load, own)}"
        raise refuse(f"{where}.load", guard.load, problem)
    if guard.load not in own:
        problem = (
            'must be a switch of the guard\'s own, in series, such as "switch.cut-off": flight software holds others'
        )
        raise refuse(f"{where}.load", guard.load, problem)


def _check_instrument(instrument: BenchInstrument, designs: Mapping[str, SatelliteFile], refuse: Refuse) -> None:
    where = f"instruments.{instrument.name}"
    installed = [entry.name for entry in entry_points(group=INSTRUMENTS)]
    if instrument.driver not in installed:
        problem = f"no such instrument is installed; {suggest(instrument.driver, installed)}"
        raise refuse(f"{where}.driver", instrument.driver, problem)
    satellite, _, quantity = instrument.follows.partition(".")
    if instrument.follows and (satellite not in designs or not quantity):
        problem = f"must begin with a satellite and name a quantity of the plant, such as {min(designs)}.array.watts"
        raise refuse(f"{where}.follows", instrument.follows, problem)
    try:
        load_instrument(instrument)  # it connects to nothing yet
    except (DeviceError, InstrumentError) as error:
        raise refuse(f"{where}.settings", dict(instrument.settings), str(error)) from None


def _check_limits(bench: BenchFile, designs: Mapping[str, SatelliteFile], refuse: Refuse) -> None:
    for satellite, limits in bench.limits.items():
        if satellite not in designs:
            problem = f"the constellation has no such satellite; {suggest(satellite, designs)}"
            raise refuse(f"limits.{satellite}", satellite, problem)
        for name, sides in limits.items():
            try:
                default_limits().override(name, Limits(**sides))
            except UserError as error:
                raise refuse(f"limits.{satellite}.{name}", dict(sides), str(error)) from None


def _words(parts: Collection[Part]) -> str:
    return " or ".join(sorted(part.value for part in parts))
