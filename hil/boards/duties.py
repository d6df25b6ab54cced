"""What a board of a run is there for, to fly a satellite or be one of its rack nodes: files and programs for that."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from flight.board import Board, write_board
from hil.boards.client import AgentClient, Place
from hil.boards.derive import BENCH, CONSTELLATION, Derived, design_of, satellite_file
from hil.boards.file import BenchBoard
from hil.boards.kept import FLIGHT, GUARDING, GUARDS, NODES
from hil.boards.racks import KEY_FILE, Seat
from hil.boards.tunnel import Forward, Tunnel
from hil.sil.system import LINKS, System

ANSWER_SECONDS = 2.5
TUNNEL_SECONDS = 20.0
CLOCK_FILE = "clock.json"


@dataclass(frozen=True, slots=True)
class Order:
    """Files for a board, by name below its directory, and the programs that it is to keep."""

    files: Mapping[str, bytes]
    programs: list[dict[str, Any]]


class Duty(Protocol):
    """What a board is there for. ``main`` is the program without which it is not; ``subject`` begins a sentence."""

    main: str
    subject: str

    async def order(self, client: AgentClient) -> Order:
        """What the board needs now. Raises BoardLostError and AgentError."""
        ...

    async def close(self) -> None:
        """Let go of what was opened for the board."""
        ...


class Flying:
    """A board that flies a satellite: plant and links reach it through a tunnel when it is elsewhere."""

    main = FLIGHT
    subject = "its flight software"

    def __init__(
        self,
        board: BenchBoard,
        place: Place,
        system: System,
        derived: Derived,
        client: Callable[[], AgentClient | None],
        tell: Callable[[str], None],
    ) -> None:
        self._board = board
        self._place = place
        self._system = system
        self._derived = derived
        self._client = client
        self._tell = tell
        self._tunnel: Tunnel | None = None
        self._tunnelling: asyncio.Task[None] | None = None

    async def order(self, client: AgentClient) -> Order:
        attachments = await self._way_to_plant(client)
        return Order(self._files(client.hello, attachments), self._programs(client.hello))

    async def close(self) -> None:
        if self._tunnelling is not None:
            self._tunnelling.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tunnelling

    async def _way_to_plant(self, client: AgentClient) -> dict[str, str]:
        """Attachments: where plant, links and metrics are for the board; a tunnel is made for one that is elsewhere."""
        system, satellite = self._system, self._board.satellite
        if self._place.ssh is None:
            ports = {"metrics": system.metrics[satellite], **system.gates[satellite]}
            return _attachments(system.plant_url, ports)
        wanted = {"plant": 2, "metrics": 1, **dict.fromkeys(LINKS, 1)}
        ports = dict(await client.ask("ports", wanted=wanted))
        tunnel = self._tunnel
        if tunnel is None:
            here = int(system.plant_url.rpartition(":")[2])
            forwards = [
                Forward(here, ports["plant"]),
                Forward(here + 1, ports["plant"] + 1),
                *(Forward(system.gates[satellite][link], ports[link]) for link in LINKS),
                Forward(system.metrics[satellite], ports["metrics"], from_board=True),
            ]
            tunnel = self._tunnel = Tunnel(self._place, forwards, self._tell)
            self._tunnelling = asyncio.create_task(tunnel.run(self._is_reached, self._release), name="tunnel")
        with contextlib.suppress(TimeoutError):
            # Without it the services start all the same: their sensors are silent until it opens.
            async with asyncio.timeout(TUNNEL_SECONDS):
                await tunnel.is_open.wait()
        return _attachments(f"tcp://127.0.0.1:{ports['plant']}", ports)

    def _is_reached(self) -> bool:
        client = self._client()
        return client is not None and client.alive

    async def _release(self) -> None:
        client = self._client()
        if client is not None:
            await client.ask("release-tunnel", seconds=ANSWER_SECONDS)

    def _files(self, hello: Mapping[str, Any], attachments: Mapping[str, str]) -> dict[str, bytes]:
        satellite, keys = self._board.satellite, self._system.keys
        run_dir = str(hello["run_dir"])
        board = Board(
            satellite=satellite,
            constellation_file=CONSTELLATION,
            satellite_file=satellite_file(satellite),
            run_dir=run_dir,
            state_dir="state",
            log_dir="logs",
            clock_file=CLOCK_FILE,
            keys_dir="keys",
            attachments={
                **attachments,
                "board.notes": f"{run_dir}/{NODES}",
                "board.guards": f"{hello['directory']}/{GUARDS}",
            },
            watchdog_device=self._board.watchdog_device,
        )
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory) / "board.toml"
            write_board(path, board)
            content = path.read_bytes()
        files = {
            **self._derived.files(),
            "board.toml": content,
            # Its own keys and the ring: no other party's secrets leave this computer.
            f"keys/{satellite}.key": (keys / f"{satellite}.key").read_bytes(),
            "keys/keys.json": (keys / "keys.json").read_bytes(),
        }
        rack = self._derived.racks.get(satellite)
        return files if rack is None else {**files, KEY_FILE: rack.pair.encoded()}

    def _programs(self, hello: Mapping[str, Any]) -> list[dict[str, Any]]:
        python, directory = str(hello["executable"]), str(hello["directory"])
        argv = [python, "-m", "flight", "executive", "--board", f"{directory}/board.toml"]
        ready = f"{hello['run_dir']}/executive.pub"
        log = f"{directory}/logs/flight.out"
        flight = {"name": FLIGHT, "argv": argv, "log": log, "stage": 1, "ready": ready}
        return [*_guards(self._board, hello), flight]


class Serving:
    """A board that is a rack node: the board that flies its satellite reaches it by itself."""

    subject = "its rack node"

    def __init__(self, board: BenchBoard, derived: Derived) -> None:
        self.main = f"node.{board.rack_node}"
        self._board = board
        self._derived = derived
        self._seat: Seat = next(seat for seat in derived.racks[board.satellite].seats if seat.board == board.name)

    async def order(self, client: AgentClient) -> Order:
        files = {**self._derived.files_of_node(self._board), KEY_FILE: self._seat.pair.encoded()}
        return Order(files, self._programs(client.hello))

    async def close(self) -> None:
        """Nothing was opened."""

    def _programs(self, hello: Mapping[str, Any]) -> list[dict[str, Any]]:
        python, directory, run_dir = str(hello["executable"]), str(hello["directory"]), str(hello["run_dir"])
        ready = f"{run_dir}/node.ready"
        options = {
            "node": self._board.rack_node,
            "satellite": self._board.satellite,
            "satellite-file": f"{directory}/{design_of(self._board)}",
            "clock": f"{directory}/{CLOCK_FILE}",
            "bind": self._seat.bind,
            "key": f"{directory}/{KEY_FILE}",
            "allow": self._seat.allowed,
            "state": f"{directory}/state",
            "ready": ready,
            "notes": f"{run_dir}/{NODES}",
            "guards": f"{directory}/{GUARDS}",
        }
        argv = [python, "-m", "hil.devices.remote_node"]
        argv += [f"--{key}={value}" for key, value in options.items()]
        node = {"name": self.main, "argv": argv, "log": f"{directory}/logs/node.out", "stage": 1, "ready": ready}
        return [*_guards(self._board, hello), node]


def _guards(board: BenchBoard, hello: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The program that guards a board, before anything can load it."""
    if not board.guards:
        return []
    python, directory = str(hello["executable"]), str(hello["directory"])
    argv = [python, "-m", "hil.boards.guarding", "--bench", f"{directory}/{BENCH}", "--board", board.name]
    argv += ["--satellite", f"{directory}/{design_of(board)}", "--directory", directory]
    return [{"name": GUARDING, "argv": argv, "log": f"{directory}/logs/guards.out", "stage": 0}]


def _attachments(plant_url: str, ports: Mapping[str, int]) -> dict[str, str]:
    return {
        "plant": plant_url,
        "metrics.port": f"127.0.0.1:{ports['metrics']}",
        **{f"backhaul.{link}": f"mqtt://127.0.0.1:{ports[link]}" for link in LINKS},
    }
