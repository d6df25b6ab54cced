"""The real rig: a board of a bench file behind its agent, and the bench that flies it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

from hil.acceptance.flying import BenchFlight, fly_bench
from hil.acceptance.model import StepError
from hil.boards.client import AgentClient, BoardLostError, Place
from hil.boards.clocks import RoundTrip
from hil.boards.file import BenchBoard, BenchFile, load_bench_and_designs
from hil.boards.ssh import ssh_command
from skyrack import files
from skyrack.errors import UserError
from skyrack.satellite import load_constellation

BENCH, SATELLITE = "bench.toml", "satellite.toml"


class UnderTest(Place):
    """A place whose agent is the one of acceptance."""

    __slots__ = ()

    def command(self, *arguments: str, forwards: tuple[str, ...] = ()) -> list[str]:
        """The command that starts it."""
        agent = [self.interpreter, "-m", "hil.acceptance.board_agent", "--directory", self.directory, *arguments]
        return agent if self.ssh is None else ssh_command(self.ssh, agent, forwards)


class LiveRig:
    """Satisfies :class:`hil.acceptance.rig.Rig`. Make it with :func:`live_rig`."""

    def __init__(self, path: Path, bench: BenchFile, board: BenchBoard, place: Place, *, allow_reset: bool) -> None:
        self.board = board
        self.hello: Mapping[str, Any] = {}
        self.devices: Mapping[str, str] = {}
        self.nodes: Mapping[str, Mapping[str, Any]] = {}
        self.tell: Callable[[str], None] = lambda _text: None
        self._path = path
        self._bench = bench
        self._place = place
        self._allow_reset = allow_reset
        self._client: AgentClient | None = None

    async def open(self) -> None:
        """Connect, and have the board's devices opened.

        Raises:
            UserError: the board cannot be reached, or a file does not add up; the sentence says why.
        """
        await self.close()
        self._client = await AgentClient.open(self._place)
        self.hello = self._client.hello
        constellation = files.find("constellations", self._bench.constellation, beside=self._path)
        loaded, _ = load_constellation(constellation)
        design = next(item.file for item in loaded.satellites if item.name == self.board.satellite)
        satellite = files.find("satellites", design, beside=constellation)
        await self._client.put({BENCH: self._path.read_bytes(), SATELLITE: satellite.read_bytes()})
        opened = await self.ask("accept-open", seconds=30.0, bench=BENCH, satellite=SATELLITE, board=self.board.name)
        self.devices, self.nodes = opened["devices"], opened["nodes"]

    async def close(self) -> None:
        """Let go of the board."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def now(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def ask(self, do: str, *, seconds: float = 10.0, **arguments: Any) -> Mapping[str, Any]:
        if self._client is None or not self._client.alive:
            raise UserError(f"board {self.board.name}: the connection is lost")
        return await self._client.ask(do, seconds=seconds, **arguments)

    async def round_trip(self) -> tuple[RoundTrip, float]:
        sent, utc = time.monotonic(), time.time()
        answer = await self.ask("clock", seconds=3.0)
        trip = RoundTrip(sent, answer["monotonic_seconds"], answer["received"])
        return trip, answer["realtime_seconds"] - (utc + trip.error)

    async def return_of(self, boot_id: str, seconds: float) -> Mapping[str, Any]:
        deadline = time.monotonic() + seconds
        why = f"it was never away (boot id {boot_id} is still in force)"
        while time.monotonic() < deadline:
            if self._client is not None and self._client.alive:
                with contextlib.suppress(UserError):
                    # An agent that is asked goes on to answer until its board is gone.
                    await self.ask("clock", seconds=2.0)
                    await asyncio.sleep(0.5)
                    continue
            try:
                await self.open()
            except BoardLostError as error:
                why = str(error)
                await asyncio.sleep(1.0)
                continue
            if self.hello["boot_id"] != boot_id:
                return self.hello
            why = f"it was never away (boot id {boot_id} is still in force)"
        raise StepError(f"board {self.board.name} did not come back within {seconds:.0f} s: {why}")

    def flying(self) -> AbstractAsyncContextManager[BenchFlight]:
        return self._flying()

    @contextlib.asynccontextmanager
    async def _flying(self) -> AsyncIterator[BenchFlight]:
        # The devices are the flight services' from here on.
        await self.ask("accept-let-go")
        name = f"accept-{self.board.name}"
        async with fly_bench(self._path, self.board.name, name, self._kill, self._cut, self._tell) as flight:
            yield flight
        await self.open()

    def _tell(self, text: str) -> None:
        self.tell(text)

    async def _kill(self, directory: str, service: str) -> int:
        return int((await self.ask("accept-kill", directory=directory, service=service))["pid"])

    async def _cut(self, directory: str) -> str:
        if self._place.ssh is not None and self._allow_reset:
            boot_id = str(self.hello["boot_id"])
            await self.ask("accept-reset", how="reboot")
            await self.return_of(boot_id, 240.0)
            return "reboot -f: no service was asked, nothing was unmounted"
        answer = await self.ask("accept-reset", how="kill-all", directory=directory)
        return f"SIGKILL of all {answer['killed']} processes of the flight at once; the board itself stayed on"


@contextlib.asynccontextmanager
async def live_rig(path: Path, board: str, directory: Path, *, allow_reset: bool) -> AsyncIterator[LiveRig]:
    """A board of a bench file, connected.

    Raises:
        UserError: a file does not add up, there is no such board, or it cannot be reached.
    """
    bench, _, _ = load_bench_and_designs(path)
    names = [each.name for each in bench.boards]
    if not board and len(names) > 1:
        raise UserError(f"{path}: it has {len(names)} boards: say which with --board: {', '.join(names)}")
    found = next((each for each in bench.boards if each.name == (board or names[0])), None)
    if found is None:
        raise UserError(f"{path}: --board {board}: {files.suggest(board, names)}")
    if found.rack_node:
        raise UserError(
            f"{path}: --board {found.name}: it is {found.rack_node} of {found.satellite}, and acceptance has a board "
            f"fly a satellite: name a bench in which it flies a satellite, such as one-pi with its address"
        )
    local = found.address == "local"
    where = str((directory / "agent").absolute()) if local else "~/.skyrack/acceptance"
    rig = LiveRig(
        path, bench, found, UnderTest(found.name, found.address, found.python, where), allow_reset=allow_reset
    )
    await rig.open()
    try:
        yield rig
    finally:
        await rig.close()
