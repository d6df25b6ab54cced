"""Where things are on a board that was provisioned, and on the computer that provisions. The role says the same."""

from __future__ import annotations

from pathlib import Path
from typing import Final

USER: Final = "skyrack"
PYTHON: Final = "/opt/skyrack/venv/bin/python"
ETC: Final = Path("/etc/skyrack")
STATE: Final = Path("/var/lib/skyrack")
"""State of a board that flies alone, and the home of its user."""
LOG: Final = Path("/var/log/skyrack")
KEYS: Final = ETC / "keys"
"""``<satellite>.key``, made on the board and never elsewhere, and ``keys.json``."""
PROVISIONED: Final = ETC / "provisioned.json"
"""Satellite, board, serial, provisioner, and digests of what is installed."""

HERE: Final = Path(".skyrack/provision")
"""On the bench computer, below the working directory: the ground's key ring, the provisioner's key, boards."""
RING: Final = "keys.json"
PROVISIONER: Final = "provisioner"
