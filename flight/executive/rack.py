"""Power of the rack in the safe mode: compute is off when its nodes have none, whatever its software thinks."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

from flight.bus import BusError
from flight.executive.modes import Mode
from skyrack.v1 import power_pb2

if TYPE_CHECKING:
    from flight.executive.memory import Memory
    from flight.service import Service

# How long power may take to answer, in host seconds: a busy host is late at any rate of the clock.
_ANSWER_SECONDS = 5.0

SetSwitch = Callable[[str, bool], Awaitable[str]]
"""Set a load's switch (true is closed); returns why that was not possible, or nothing."""


class RackSwitches:
    """Opens the switches of all rack nodes some time after the safe mode began, and closes them after it.

    The time lets compute checkpoint what runs. That the switches are open is remembered across restarts: only
    switches that were opened here are closed here.
    """

    def __init__(self, nodes: Sequence[str], memory: Memory, set_switch: SetSwitch) -> None:
        self._nodes = nodes
        self._memory = memory
        self._set_switch = set_switch
        self._safe_since: float | None = None
        # Every switch is known to be open; after a restart they are opened once more, which harms nobody.
        self._all_open = False
        self._busy = False

    def due(self, mode: Mode, now: float, grace_seconds: float) -> bool | None:
        """What the switches should be set to now: open (False), closed (True), or left (None). Host seconds."""
        if mode is not Mode.SAFE:
            self._safe_since = None
            return True if mode is Mode.NOMINAL and self._memory.rack_opened and not self._busy else None
        if self._safe_since is None:
            self._safe_since = now
        over = now - self._safe_since >= grace_seconds
        return False if over and not self._all_open and not self._busy else None

    async def set(self, closed: bool) -> bool:
        """Set all switches; whether all obeyed. What failed is tried again when it is due again."""
        self._busy = True
        try:
            if not closed:
                # Remembered before it is done, and though only some obey: no node must stay dark for good.
                self._memory.rack_opened = True
            problems = [problem for node in self._nodes if (problem := await self._set_switch(node, closed))]
            self._all_open = not closed and not problems
            if closed:
                self._memory.rack_opened = bool(problems)
            return not problems
        finally:
            self._busy = False


async def set_load_switch(service: Service, load: str, closed: bool) -> str:
    """Have power set a load's switch (true is closed); why that was not possible, or nothing."""
    try:
        request = power_pb2.SetLoadSwitchRequest(load=load, closed=closed)
        answer = await service.request("power", request, _ANSWER_SECONDS * service.clock.rate)
    except BusError as error:
        return str(error)
    return "" if answer.ok else str(answer.reason)
