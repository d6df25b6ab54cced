"""``python -m hil.boards.keeper DIRECTORY``: keeps the processes of a board, with nobody there to ask.

It is started by an agent, in a session of its own, and lives until it is told to end: a lost ssh connection ends
nothing. ``order.json`` says what to run, ``processes.json`` how that is; a lock tells whether a keeper lives.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from hil.supervisor import Program, Supervisor, SupervisorError

ORDER, PROCESSES, LOCK, LOG = "order.json", "processes.json", "keeper.lock", "keeper.out"
LOOKED_AT_SECONDS = 0.3
"""Whoever asks for the holder of a lock takes it for a moment: only a lock that is held for longer is somebody's."""
# One thread each: pools of linear algebra threads would fight over a board's cores.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


class Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A program that is kept. ``ready`` is a file that is there once it is ready; paths are the board's."""

    name: str
    argv: Annotated[tuple[str, ...], Meta(min_length=1)]
    log: str
    stage: int = 0
    ready: str = ""
    ready_seconds: float = 120.0


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a keeper keeps. ``alone`` is a lock file of the board that only one keeper may hold."""

    run_id: str
    programs: tuple[Kept, ...]
    alone: str = ""


@contextlib.contextmanager
def held(path: Path, who: str) -> Iterator[bool]:
    """Hold a lock file for as long as this process lives; False when somebody else does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + LOOKED_AT_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                yield False
                return
            time.sleep(0.01)
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {who}".encode(), 0)
        yield True
    finally:
        os.ftruncate(descriptor, 0)
        os.close(descriptor)


def holder_of(path: Path) -> tuple[int, str] | None:
    """Process id of whoever holds a lock file, and what it said of itself; ``None`` when nobody does.

    The process id is 0 for the moments in which it holds the lock and has not said so, or no longer does.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        pid, _, who = os.pread(descriptor, 4096, 0).decode().partition(" ")
        return (int(pid), who) if pid.isdecimal() else (0, who)
    finally:
        os.close(descriptor)
    return None


async def keep(directory: Path, order: Order) -> int:
    """Keep the programs until told to end."""
    programs = [
        Program(
            name=program.name,
            argv=program.argv,
            log=Path(program.log),
            stage=program.stage,
            environment=ENVIRONMENT,
            directory=directory,
            ready=Path(program.ready).exists if program.ready else None,
            ready_seconds=program.ready_seconds,
        )
        for program in order.programs
    ]
    ending = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ending.set)
    supervisor = Supervisor(programs, status_file=directory / PROCESSES, run_id=order.run_id)
    starting = asyncio.create_task(supervisor.__aenter__())
    told = asyncio.create_task(ending.wait())
    await asyncio.wait([starting, told], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError, SupervisorError):
            await starting
        return 0
    await starting
    try:
        # A program that ended too often stays ended, and says so; guards and whatever else there is go on.
        await told
    finally:
        await supervisor.__aexit__()
    return 0


def main() -> int:
    """Process entry."""
    directory = Path(sys.argv[1])
    order = msgspec.json.decode((directory / ORDER).read_bytes(), type=Order)
    with contextlib.ExitStack() as stack:
        if not stack.enter_context(held(directory / LOCK, order.run_id)):
            return 0
        if order.alone and not stack.enter_context(held(Path(order.alone).expanduser(), str(directory))):
            holder = holder_of(Path(order.alone).expanduser())
            where = holder[1] if holder is not None else "another directory"
            sys.stderr.write(f"this board flies for another run already, of {where}; end that one first\n")
            return 2
        for program in order.programs:
            if program.ready:
                Path(program.ready).unlink(missing_ok=True)
        try:
            return asyncio.run(keep(directory, order))
        except SupervisorError as error:
            sys.stderr.write(f"{error}\n")
            (directory / PROCESSES).write_text(json.dumps({"run_id": order.run_id, "failed": str(error)}))
            return 1


if __name__ == "__main__":
    sys.exit(main())
