"""What a guard does to its board as a whole: it ends all work, or powers the board off."""

from __future__ import annotations

import contextlib
import subprocess
from pathlib import Path

from hil.devices.process_work import ProcessWork


def stop_work_below(directory: Path) -> int:
    """End all work of the rack nodes of a board, as a cut of power does; how many pieces that was."""
    ended = 0
    for path in sorted((directory / "state" / "nodes").glob("*/*/")):
        work = ProcessWork.found(path, 1.0)
        if work is None:
            continue
        work.look()
        if not work.ended and work.is_supervised():
            work.cut("a guard of the bench stopped all work")
            ended += 1
    return ended


def power_off() -> None:
    """Power the board off; as root, or with sudo that asks nothing.

    Raises:
        OSError: neither may.
    """
    for command in (["systemctl", "poweroff"], ["sudo", "-n", "systemctl", "poweroff"]):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            if subprocess.run(command, check=False, timeout=10.0, stdin=subprocess.DEVNULL).returncode == 0:
                return
    raise PermissionError("the board cannot be powered off: systemctl refused, and so did sudo -n systemctl")
