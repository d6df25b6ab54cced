"""Faults of a live run: who keeps it carries out its schedule, and takes more of them over a socket.

The socket ``control`` lies in the run's directory of sockets and belongs to its user alone. One request a connection,
JSON in one line, and one answer:

    {"do": "begin", "fault": {"kind": "pump-stop", "satellite": "sat-1", "duration_seconds": 300}}
    {"do": "end", "kind": "pump-stop", "satellite": "sat-1", "fault": {...}}   what began over the socket, or all of it
    {"do": "list"}

    {"ok": [{"kind": ..., "satellite": ..., "target": ..., "began_seconds": ..., "ends_seconds": ... or null}]}
    {"error": "one sentence"}
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from hil.fault_schedule import FaultSchedule
from hil.faults import Fault, parse_faults
from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from hil.faults import Effects
    from skyrack.clock import Clock

NAME: Final = "control"
ANSWER_SECONDS: Final = 10.0
_LONGEST: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class _Live:
    fault: Fault
    began_seconds: float
    ends_seconds: float | None

    def told(self) -> dict[str, Any]:
        return {
            "kind": self.fault.kind,
            "satellite": self.fault.satellite,
            "target": self.fault.target,
            "began_seconds": self.began_seconds,
            "ends_seconds": self.ends_seconds,
        }


class FaultControl:
    """``open`` it in the loop, and ``close`` it; what is still on then goes with the run."""

    def __init__(
        self,
        effects: Effects,
        clock: Clock,
        start_seconds: float,
        scheduled: Sequence[Fault],
        tell: Callable[[str, str], None] = lambda _name, _text: None,
    ) -> None:
        """``scheduled`` are carried out by themselves, from ``start_seconds``.

        Raises:
            UserError: one of them cannot be done in this run.
        """
        self._effects = effects
        self._clock = clock
        self._tell = tell
        mine = [fault for fault in scheduled if fault.needs not in {"plant", "links"}]
        for fault in scheduled:
            effects.check(fault)
        self._schedule = FaultSchedule(mine, start_seconds, effects)
        self._live: list[_Live] = []
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, directory: Path) -> None:
        """Begin with the schedule, and listen.

        Raises:
            OSError: the socket cannot be made.
        """
        path = directory / NAME
        self._server = await asyncio.start_unix_server(self._serve, path, limit=_LONGEST)
        path.chmod(0o600)
        self._spawn(self._carry_out())

    async def close(self) -> None:
        """Listen no more, and leave the schedule."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def begin(self, table: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Bring a fault on, now.

        Raises:
            UserError: there is no such fault, or it cannot be done in this run.
        """
        (fault,) = parse_faults([{**table, "at_seconds": 0.0}], "fault")
        self._effects.check(fault)
        fault.begin(self._effects)
        now = self._clock.now()
        lasts = fault.duration_seconds if fault.lasts else None
        live = _Live(fault, now, None if lasts is None else now + lasts)
        self._tell(fault.satellite, f"fault {fault.kind} {fault.target}".strip())
        if fault.lasts:
            self._live.append(live)
            if live.ends_seconds is not None:
                self._spawn(self._end_later(live))
        return [live.told()]

    def end(self, wanted: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Mend what was brought on: all that fits ``kind``, ``satellite`` and ``target``, where they are given.

        Raises:
            UserError: nothing fits.
        """
        found = [
            live
            for live in self._live
            if all(not wanted.get(key) or live.told()[key] == wanted[key] for key in ("kind", "satellite", "target"))
        ]
        if not found:
            on = ", ".join(f"{live.fault.kind} of {live.fault.satellite}" for live in self._live) or "none is on"
            raise UserError(f"there is no such fault to end: {on}")
        for live in found:
            self._end(live)
        return [live.told() for live in found]

    def listed(self) -> list[dict[str, Any]]:
        """What was brought on over the socket and has not ended."""
        return [live.told() for live in self._live]

    def _end(self, live: _Live) -> None:
        if live in self._live:
            self._live.remove(live)
            live.fault.end(self._effects)
            self._tell(live.fault.satellite, f"fault {live.fault.kind} {live.fault.target} ended".replace("  ", " "))

    async def _end_later(self, live: _Live) -> None:
        if live.ends_seconds is not None:
            await self._clock.sleep_until(live.ends_seconds)
            self._end(live)

    async def _carry_out(self) -> None:
        while self._schedule.next_seconds < float("inf"):
            await self._clock.sleep_until(self._schedule.next_seconds)
            try:
                for fault in self._schedule.apply(self._clock.now()):
                    self._tell(fault.satellite, f"fault {fault.kind} {fault.target}".strip())
            except UserError as error:
                self._tell("faults", str(error))

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.LimitOverrunError, ValueError):
            answer = self._answer(await reader.readline())
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    def _answer(self, line: bytes) -> dict[str, Any]:
        try:
            request = msgspec.json.decode(line, type=dict[str, Any])
            do = request.get("do")
            if do == "begin":
                return {"ok": self.begin(request.get("fault") or {})}
            if do == "end":
                return {"ok": self.end(request)}
            if do == "list":
                return {"ok": self.listed()}
        except (UserError, msgspec.DecodeError, OSError) as error:
            return {"error": str(error)}
        return {"error": f'there is nothing to do called "{do}"; there are begin, end, list'}


def ask(directory: Path, request: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Ask who keeps a live run whose sockets lie in a directory.

    Raises:
        UserError: what it answered, or that nobody does.
    """
    path = directory / NAME
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(ANSWER_SECONDS)
            connection.connect(str(path))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as file:
                answer = json.loads(file.readline() or b"{}")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: the run does not take faults ({error}); is it up, and of this version?") from None
    if "ok" not in answer:
        raise UserError(str(answer.get("error") or f"{path}: the run gave no answer"))
    found: list[dict[str, Any]] = answer["ok"]
    return found
