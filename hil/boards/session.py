"""One board of a run: connected, agreed about the time, given its files, its programs started and found again.

A board that is lost is looked for until it comes back. Whether only the network was away (its services went on, and
are found) or the board was booted (they are started again, with an anchor for its new clock), the satellite goes on
from what it keeps on its disk. What the programs are is the board's duty (:mod:`hil.boards.duties`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from flight.compute.shim import tree
from hil.boards.client import AgentClient, AgentError, BoardLostError, Place
from hil.boards.clocks import Agreement, OffsetEstimator, anchor_on_board, needs_steering
from hil.boards.derive import Derived
from hil.boards.duties import ANSWER_SECONDS, CLOCK_FILE, Duty, Flying, Serving
from hil.boards.file import BenchBoard
from hil.sil.system import System
from skyrack.clock import Anchor, read_anchor

LOOK_SECONDS = 0.5
CLOCK_SECONDS = 1.0
FIRST_ROUND_TRIPS = 12
START_SECONDS = 150.0
CRASHES = 3
STOP_SECONDS = 6.0
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 5.0
ALONE = "~/.skyrack/board.lock"
BOARDS_FILE = "bench.json"
"""In the directory of a run that is up: bench file, and how each board's agent is reached."""

OnEvent = Callable[[str, str], None]


@dataclass(frozen=True, slots=True)
class BoardView:
    """What is known of a board now.

    ``rack_node`` is the node of the satellite that the board is, and empty for one that flies the satellite. ``link``
    is "connecting", "up" or "lost"; ``anchor_error_seconds`` is how far the board's mission clock is from the bench
    computer's (host seconds), give or take the agreement's error. ``nodes``, ``guards`` and ``services`` are as the
    agent's status says.
    """

    name: str
    satellite: str
    rack_node: str = ""
    link: str = "connecting"
    problem: str = ""
    hello: Mapping[str, Any] = field(default_factory=dict)
    agreement: Agreement | None = None
    same_clock: bool = False
    anchor_error_seconds: float = 0.0
    nodes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    guards: Mapping[str, Any] = field(default_factory=dict)
    services: Mapping[str, int] = field(default_factory=dict)
    losses: int = 0
    boots: int = 0
    steered: int = 0
    lost_seconds: float = 0.0


class BoardSession:
    """See the module's docstring. ``connect`` once, then ``run`` until cancelled, then ``stop``."""

    def __init__(
        self, board: BenchBoard, place: Place, system: System, derived: Derived, run_id: str, on_event: OnEvent
    ) -> None:
        self.board = board
        self.place = place
        self.view = BoardView(board.name, board.satellite, board.rack_node)
        self._run_id = run_id
        self._tell = on_event
        self._anchor = read_anchor(system.clock_file)
        self._estimator = OffsetEstimator()
        self._client: AgentClient | None = None
        self._boot_id = ""
        self._offset_in_force: float | None = None
        self._begun = False
        self._lost_at: float | None = None
        self._duty: Duty = (
            Serving(board, derived)
            if board.rack_node
            else Flying(board, place, system, derived, lambda: self._client, lambda text: on_event(board.name, text))
        )

    @property
    def client(self) -> AgentClient | None:
        """The connection, while there is one."""
        return self._client

    @property
    def is_remote(self) -> bool:
        """Whether the board is another computer."""
        return self.place.ssh is not None

    async def connect(self) -> None:
        """Reach the board for the first time, and start its services.

        Raises:
            UserError: it cannot be reached, or its services do not start; the sentence says what is to be done.
        """
        self._client = await self._reach()

    async def run(self) -> None:
        """Stay with the board until cancelled; a loss is told, and mended."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                if self._client is None:
                    self._client = await self._reach()
                    backoff = FIRST_BACKOFF_SECONDS
                await self._follow(self._client)
            except (BoardLostError, AgentError) as error:
                await self._lose(str(error))
                await asyncio.sleep(backoff)
                backoff = min(2.0 * backoff, LONGEST_BACKOFF_SECONDS)

    async def stop(self) -> bool:
        """End the board's services and let go of it; False when it could not be told."""
        told = False
        if self._client is not None:
            with contextlib.suppress(BoardLostError, AgentError):
                await self._client.ask("stop", seconds=STOP_SECONDS + 1.0)
                told = True
        await self._duty.close()
        if self._client is not None:
            await self._client.close()
        return told

    async def _reach(self) -> AgentClient:
        client = await AgentClient.open(self.place)
        self._client = client
        boot_id = str(client.hello["boot_id"])
        was_booted = bool(self._boot_id) and boot_id != self._boot_id
        self.view = replace(self.view, hello=client.hello, boots=self.view.boots + was_booted)
        for _ in range(FIRST_ROUND_TRIPS):
            await self._ask_time(client)
        status = await client.ask("status")
        if not self._begun or was_booted or not status["kept"]:
            await self._begin(client, boot_id)
        else:
            self._tell(self.board.name, f"is back; {self._duty.subject} went on")
        if was_booted:
            self._tell(self.board.name, f"was booted; {self._duty.subject} was started again")
        self._boot_id = boot_id
        if self._lost_at is not None:
            away = time.monotonic() - self._lost_at
            self.view = replace(self.view, lost_seconds=self.view.lost_seconds + away)
            self._lost_at = None
        self.view = replace(self.view, link="up", problem="")
        return client

    async def _begin(self, client: AgentClient, boot_id: str) -> None:
        """Give the board its files and start its services."""
        if not self._begun:
            # What an earlier run of this name left there has another time, and other ports.
            await client.ask("stop", seconds=STOP_SECONDS + 2.0)
        order = await self._duty.order(client)
        await client.put(order.files)
        await self._write_anchor(client, boot_id)
        alone = ALONE if self.is_remote else ""
        # What starts slowly is slow to answer, too.
        await client.ask("start", seconds=START_SECONDS, run_id=self._run_id, programs=order.programs, alone=alone)
        await self._until_ready(client)
        self._begun = True

    async def _until_ready(self, client: AgentClient) -> None:
        deadline = time.monotonic() + START_SECONDS
        who = f"board {self.board.name}: {self._duty.subject}"
        while True:
            status = await client.ask("status")
            states = {process["name"]: process for process in status["processes"]}
            main = states.get(self._duty.main, {})
            if main.get("state") == "running":
                return
            if main.get("restarts", 0) >= CRASHES:
                raise BoardLostError(f"{who} cannot be started: {main['reason']}")
            if not status["kept"]:
                why = status["problem"] or "nothing was said"
                raise BoardLostError(f"{who} cannot be started: {why}")
            if time.monotonic() > deadline:
                raise BoardLostError(f"{who} could not be brought up within {START_SECONDS:g} s")
            await asyncio.sleep(0.1)

    async def _ask_time(self, client: AgentClient) -> None:
        trip, boot_id = await client.round_trip(ANSWER_SECONDS)
        self._estimator.add(trip, boot_id)
        # Processes of one boot share one clock, whatever ways lie between them.
        same = boot_id == tree.boot_id()
        known = self._estimator.agreement(time.monotonic())
        if known is not None:
            error = 0.0 if same or self._offset_in_force is None else self._offset_in_force - known.offset_seconds
            self.view = replace(self.view, agreement=known, same_clock=same, anchor_error_seconds=error)

    async def _write_anchor(self, client: AgentClient, boot_id: str) -> None:
        known = self._estimator.agreement(time.monotonic())
        offset = 0.0 if known is None or self.view.same_clock else known.offset_seconds
        anchor: Anchor = anchor_on_board(self._anchor, offset, boot_id)
        values = {
            "mission_time_seconds": anchor.mission_time_seconds,
            "host_time_seconds": anchor.host_time_seconds,
            "rate": anchor.rate,
            "monotonic_seconds": anchor.monotonic_seconds,
            "boot_id": anchor.boot_id,
        }
        await client.put({CLOCK_FILE: json.dumps(values).encode()})
        self._offset_in_force = offset

    async def _follow(self, client: AgentClient) -> None:
        """Ask the time and how all is, again and again. Raises when the board is lost."""
        ask_time_at = 0.0
        while True:
            now = time.monotonic()
            if now >= ask_time_at:
                ask_time_at = now + CLOCK_SECONDS
                await self._ask_time(client)
                await self._steer(client)
            status = await client.ask("status", seconds=ANSWER_SECONDS)
            guards = status["guards"]
            for acted in guards.get("acted", ()):
                if acted not in self.view.guards.get("acted", ()):
                    self._tell(self.board.name, f"a guard acted: {acted.get('why', acted)}")
            self.view = replace(
                self.view, nodes=status["nodes"], guards=guards, services=status["services"], problem=status["problem"]
            )
            if not status["kept"]:
                self._tell(self.board.name, f"{self._duty.subject} ended; it is started again")
                await self._begin(client, self._boot_id)
            await asyncio.sleep(LOOK_SECONDS)

    async def _steer(self, client: AgentClient) -> None:
        """Put the board's mission time right where it is surely off; its services slew to it."""
        known = self.view.agreement
        if known is None or self._offset_in_force is None or self.view.same_clock:
            return
        if needs_steering(self._offset_in_force, known):
            await self._write_anchor(client, self._boot_id)
            self.view = replace(self.view, steered=self.view.steered + 1)

    async def _lose(self, why: str) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        if self.view.link != "lost":
            self._lost_at = time.monotonic()
            self._tell(self.board.name, f"is lost: {why}")
            self.view = replace(self.view, link="lost", losses=self.view.losses + 1)
        self.view = replace(self.view, problem=why)


def place_of(board: BenchBoard, instance_directory: Path, run: str) -> Place:
    """Where a board's agent runs for a run of this name; a board of this computer keeps its files with the run's."""
    if board.directory:
        directory = f"{board.directory}/{run}"
    elif board.address == "local":
        directory = str(instance_directory / "boards" / board.name)
    else:
        directory = f"~/.skyrack/runs/{run}"
    return Place(board.name, board.address, board.python, directory)


def run_identity(identity: str) -> str:
    """What marks the processes of a run on its boards."""
    return f"{identity}-{os.getpid()}"
