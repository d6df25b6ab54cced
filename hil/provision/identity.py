"""Who a board is, asked on the board: ``python -m hil.provision.identity key FILE | show``.

The private key is made here and stays here; what is printed is public.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from hil.provision import layout
from skyrack.errors import UserError
from skyrack.signing import SigningKey

_MODEL = ("/proc/device-tree/model", "/sys/class/dmi/id/product_name")
_SERIAL = ("/proc/device-tree/serial-number", "/sys/class/dmi/id/product_serial")


def identity(etc: Path = layout.ETC) -> dict[str, Any]:
    """What a board says of itself; keys of its provisioning are missing on one that was not provisioned.

    Raises:
        UserError: the board's own key is there and cannot be read.
    """
    found: dict[str, Any] = {
        "machine_id": _first("/etc/machine-id"),
        "model": _first(*_MODEL) or platform.machine(),
        "serial": _first(*_SERIAL),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "version": installed_version(),
    }
    with contextlib.suppress(OSError, ValueError):
        told = json.loads((etc / layout.PROVISIONED.name).read_text(encoding="utf-8"))
        found |= {key: str(value) for key, value in told.items() if value}
    key = etc / layout.KEYS.name / f"{found.get('satellite', '')}.key"
    with contextlib.suppress(PermissionError):
        if key.is_file():
            own = SigningKey.load(key)
            found |= {"public_key": own.public.hex(), "key_id": own.key_id}
    return found


def installed_version() -> str:
    """Version of Skyrack here; empty when it runs from no package."""
    try:
        return version("skyrack")
    except PackageNotFoundError:
        return ""


def _first(*paths: str) -> str:
    for path in paths:
        with contextlib.suppress(OSError):
            text = Path(path).read_text(errors="replace").strip("\0\n ")
            if text:
                return text
    return ""


def main() -> int:
    """Process entry."""
    parser = argparse.ArgumentParser(prog="python -m hil.provision.identity", description="Tell who this board is.")
    commands = parser.add_subparsers(dest="do", required=True)
    key = commands.add_parser("key", help="make the private key, where there is none")
    key.add_argument("file", type=Path)
    show = commands.add_parser("show", help="print the identity as JSON")
    show.add_argument("--etc", type=Path, default=layout.ETC)
    arguments = parser.parse_args()
    try:
        if arguments.do == "key":
            SigningKey.load_or_create(arguments.file)
        else:
            sys.stdout.write(json.dumps(identity(arguments.etc), sort_keys=True) + "\n")
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
