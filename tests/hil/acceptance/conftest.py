"""A board that is a formula: one heat capacity, a meter, a cap that is followed with a lag. Its time is virtual."""

from __future__ import annotations

import contextlib
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import pytest

from hil.acceptance.model import StepError
from hil.boards.clocks import RoundTrip
from hil.boards.file import BenchBoard
from skyrack.errors import UserError

IDLE, FULL, AMBIENT = 2.7, 6.7, 22.0


@dataclass
class FakeBoard:
    """Satisfies Rig. Its figures are what a test changes."""

    kelvin_per_watt: float = 6.0
    time_constant_seconds: float = 45.0
    follows_seconds: float = 0.4
    cap_error: float = 0.0
    comes_back: bool = True
    obeys: bool = True
    watchdog_device: str = ""
    problems: dict[str, str] = field(default_factory=dict)
    offsets: dict[str, float] = field(default_factory=dict)
    with_node: bool = True
    flight: FakeFlight | None = None
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.board = BenchBoard(name="pi-1", satellite="sat-1", watchdog_device=self.watchdog_device)
        self.hello: Mapping[str, Any] = {"cores": 4, "boot_id": "first"}
        self.devices: Mapping[str, str] = {"meter.board": "i2c.ina226", "thermal.chip": "linux.thermal_zone"}
        self.nodes: Mapping[str, Mapping[str, Any]] = {}
        if self.with_node:
            self.devices = {**self.devices, "node.node-1": "board.rack_node"}
            self.nodes = {
                "node.node-1": {"idle_watts": 270.0, "peak_watts": 700.0, "scale": 100.0, "meter": "meter.board"}
            }
        self._now = 1000.0
        self._load = False
        self._cap = math.inf
        self._watts = IDLE
        self._celsius = AMBIENT + self.kelvin_per_watt * IDLE

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        for _ in range(max(1, math.ceil(seconds / 0.05))):
            step = seconds / max(1, math.ceil(seconds / 0.05))
            self._now += step
            wanted = min(FULL, self._cap) if self._load else IDLE
            self._watts += (wanted - self._watts) * -math.expm1(-step / self.follows_seconds)
            rest = AMBIENT + self.kelvin_per_watt * self._watts
            self._celsius += (rest - self._celsius) * -math.expm1(-step / self.time_constant_seconds)

    def _values(self) -> dict[str, float]:
        values = {"meter.board": self._watts, "thermal.chip": self._celsius}
        return {name: value + self.offsets.get(name, 0.0) for name, value in values.items() if name in self.devices}

    async def ask(self, do: str, *, seconds: float = 10.0, **arguments: Any) -> Mapping[str, Any]:
        self.asked.append(do)
        await self.sleep(0.002)
        match do:
            case "accept-look":
                return {"rows": [self._row(name) for name in self.devices]}
            case "accept-sample":
                good = {name: value for name, value in self._values().items() if name not in self.problems}
                return {"monotonic_seconds": self._now, "values": good, "hertz": 1.5e9}
            case "accept-load":
                self._load = bool(arguments["cores"])
            case "accept-cap":
                self._cap = IDLE + arguments["ratio"] * (FULL - IDLE) if self.obeys else math.inf
            case "accept-node":
                self._load = arguments["does"] != "stop"
                self._cap = arguments["watts"] / 100.0 * (1.0 + self.cap_error)
                return {"state": "running" if self._load else "exited", "reason": ""}
            case "accept-reset":
                if not self.watchdog_device:
                    raise UserError("board pi-1: there is no watchdog")
        return {}

    def _row(self, name: str) -> dict[str, Any]:
        unit = "°C" if name.startswith("thermal.") else "W"
        value = self._values().get(name, 270.0)
        problem = self.problems.get(name, "")
        return {
            "device": name,
            "driver": self.devices[name],
            "how": "",
            "value": None if problem else value,
            "text": f"{value:.3f}",
            "unit": unit,
            "read_seconds": 0.001,
            "quality": "stale" if problem else "good",
            "problem": problem,
            "exercise": "",
            "failed": False,
        }

    async def round_trip(self) -> tuple[RoundTrip, float]:
        sent = self._now
        await self.sleep(0.004)
        return RoundTrip(sent, sent + 0.002 + 7.0 * (1 + 20e-6) + 20e-6 * sent, self._now), 0.3

    async def return_of(self, boot_id: str, seconds: float) -> Mapping[str, Any]:
        await self.sleep(17.0)
        if not self.comes_back:
            raise StepError(f"board pi-1 did not come back within {seconds:.0f} s: it does not answer")
        self.hello = {**self.hello, "boot_id": "second"}
        return self.hello

    def flying(self) -> AbstractAsyncContextManager[FakeFlight]:
        return self._flying()

    @contextlib.asynccontextmanager
    async def _flying(self) -> AsyncIterator[FakeFlight]:
        if self.flight is None:
            raise StepError("the plant was not ready")
        yield self.flight


@dataclass
class FakeFlight:
    """Satisfies Flight: a job takes so many looks; what is killed is back two looks later."""

    ends_as: str = "COMPLETED"
    wrong: str = ""
    lost: int = 0
    down: int = 0
    pids: dict[str, int] = field(default_factory=lambda: {"compute": 2, "gateway": 3, "power": 4, "executive": 1})
    _looks: int = 0
    _items: int = 0

    async def mode(self) -> str:
        return "nominal"

    async def submit(self) -> str:
        self._looks = 0
        return "job-1"

    async def job(self, job_id: str) -> Mapping[str, Any]:
        self._looks += 1
        over = self._looks > 4
        state = self.ends_as if over else "RUNNING"
        return {"job_id": job_id, "state": state, "settled": over, "satellite": "sat-1", "reason": "out of memory"}

    async def result_problem(self, job_id: str) -> str:
        return self.wrong

    async def command(self) -> float:
        self._items += 2
        return 0.2

    async def ledger(self) -> Mapping[str, int]:
        return {"stored": self._items, "duplicated": 1, "lost": self.lost}

    async def services(self) -> Mapping[str, int]:
        return self.pids

    async def kill(self, service: str) -> int:
        pid = self.pids[service]
        self.pids[service] = pid + 100
        return pid

    async def cut_power(self) -> str:
        return "the load switch was opened for 5 s"


@pytest.fixture
def board() -> FakeBoard:
    return FakeBoard(flight=FakeFlight())
