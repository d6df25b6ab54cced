"""Runs in worker processes, each run on its own: one that crashes or hangs costs itself and nothing else.

A pool of the standard library breaks as a whole when a process of it dies. Here a dead or overdue worker is replaced,
and its run told as broken.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from hil.campaign.draw import draw
from hil.campaign.file import Campaign, load_campaign
from hil.campaign.fly import fly_run
from hil.campaign.invariants import Breach
from hil.campaign.result import RunResult
from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from hil.faults import Fault

Fly = Callable[[Campaign, int, "Sequence[Fault] | None"], RunResult]

LIMIT_SECONDS = 900.0
"""Host time after which a run is taken for hung."""
START_SECONDS = 120.0
"""Host time that a worker may take to start."""


@dataclass(frozen=True, slots=True)
class Task:
    """A run to fly; ``faults`` replace those that the seed draws."""

    seed: int
    faults: tuple[Fault, ...] | None = None


@dataclass(slots=True)
class _Worker:
    process: SpawnProcess
    pipe: Connection
    task: Task
    deadline: float


def work(pipe: Connection, path: Path, fly: Fly) -> None:
    """Be a worker: tasks come in over the pipe, results go out, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    campaign = load_campaign(path)
    with contextlib.suppress(EOFError, BrokenPipeError):
        pipe.send(None)  # the time of the first run begins now
        while True:
            task: Task = pipe.recv()
            try:
                pipe.send(fly(campaign, task.seed, task.faults))
            except UserError as error:
                pipe.send(error)


def run_all(
    campaign: Campaign, tasks: Sequence[Task], workers: int, *, limit_seconds: float = LIMIT_SECONDS, fly: Fly = fly_run
) -> Generator[RunResult, None, None]:
    """Fly all tasks; results come as they end. Closing the generator ends the workers.

    Raises:
        UserError: a run cannot be flown at all, such as with a fault that strikes what is not there.
    """
    pool = _Pool(campaign, limit_seconds, fly)
    left = list(reversed(tasks))
    try:
        while left or pool.busy:
            while left and len(pool.busy) < max(1, workers):
                pool.begin(left.pop())
            yield from pool.ended()
    finally:
        pool.close()


class _Pool:
    def __init__(self, campaign: Campaign, limit_seconds: float, fly: Fly) -> None:
        self.busy: list[_Worker] = []
        self._idle: list[tuple[SpawnProcess, Connection]] = []
        self._campaign = campaign
        self._limit_seconds = limit_seconds
        self._fly = fly

    def begin(self, task: Task) -> None:
        """Give a task to a worker that has none, or to a new one."""
        limit = self._limit_seconds
        if self._idle:
            process, pipe = self._idle.pop()
        else:
            context = multiprocessing.get_context("spawn")
            pipe, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, self._campaign.source, self._fly), daemon=True)
            process.start()
            theirs.close()
            limit = max(limit, START_SECONDS)
        with contextlib.suppress(BrokenPipeError):  # it is dead, which shows at once
            pipe.send(task)
        self.busy.append(_Worker(process, pipe, task, time.monotonic() + limit))

    def ended(self) -> Iterator[RunResult]:
        """Wait until something ends, and say how."""
        patience = max(0.0, min(worker.deadline for worker in self.busy) - time.monotonic())
        ready = wait([worker.pipe for worker in self.busy], timeout=patience)
        for worker in list(self.busy):
            if worker.pipe in ready:
                result = self._heard(worker)
            elif time.monotonic() >= worker.deadline:
                result = self._broken(worker, "its process hung and was killed")
            else:
                continue
            if result is not None:
                yield result

    def close(self) -> None:
        """End all workers."""
        for process, pipe in [*((worker.process, worker.pipe) for worker in self.busy), *self._idle]:
            _end(process, pipe)

    def _heard(self, worker: _Worker) -> RunResult | None:
        """What a worker brought; nothing where it has only just started."""
        try:
            got: RunResult | UserError | None = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = worker.process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            return self._broken(worker, f"its process died ({how})")
        if isinstance(got, UserError):
            raise got
        if got is None:
            worker.deadline = time.monotonic() + self._limit_seconds
            return None
        self.busy.remove(worker)
        self._idle.append((worker.process, worker.pipe))
        return got

    def _broken(self, worker: _Worker, reason: str) -> RunResult:
        self.busy.remove(worker)
        _end(worker.process, worker.pipe)
        task = worker.task
        faults = tuple(draw(self._campaign, task.seed) if task.faults is None else task.faults)
        kind = faults[0].kind if faults else ""
        return RunResult(task.seed, kind, faults, breaches=(Breach("run", "", reason),))


def _end(process: SpawnProcess, pipe: Connection) -> None:
    pipe.close()
    process.kill()
    process.join()
