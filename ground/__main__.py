"""``python -m ground --config ground.toml``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from skyrack.database import StorageError
from skyrack.errors import UserError


def main() -> int:
    """Run the ground; 2 when its configuration is wrong, 1 when its disk is."""
    parser = argparse.ArgumentParser(prog="python -m ground", description="Run the ground segment.")
    parser.add_argument("--config", type=Path, required=True, help="configuration file")
    arguments = parser.parse_args()
    try:
        from ground.main import run

        run(arguments.config)
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    except StorageError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
