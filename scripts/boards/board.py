"""A machine with Skyrack on it, as tests use it."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.boards import boards
from scripts.boards.machine import Machine

_DRIVE = Path(__file__).with_name("drive.py")


@dataclass(frozen=True)
class Board:
    """A machine with this tree's Skyrack on it."""

    machine: Machine

    def sh(self, command: str, *, timeout_seconds: float = 120) -> str:
        """What a command says. Raises AssertionError with both its streams where it fails."""
        result = self.machine.ssh(command, timeout_seconds=timeout_seconds, check=False)
        assert result.returncode == 0, f"{command}: {result.stdout.decode()}{result.stderr.decode()}"
        return result.stdout.decode().strip()

    def drive(self, devices: dict[str, Any], steps: list[list[Any]], *, sudo: bool = True) -> list[Any]:
        """Make devices on the board by their drivers, and do steps with them; see drive.py beside this file."""
        order = json.dumps({"devices": devices, "steps": steps})
        python = f"{'sudo ' if sudo else ''}{boards.VENV}/bin/python"
        result = self.machine.ssh(f"{python} - {shlex.quote(order)}", give=_DRIVE.read_bytes(), check=False)
        assert result.returncode == 0, f"{result.stdout.decode()}{result.stderr.decode()}"
        answers: list[Any] = json.loads(result.stdout.decode().splitlines()[-1])
        return answers

    def boot_id(self) -> str:
        """Which boot this is."""
        return self.sh("cat /proc/sys/kernel/random/boot_id")
