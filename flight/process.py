"""One service in one process: its context from the board file, its signals, its log, its end."""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import random
import signal
import sys
from collections.abc import Coroutine
from importlib import import_module
from typing import TYPE_CHECKING, Any

from flight.board import Board, Paths, load_design, paths_of
from flight.bus import Endpoints
from flight.context import ServiceContext
from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment, DeviceError
from flight.service import Service, registry, run
from skyrack import dictionary, logging
from skyrack.clock import Clock
from skyrack.discipline import DisciplinedClock
from skyrack.errors import UserError
from skyrack.files import suggest

if TYPE_CHECKING:
    from skyrack.satellite import ConstellationFile, SatelliteFile

EXECUTIVE = "executive"
END_SECONDS = 1.9
"""A process that is asked to end and has not within this time, in host seconds, ends without more ado."""


def service_class(name: str) -> type[Service]:
    """Import a service.

    Raises:
        UserError: there is no such service.
    """
    module = f"flight.{name}.service"
    try:
        import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and module.startswith(error.name):
            raise UserError(f"there is no service {name}: {module} does not exist") from None
        raise
    return registry[name]


def parameters_for(satellite: SatelliteFile, service: str) -> dict[str, float]:
    """Parameters that the satellite file sets for a service ("power.reserve_margin_ratio"), by their names.

    Raises:
        UserError: the service has no such parameter, or the value is out of its range.
    """
    found = {}
    kind = registry[service].parameters if service in registry else None
    for key, value in satellite.parameters.items():
        owner, _, name = key.partition(".")
        if owner != service:
            continue
        known = {parameter.name: parameter for parameter in dictionary.parameters_of(kind)} if kind else {}
        if name not in known:
            raise UserError(
                f"satellite {satellite.name}: parameters.{key}: {service} has no such parameter; {suggest(name, known)}"
            )
        low, high = known[name].minimum, known[name].maximum
        if not low <= value <= high:
            raise UserError(
                f"satellite {satellite.name}: parameters.{key} is {value:g}: must be from {low:g} to {high:g}"
            )
        found[name] = value
    return found


def make_context(
    board: Board, service: str, clock: Clock, design: tuple[SatelliteFile, ConstellationFile] | None = None
) -> ServiceContext:
    """What a service is given on this board. ``design`` spares reading the satellite's files again.

    Raises:
        UserError: a file does not add up.
    """
    paths = paths_of(board)
    satellite, constellation = design or load_design(board)
    # A string seeds alike in every process, whatever its hash seed.
    rng = random.Random(f"{board.seed}/{board.satellite}/{service}")
    attachments: dict[str, object] = {**board.attachments}
    if paths.keys is not None:
        attachments.setdefault("keys_dir", str(paths.keys))
    environment = DeviceEnvironment(
        satellite=board.satellite,
        clock=clock,
        rng=rng,
        state_dir=paths.state,
        attachments=attachments,
        design=satellite,
    )
    return ServiceContext(
        satellite=board.satellite,
        satellite_file=satellite,
        constellation=constellation,
        clock=clock,
        endpoints=Endpoints.ipc(paths.run),
        devices=DeviceRegistry(environment, satellite.devices, board.default_drivers),
        rng=rng,
        state_dir=paths.state,
        parameters=parameters_for(satellite, service),
        board=board,
        attachments=attachments,
        services=(EXECUTIVE, *board.services),
    )


def run_service(
    board: Board,
    name: str,
    design: tuple[SatelliteFile, ConstellationFile] | None = None,
    *,
    terminal: bool = False,
) -> None:
    """Be the process of one service until it is asked to end.

    Raises:
        UserError: there is no such service, or a file does not add up.
    """
    kind = service_class(name)
    paths = paths_of(board)

    async def main() -> None:
        clock = DisciplinedClock.from_file(paths.clock)
        start_log(board, paths, name, clock, terminal=terminal)
        following = asyncio.create_task(clock.follow(paths.clock), name="clock")
        try:
            await run(kind, make_context(board, name, clock, design))
        except DeviceError as error:
            # The sentence says it all; the executive reports this last line.
            sys.stderr.write(f"{error}\n")
            raise SystemExit(1) from None
        finally:
            following.cancel()

    run_until_asked(main())


def start_log(board: Board, paths: Paths, name: str, clock: Clock, *, terminal: bool) -> None:
    """Log to ``log_dir/<service>.log`` as JSON, and to the terminal where there is one to read it."""
    logging.configure(now=clock.now, file=paths.log / f"{name}.log", terminal=terminal, satellite=board.satellite)


def run_until_asked(main: Coroutine[Any, Any, None]) -> None:
    """Run in a new event loop; SIGTERM and SIGINT cancel ``main``, which has :data:`END_SECONDS` to end."""
    faulthandler.enable()

    async def body() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(main)

        def end() -> None:
            task.cancel()
            loop.call_later(END_SECONDS, os._exit, 1)

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, end)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(body())
