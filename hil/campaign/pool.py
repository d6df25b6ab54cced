"""Runs in worker processes, each run on its own: one that crashes or hangs costs itself and nothing else.

A pool of the standard library breaks as a whole when a process of it dies. Here a dead or overdue worker is replaced,
and its run told as broken.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from hil.campaign.draw import draw
from hil.campaign.file import Campaign, load_campaign
from hil.campaign.fly import RunResult, fly_run
from hil.campaign.invariants import Breach
from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from multiprocessing.context import SpawnProcess
    from pathlib import Path

    from hil.faults import Fault

LIMIT_SECONDS = 900.0
"""Host time after which a run is taken for hung."""


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


def work(pipe: Connection, path: Path, fly: Callable[[Campaign, int, Sequence[Fault] | None], RunResult]) -> None:
    """Be a worker: tasks come in over the pipe, results go out, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it ends it
    campaign = load_campaign(path)
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            task: Task = pipe.recv()
            try:
                pipe.send(fly(campaign, task.seed, task.faults))
            except UserError as error:
                pipe.send(error)


def run_all(
    campaign: Campaign,
    tasks: Sequence[Task],
    workers: int,
    *,
    limit_seconds: float = LIMIT_SECONDS,
    fly: Callable[[Campaign, int, Sequence[Fault] | None], RunResult] = fly_run,
) -> Generator[RunResult, None, None]:
    """Fly all tasks; results come as they end. Closing the iterator ends the workers.

    Raises:
        UserError: a run cannot be flown at all, such as with a fault that strikes what is not there.
    """
    context = multiprocessing.get_context("spawn")
    left = list(reversed(tasks))
    busy: list[_Worker] = []
    idle: list[tuple[SpawnProcess, Connection]] = []

    def begin() -> None:
        task = left.pop()
        if idle:
            process, pipe = idle.pop()
        else:
            pipe, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, campaign.source, fly), daemon=True)
            process.start()
            theirs.close()
        with contextlib.suppress(BrokenPipeError):  # it is dead, which shows at once
            pipe.send(task)
        busy.append(_Worker(process, pipe, task, time.monotonic() + limit_seconds))

    try:
        while left or busy:
            while left and len(busy) < max(1, workers):
                begin()
            patience = max(0.0, min(worker.deadline for worker in busy) - time.monotonic())
            ready = wait([worker.pipe for worker in busy], timeout=patience)
            for worker in list(busy):
                if worker.pipe in ready or time.monotonic() >= worker.deadline:
                    busy.remove(worker)
                    result, is_alive = _result(campaign, worker, is_late=worker.pipe not in ready)
                    if is_alive:
                        idle.append((worker.process, worker.pipe))
                    yield result
    finally:
        for worker in busy:
            _end(worker.process, worker.pipe)
        for process, pipe in idle:
            _end(process, pipe)


def _result(campaign: Campaign, worker: _Worker, *, is_late: bool) -> tuple[RunResult, bool]:
    """What a worker brought, and whether it lives."""
    if not is_late:
        try:
            got: RunResult | UserError = worker.pipe.recv()
        except (EOFError, OSError):
            worker.process.join()
            code = worker.process.exitcode
            how = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
            reason = f"its process died ({how})"
        else:
            if isinstance(got, UserError):
                raise got
            return got, True
    else:
        reason = "its process hung and was killed"
    _end(worker.process, worker.pipe)
    faults = tuple(draw(campaign, worker.task.seed) if worker.task.faults is None else worker.task.faults)
    kind = str(faults[0].__struct_config__.tag) if faults else ""
    return RunResult(worker.task.seed, kind, faults, breaches=(Breach("run", "", reason),)), False


def _end(process: SpawnProcess, pipe: Connection) -> None:
    pipe.close()
    process.kill()
    process.join()
