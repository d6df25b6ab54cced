"""``skyrack up`` and ``skyrack down``: a run that stays, kept by a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hil.sil.bring_up import SupervisorError, brought_up
from hil.sil.instance import Instance, InstanceRecord
from hil.sil.system import SystemSettings
from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

START_SECONDS = 90.0
END_SECONDS = 10.0
_POLL_SECONDS = 0.1


def start(instance: Instance, settings: SystemSettings, waiting: Callable[[], None] = lambda: None) -> InstanceRecord:
    """Start the keeper and wait until the run is up; ``waiting`` is called while it is not.

    Raises:
        UserError: it runs already, or did not come up; the sentence says why.
    """
    with instance.held():
        pass
    log = instance.directory / "up.out"
    arguments = {
        "constellation": str(settings.constellation),
        "rate": settings.rate,
        "broker": settings.broker,
        "http_port": settings.http_port,
        "faults": str(settings.faults) if settings.faults is not None else None,
    }
    instance.record_path.unlink(missing_ok=True)
    with log.open("wb") as output:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "hil.sil.daemon", str(instance.directory), json.dumps(arguments)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        return _until_up(instance, keeper, log, waiting)
    except BaseException:
        # Also when it is interrupted: what was begun is ended.
        keeper.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            keeper.wait(END_SECONDS)
        raise


def _until_up(
    instance: Instance, keeper: subprocess.Popen[bytes], log: Path, waiting: Callable[[], None]
) -> InstanceRecord:
    deadline = time.monotonic() + START_SECONDS
    while True:
        record = instance.read_record()
        if record is not None:
            return record
        if keeper.poll() is not None:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            why = lines[-1] if lines else f"exit status {keeper.returncode}"
            raise UserError(f"{instance.name} did not come up: {why}")
        if time.monotonic() > deadline:
            raise UserError(f"{instance.name} was not up within {START_SECONDS:g} s; its logs are in {instance.logs}")
        waiting()
        time.sleep(_POLL_SECONDS)


def stop(instance: Instance) -> None:
    """End a run, also one that is coming up, and wait until nothing of it is left.

    Raises:
        UserError: it would not end.
    """
    keeper = instance.keeper_pid
    if keeper is None or not instance.live:
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(keeper, signal.SIGTERM)
    deadline = time.monotonic() + END_SECONDS
    while instance.live:
        if time.monotonic() > deadline:
            raise UserError(f"{instance.name} did not end within {END_SECONDS:g} s; its keeper is {keeper}")
        time.sleep(_POLL_SECONDS)


async def keep(instance: Instance, settings: SystemSettings) -> int:
    """Be the keeper of a run until asked to end, or until a process of it has ended too often."""
    ending = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    up = False

    def end() -> None:
        ending.set()
        if not up and task is not None:
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    async with brought_up(instance, settings, _tell) as running:
        up = True
        failed = asyncio.create_task(running.until_failed())
        asked = asyncio.create_task(ending.wait())
        await asyncio.wait([failed, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if failed.done():
            sys.stderr.write(f"{failed.result()}\n")
            return 1
        failed.cancel()
    return 0


def _tell(name: str, text: str) -> None:
    sys.stderr.write(f"{name} {text}\n")


def main() -> int:
    """Process entry: the instance's directory, and settings as JSON."""
    directory, arguments = Path(sys.argv[1]), json.loads(sys.argv[2])
    faults = arguments.pop("faults")
    constellation = Path(arguments.pop("constellation"))
    settings = SystemSettings(constellation, faults=Path(faults) if faults else None, **arguments)
    try:
        return asyncio.run(keep(Instance(directory.name, directory), settings))
    except (UserError, SupervisorError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except asyncio.CancelledError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
