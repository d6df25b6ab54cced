"""Talks to a board's agent: over ssh, or to a plain subprocess where the board is this computer."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any

from hil.boards.address import LOCAL, SshAddress, parse_address
from hil.boards.clocks import RoundTrip
from hil.boards.ssh import default_python, meaning_of, ssh_command
from skyrack.errors import UserError

CONNECT_SECONDS = 20.0
ANSWER_SECONDS = 10.0
LONGEST_LINE_BYTES = 64 << 20


class AgentError(UserError):
    """An agent refused; the sentence is its own."""


class BoardLostError(UserError):
    """There is no way to the board; the sentence says why, and what is to be done."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an agent runs: the address of a bench file, a Python that has Skyrack, a directory there."""

    name: str
    address: str = LOCAL
    python: str = ""
    directory: str = "~/.skyrack/board"

    @property
    def ssh(self) -> SshAddress | None:
        """The address over ssh; ``None`` for this computer."""
        try:
            return parse_address(self.address)
        except ValueError as error:
            raise UserError(f"board {self.name}: address {self.address!r}: {error}") from None

    @property
    def interpreter(self) -> str:
        """Python there."""
        return self.python or default_python(sys.executable, self.ssh)

    def command(self, *arguments: str, forwards: tuple[str, ...] = ()) -> list[str]:
        """The command that starts an agent there."""
        agent = [self.interpreter, "-m", "hil.boards.agent", "--directory", self.directory, *arguments]
        return agent if self.ssh is None else ssh_command(self.ssh, agent, forwards)


class AgentClient:
    """A connection to an agent. Make it with :meth:`open`, and close it; the board goes on with what it does."""

    def __init__(self, place: Place, process: asyncio.subprocess.Process) -> None:
        self.place = place
        self.hello: Mapping[str, Any] = {}
        self._process = process
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._arrived: dict[int, float] = {}
        self._said: deque[str] = deque(maxlen=30)
        self._greeted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._listen())]

    @classmethod
    async def open(
        cls, place: Place, *, connect_seconds: float = CONNECT_SECONDS, any_version: bool = False
    ) -> AgentClient:
        """Connect, and check that both sides have the same Skyrack.

        Raises:
            BoardLostError: there is no way there, no Python, no Skyrack; the sentence says what is to be done.
        """
        try:
            process = await start(place.command())
        except OSError as error:
            raise BoardLostError(
                f"board {place.name}: {place.command()[0]} cannot be started: {error.strerror}"
            ) from None
        client = cls(place, process)
        try:
            async with asyncio.timeout(connect_seconds):
                await client._greeted
        except TimeoutError:
            why = client.why()
            await client.close()
            raise BoardLostError(f"board {place.name}: no agent answered within {connect_seconds:g} s: {why}") from None
        except BaseException:
            await client.close()
            raise
        if not any_version:
            try:
                client.check_version()
            except BoardLostError:
                await client.close()
                raise
        return client

    def check_version(self) -> None:
        """Raises BoardLostError when the board has another Skyrack than this computer."""
        from hil.boards.agent import installed_version

        there, here = self.hello.get("version", ""), installed_version()
        if there != here:
            raise BoardLostError(
                f"board {self.place.name}: has Skyrack {there or 'of no version'}, and this computer {here}: "
                f"bring both to the same with 'skyrack hil provision'"
            )

    @property
    def alive(self) -> bool:
        """Whether the connection stands, as far as is known."""
        return self._process.returncode is None and not self._tasks[0].done()

    async def ask(self, do: str, *, seconds: float = ANSWER_SECONDS, **arguments: Any) -> Mapping[str, Any]:
        """Ask for something, and wait for the answer.

        Raises:
            AgentError: the agent refused; its sentence.
            BoardLostError: the connection ended, or no answer came in time.
        """
        number = next(self._ids)
        future: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            self._write(json.dumps({"id": number, "do": do, **arguments}).encode() + b"\n")
            async with asyncio.timeout(seconds):
                answer = await future
        except TimeoutError:
            raise BoardLostError(f"board {self.place.name}: no answer to {do} within {seconds:g} s") from None
        finally:
            self._waiting.pop(number, None)
        if "error" in answer:
            raise AgentError(f"board {self.place.name}: {answer['error']}")
        return dict(answer["ok"])

    async def round_trip(self, seconds: float = 3.0) -> tuple[RoundTrip, str]:
        """Ask the board's clock; the round trip, and the boot that the board's monotonic clock belongs to.

        Raises:
            BoardLostError: as :meth:`ask`.
        """
        sent = time.monotonic()
        answer = await self.ask("clock", seconds=seconds)
        received = answer["received"]
        return RoundTrip(sent, answer["monotonic_seconds"], received), answer["boot_id"]

    async def put(self, files: Mapping[str, bytes]) -> None:
        """Write files below the agent's directory. Raises as :meth:`ask`."""
        await self.ask("put", files={path: base64.b64encode(data).decode("ascii") for path, data in files.items()})

    async def get(self, path: str) -> bytes | None:
        """Read a file below the agent's directory; ``None`` when it is not there. Raises as :meth:`ask`."""
        answer = await self.ask("get", path=path)
        return None if answer["missing"] else base64.b64decode(answer["data"])

    async def close(self) -> None:
        """End the connection."""
        for task in self._tasks:
            task.cancel()
        await end(self._process)
        self._lose()

    def why(self) -> str:
        """What the far side said last, in words with a remedy."""
        return meaning_of("\n".join(self._said), self.place.ssh, self.place.interpreter, self._process.returncode)

    def _write(self, data: bytes) -> None:
        stdin = self._process.stdin
        if stdin is None or stdin.is_closing() or not self.alive:
            raise BoardLostError(f"board {self.place.name}: {self.why()}")
        stdin.write(data)

    async def _read(self) -> None:
        stdout = self._process.stdout
        try:
            while stdout is not None and (line := await stdout.readline()):
                self._take(line, time.monotonic())
        except (ValueError, OSError):
            pass
        # What was said on the way out tells why.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), 2.0)
            await asyncio.wait_for(asyncio.shield(self._tasks[1]), 0.5)
        self._lose()

    def _take(self, line: bytes, arrived: float) -> None:
        try:
            message = json.loads(line)
        except ValueError:
            message = None
        if not isinstance(message, dict):
            # A login shell that greets: no answer of ours.
            self._said.append(line.decode(errors="replace").strip())
            return
        if message.get("event") == "hello":
            self.hello = message
            if not self._greeted.done():
                self._greeted.set_result(None)
            return
        future = self._waiting.get(message.get("id", 0))
        if future is not None and not future.done():
            if "ok" in message:
                message["ok"]["received"] = arrived
            future.set_result(message)

    async def _listen(self) -> None:
        stderr = self._process.stderr
        with contextlib.suppress(ValueError, OSError):
            while stderr is not None and (line := await stderr.readline()):
                self._said.append(line.decode(errors="replace").rstrip())

    def _lose(self) -> None:
        error = BoardLostError(f"board {self.place.name}: {self.why()}")
        waiting: list[asyncio.Future[Any]] = [self._greeted, *self._waiting.values()]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
                # Nobody may be waiting any more.
                future.exception()


@contextlib.asynccontextmanager
async def connected(place: Place) -> AsyncIterator[AgentClient]:
    """An agent for as long as this lasts. Raises as :meth:`AgentClient.open`."""
    client = await AgentClient.open(place)
    try:
        yield client
    finally:
        await client.close()


async def start(command: list[str]) -> asyncio.subprocess.Process:
    """Start ssh, or an agent here: in a session of its own, so that Ctrl-C reaches only whoever runs this."""
    return await asyncio.create_subprocess_exec(
        *command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        limit=LONGEST_LINE_BYTES,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


async def end(process: asyncio.subprocess.Process, seconds: float = 1.0) -> None:
    """End a process that :func:`start` started."""
    if process.stdin is not None:
        process.stdin.close()
    for ask in (process.terminate, process.kill):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            ask()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), seconds)
