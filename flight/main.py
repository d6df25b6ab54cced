"""The command that flies a satellite, or one service of it by hand: ``skyrack flight``, ``python -m flight``."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_board = click.option(
    "--board",
    "board_path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="Board file: the satellite, its services, and where its files and far ends are.",
)
_quiet = click.option("--quiet", is_flag=True, help="Log to files only.")


@click.group()
def flight() -> None:
    """Fly a satellite, or one of its services."""


@flight.command()
@_board
@_quiet
def run(board_path: Path, quiet: bool) -> None:
    """Fly the satellite of a board file: the executive starts and keeps all its services. Ctrl-C ends it."""
    sys.exit(start("executive", board_path, terminal=not quiet))


@flight.command()
@click.argument("name")
@_board
@_quiet
def service(name: str, board_path: Path, quiet: bool) -> None:
    """Fly one service by hand, without the executive. Ctrl-C ends it."""
    sys.exit(start(name, board_path, terminal=not quiet))


def start(name: str, board_path: Path, *, terminal: bool) -> int:
    """Be the process of a service or of the executive; the exit status.

    Raises:
        UserError: a file does not add up, or there is no such service.
    """
    from flight.board import load_board, paths_of
    from flight.executive.run import run_executive
    from flight.process import EXECUTIVE, run_service

    board = load_board(board_path)
    if name == EXECUTIVE:
        return run_executive(board, terminal=terminal)
    paths_of(board).make()
    run_service(board, name, terminal=terminal)
    return 0
