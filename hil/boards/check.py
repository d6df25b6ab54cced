"""Examines the boards of a bench from the bench computer: those here in this process, others through their agents."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import msgspec

from flight.hal import DeviceError, Quality, Reading
from hil.boards.address import LOCAL
from hil.boards.check_here import BoardCheck
from hil.boards.client import AgentClient, AgentError, BoardLostError, Place
from hil.boards.file import BenchBoard, BenchFile, BenchInstrument
from hil.boards.resolve import ResolvedBoard, resolve
from hil.boards.watched import Row, Watched
from hil.devices.host import Host, attach
from hil.instruments.protocol import InstrumentError, load_instrument
from skyrack import files
from skyrack.errors import UserError
from skyrack.satellite import ConstellationFile, SatelliteFile

PERIOD_SECONDS = 0.5
_BACKOFF_SECONDS = 2.0
# Exercises run one after the other, and a fan takes its time.
_ANSWER_SECONDS, _EXERCISE_SECONDS = 15.0, 120.0


@dataclass(slots=True)
class BoardView:
    """What is known of a board: its devices, or why nothing is; ``notes`` are what looks odd in its bench file.

    The instruments of the bench computer are one view, too: they fly no satellite. ``rack_node`` is the node of the
    satellite that the board is, and empty for one that flies the satellite.
    """

    name: str
    address: str
    satellite: str = ""
    rack_node: str = ""
    notes: tuple[str, ...] = ()
    problem: str = ""
    rows: list[Row] = field(default_factory=list)

    @property
    def serves(self) -> str:
        """What the board is there for."""
        if self.rack_node:
            return f"is {self.rack_node} of {self.satellite}"
        return f"flies {self.satellite}" if self.satellite else ""

    @property
    def good(self) -> bool:
        """Whether the board can be flown with."""
        return not self.problem and all(row.good for row in self.rows)


class Source(Protocol):
    """A board's devices, wherever it is."""

    async def look(self, exercise: str) -> list[Row]:
        """Read all devices once; exercise them, too ("safe", "all"). Raises UserError when the board is lost."""
        ...

    async def close(self) -> None:
        """Let go."""
        ...


class Here:
    """The board is this computer; ``host`` is another one in tests."""

    def __init__(self, resolved: ResolvedBoard, design: SatelliteFile, host: Host | None) -> None:
        attachments = attach(host) if host is not None else {}
        self._check = BoardCheck(resolved.devices, resolved.board.satellite, design, attachments)

    async def look(self, exercise: str) -> list[Row]:
        rows = await self._check.look()
        return await self._check.exercise(dangerous=exercise == "all") if exercise else rows

    async def close(self) -> None:
        await self._check.close()


class _Terminals:
    """An instrument as a meter of what flows at its terminals; it is opened when it is first read, and again."""

    unit = "W"

    def __init__(self, described: BenchInstrument) -> None:
        try:
            self._instrument = load_instrument(described)
        except InstrumentError as error:
            raise DeviceError(str(error)) from None
        self.how = ""

    async def read(self) -> Reading[float]:
        """Identity and limits first, then watts. Its output stays off."""
        try:
            if not self.how:
                self.how = await self._instrument.open()
            trip = await self._instrument.trip()
            watts = (await self._instrument.measure()).watts
        except InstrumentError as error:
            self.how = ""
            return Reading(math.nan, math.nan, Quality.ABSENT, str(error))
        problem = f"its protection switched it off: {trip}" if trip else ""
        return Reading(watts, math.nan, Quality.STALE if trip else Quality.GOOD, problem)

    async def close(self) -> None:
        """Let go of the connection."""
        await self._instrument.close()


class Instruments:
    """Instruments of the bench computer."""

    def __init__(self, described: Sequence[BenchInstrument]) -> None:
        self._made: dict[str, _Terminals] = {}
        self._described = {each.name: each for each in described}
        self._watched = [Watched(each.name, each.driver, self._make) for each in described]

    def _make(self, name: str) -> _Terminals:
        if name not in self._made:
            self._made[name] = _Terminals(self._described[name])
        return self._made[name]

    async def look(self, exercise: str) -> list[Row]:
        return list(await asyncio.gather(*(one.look() for one in self._watched)))

    async def close(self) -> None:
        for made in self._made.values():
            await made.close()


class There:
    """The board is reached through its agent; a connection that is lost is made anew."""

    def __init__(self, board: BenchBoard, content: Mapping[str, bytes]) -> None:
        directory = board.directory or "~/.skyrack/board"
        self._place = Place(board.name, board.address, board.python, directory)
        self._board = board.name
        self._content = content
        self._client: AgentClient | None = None

    async def look(self, exercise: str) -> list[Row]:
        if self._client is None:
            self._client = await AgentClient.open(self._place)
            await self._client.put(self._content)
        seconds = _EXERCISE_SECONDS if exercise else _ANSWER_SECONDS
        bench, satellite = self._content
        try:
            answer = await self._client.ask(
                "check", seconds=seconds, bench=bench, board=self._board, satellite=satellite, exercise=exercise
            )
        except BoardLostError:
            await self.close()
            raise
        return msgspec.convert(answer["rows"], list[Row])

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()


Tell = Callable[[Sequence[BoardView]], None]


@dataclass(frozen=True, slots=True)
class Bench:
    """A bench that is read: the file, what it flies, where it lies."""

    path: Path
    file: BenchFile
    constellation: ConstellationFile
    designs: Mapping[str, SatelliteFile]


async def examine(
    bench: Bench, boards: Sequence[str], seconds: float, exercise: str, tell: Tell, host: Host | None = None
) -> list[BoardView]:
    """Look at boards for so many seconds; ``tell`` hears of every look.

    Raises:
        UserError: the bench has no such board.
    """
    names = [board.name for board in bench.file.boards]
    for name in boards:
        if name not in names:
            problem = f"the bench has no such board; {files.suggest(name, names)}"
            raise UserError(f"--board {name}: {problem}")
    chosen = [board for board in bench.file.boards if not boards or board.name in boards]
    views: list[BoardView] = []
    sources: list[Source] = []
    for board in chosen:
        design = bench.designs[board.satellite]
        resolved = resolve(bench.file, board.name, design)
        views.append(BoardView(board.name, board.address, board.satellite, board.rack_node, resolved.notes))
        sources.append(_source(bench, board, resolved, design, host))
    if bench.file.instruments and not boards:
        views.append(BoardView("instruments", LOCAL))
        sources.append(Instruments(bench.file.instruments))

    async def one(source: Source, view: BoardView) -> None:
        try:
            await _watch(source, view, seconds, exercise, lambda: tell(views))
        finally:
            await source.close()

    await asyncio.gather(*(one(source, view) for source, view in zip(sources, views, strict=True)))
    return views


def _source(
    bench: Bench, board: BenchBoard, resolved: ResolvedBoard, design: SatelliteFile, host: Host | None
) -> Source:
    if board.address == LOCAL:
        return Here(resolved, design, host)
    named = next(item.file for item in bench.constellation.satellites if item.name == board.satellite)
    constellation = files.find("constellations", bench.file.constellation, beside=bench.path)
    satellite = files.find("satellites", named, beside=constellation)
    return There(board, {"check/bench.toml": bench.path.read_bytes(), "check/satellite.toml": satellite.read_bytes()})


async def _watch(source: Source, view: BoardView, seconds: float, exercise: str, tell: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    end: float | None = None
    while True:
        try:
            # A device that comes later is tried when it comes.
            view.rows = await source.look(exercise)
            view.problem = ""
        except AgentError as error:
            # The board is there, and says what is wrong with the bench file or its software.
            view.problem = str(error)
            return tell()
        except UserError as error:
            view.problem = str(error)
            with contextlib.suppress(UserError):
                await source.close()
            await asyncio.sleep(min(_BACKOFF_SECONDS, seconds))
        # What trying takes is not a part of the looking.
        end = loop.time() + seconds if end is None else end
        tell()
        if loop.time() >= end:
            return None
        await asyncio.sleep(min(PERIOD_SECONDS, max(0.0, end - loop.time())))
