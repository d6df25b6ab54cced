"""The tunnel to a board: plant and link gates of the bench computer there, the board's metrics here.

One ssh that only forwards. It ends when the network does, and is started again with backoff; on the board nobody needs
to know: sockets of the flight software connect again by themselves, and meanwhile its sensors are stale, which each
service meets in its own safe way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hil.boards.client import Place, end, start
from hil.boards.ssh import meaning_of

OPEN_SECONDS = 15.0
FIRST_BACKOFF_SECONDS, LONGEST_BACKOFF_SECONDS = 0.5, 10.0


@dataclass(frozen=True, slots=True)
class Forward:
    """A port that is brought over: to the board (``there`` listens), or from it (``here`` listens)."""

    here: int
    there: int
    from_board: bool = False

    def option(self) -> tuple[str, str]:
        """As ssh wants it."""
        if self.from_board:
            return "-L", f"127.0.0.1:{self.here}:127.0.0.1:{self.there}"
        return "-R", f"127.0.0.1:{self.there}:127.0.0.1:{self.here}"


class Tunnel:
    """Keeps ssh running while :meth:`run` does. ``release`` ends what an earlier tunnel left on the board."""

    def __init__(self, place: Place, forwards: Sequence[Forward], on_event: Callable[[str], None]) -> None:
        self._place = place
        self._options = tuple(part for forward in forwards for part in forward.option())
        self._on_event = on_event
        self.is_open = asyncio.Event()
        self.opened = 0
        self.problem = ""

    async def run(self, reached: Callable[[], bool], release: Callable[[], object]) -> None:
        """Hold the tunnel open until cancelled. ``reached`` says whether the board answers at all."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            if not reached():
                await asyncio.sleep(0.2)
                continue
            began = time.monotonic()
            answer = release()
            if asyncio.iscoroutine(answer):
                with contextlib.suppress(Exception):
                    await answer
            self.problem = await self._once()
            self.is_open.clear()
            # One that stood for a while was a good one: begin again soon.
            backoff = FIRST_BACKOFF_SECONDS if time.monotonic() - began > 30.0 else backoff
            self._on_event(f"the tunnel is closed: {self.problem}")
            await asyncio.sleep(backoff)
            backoff = min(2.0 * backoff, LONGEST_BACKOFF_SECONDS)

    async def _once(self) -> str:
        """Hold one ssh; why it ended."""
        try:
            process = await start(self._place.command("--hold", forwards=self._options))
        except OSError as error:
            return f"ssh cannot be started: {error.strerror}"
        said: list[str] = []
        listening = asyncio.create_task(_hear(process.stderr, said))
        try:
            async with asyncio.timeout(OPEN_SECONDS) as limit:
                stdout = process.stdout
                while stdout is not None and (line := await stdout.readline()):
                    if _is_open(line):
                        limit.reschedule(None)
                        self.is_open.set()
                        self.opened += 1
                        self.problem = ""
                        self._on_event("the tunnel is open")
                await process.wait()
                await asyncio.wait([listening], timeout=0.5)
        except TimeoutError:
            said.append("no tunnel within its time: timed out")
        finally:
            await end(process)
            listening.cancel()
        return meaning_of("\n".join(said[-30:]), self._place.ssh, self._place.interpreter, process.returncode)


async def _hear(stream: asyncio.StreamReader | None, said: list[str]) -> None:
    with contextlib.suppress(ValueError, OSError):
        while stream is not None and (line := await stream.readline()):
            said.append(line.decode(errors="replace").rstrip())


def _is_open(line: bytes) -> bool:
    try:
        message = json.loads(line)
    except ValueError:
        return False
    return isinstance(message, dict) and message.get("event") == "open"
