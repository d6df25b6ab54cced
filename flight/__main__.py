"""``python -m flight <service> --board board.toml``: one service, or the executive, which starts the others."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flight.main import start
from skyrack.errors import UserError


def main() -> int:
    """Run the service that the command line names; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m flight", description="Fly one service of a satellite.")
    parser.add_argument("service", nargs="?", default="executive", help="default: executive, which starts the others")
    parser.add_argument("--board", type=Path, required=True, help="board file")
    arguments = parser.parse_args()
    try:
        return start(arguments.service, arguments.board, terminal=sys.stderr.isatty())
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
