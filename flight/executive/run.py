"""Runs the executive over processes, on a board; ``flight.executive.tasks`` does so over tasks, in the twin."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

from flight.executive.launcher import Launcher
from flight.executive.limits import limits_of
from flight.executive.memory import Store
from flight.executive.process_launcher import ProcessLauncher
from flight.executive.rules import Rule, load_rules
from flight.executive.sd_notify import Notifier
from flight.executive.service import Executive
from flight.executive.zygote import set_process_name
from flight.service import run_until_stopped
from skyrack.discipline import DisciplinedClock

if TYPE_CHECKING:
    from pathlib import Path

    from flight.board import Board
    from flight.context import ServiceContext
    from skyrack.satellite import SatelliteFile

REBOOT_EXIT_STATUS = 75
"""Exit status of an executive that wants to be started anew, with all its services (EX_TEMPFAIL of sysexits.h)."""


def rules_for(path: Path, satellite: SatelliteFile, services: tuple[str, ...]) -> tuple[Rule, ...]:
    """Fault rules of a file, checked for a satellite. Raises UserError where they do not add up."""
    return load_rules(path, limits_of(satellite), services=services, loads=satellite.load_names())


def store_of(context: ServiceContext) -> Store:
    """The executive's memory on this board's disk."""
    return Store(context.disk.file("executive.json"))


async def fly(executive: Executive) -> bool:
    """Run an executive until it is cancelled or wants a reboot; whether it wants one."""
    await run_until_stopped(executive)
    return executive.reboot_wanted


def run_executive(board: Board, *, terminal: bool = False) -> int:
    """Be the process of the executive, which starts the others, until it is asked to end; the exit status.

    Call it before there are threads or an event loop: it forks the zygote that the services come from.

    Raises:
        UserError: a file does not add up.
    """
    from flight import process
    from flight.board import load_design, paths_of

    paths = paths_of(board)
    paths.make()
    design = load_design(board)
    rules = rules_for(paths.rules, design[0], board.services)
    for service in board.services:
        process.service_class(service)
        process.parameters_for(design[0], service)
    # Takes NOTIFY_SOCKET out of the environment before anybody can inherit it.
    notifier = Notifier()
    launcher: Launcher = ProcessLauncher(
        board.satellite, lambda name: process.run_service(board, name, design), paths.log
    )
    set_process_name(process.EXECUTIVE)
    status = os.EX_OK

    async def main() -> None:
        nonlocal status
        clock = DisciplinedClock.from_file(paths.clock)
        following = asyncio.create_task(clock.follow(paths.clock), name="clock")
        process.start_log(board, paths, process.EXECUTIVE, clock, terminal=terminal)
        context = process.make_context(board, process.EXECUTIVE, clock, design)
        try:
            if await fly(Executive(context, launcher, store_of(context), rules, notifier)):
                status = REBOOT_EXIT_STATUS
        finally:
            following.cancel()

    process.run_until_asked(main())
    return status
