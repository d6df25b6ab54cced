"""What the steps of acceptance ask of the world: a board with an agent, a clock, and a bench that can fly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from hil.boards.clocks import RoundTrip
from hil.boards.file import BenchBoard


class Flight(Protocol):
    """A bench that flies; times are host seconds."""

    async def mode(self) -> str:
        """The satellite's mode as the ground knows it, in lower case; empty before it was heard."""
        ...

    async def submit(self) -> str:
        """Submit the job of acceptance; its id."""
        ...

    async def job(self, job_id: str) -> Mapping[str, Any]:
        """The ground's record of a job; ``settled`` says that nothing more will come of it."""
        ...

    async def result_problem(self, job_id: str) -> str:
        """Fetch a job's result and check it: empty when it is what it must be."""
        ...

    async def command(self) -> float:
        """Send a command that changes nothing; seconds to its final stage.

        Raises:
            StepError: it did not end well in time.
        """
        ...

    async def ledger(self) -> Mapping[str, int]:
        """What both ends of delivery agree on, items: ``stored``, ``duplicated``, ``lost``.

        Raises:
            StepError: the satellite did not answer.
        """
        ...

    async def services(self) -> Mapping[str, int]:
        """Process ids of executive and services on the board."""
        ...

    async def kill(self, service: str) -> int:
        """SIGKILL; the process id that is gone."""
        ...

    async def cut_power(self) -> str:
        """Take the board's power away, or what comes nearest to it on this bench; what was done, in words."""
        ...


class Rig(Protocol):
    """A board under acceptance."""

    board: BenchBoard
    hello: Mapping[str, Any]
    devices: Mapping[str, str]
    """Real devices of the board, with their drivers."""
    nodes: Mapping[str, Mapping[str, Any]]
    """Rack nodes: ``idle_watts``, ``peak_watts``, ``scale``, ``meter``."""

    def now(self) -> float:
        """Seconds on a clock that never runs backwards."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...

    async def ask(self, do: str, *, seconds: float = 10.0, **arguments: Any) -> Mapping[str, Any]:
        """Ask the board's agent. Raises UserError with its sentence."""
        ...

    async def round_trip(self) -> tuple[RoundTrip, float]:
        """Ask the board's clock; the round trip, and how far its UTC is ahead of this computer's, s."""
        ...

    async def return_of(self, boot_id: str, seconds: float) -> Mapping[str, Any]:
        """Wait until the board is there again after a reset: its ``hello``, with another boot id.

        Raises:
            StepError: it did not come back, or was never away.
        """
        ...

    def flying(self) -> AbstractAsyncContextManager[Flight]:
        """Fly the bench for as long as this lasts. Raises NotApplicableError where it cannot."""
        ...


@dataclass(slots=True)
class Session:
    """What a step may use: the rig, what the person at the bench allowed and typed, and where progress is told."""

    rig: Rig
    references: Mapping[str, float] = field(default_factory=dict)
    allow_reset: bool = False
    tell: Callable[[str], None] = lambda _text: None
    flight: Flight | None = None
