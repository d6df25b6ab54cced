"""The board's end of a tunnel: a process that waits, and knows the ssh session that forwards the ports.

When the network goes away, the board's sshd may take minutes to notice, and holds the forwarded ports until then. The
bench computer, back on another connection, has it ended first.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flight.compute.shim import tree

NOTE = "tunnel.json"


def hold(directory: Path, say: Callable[[Mapping[str, Any]], None]) -> None:
    """Note the ssh session that this process belongs to, say that the tunnel is open, and wait for its end."""
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    session = _session_of(os.getpid())
    if session is not None:
        (directory / NOTE).write_text(
            json.dumps({"pid": session.pid, "start": session.start, "boot_id": tree.boot_id()})
        )
    say({"event": "open"})
    while sys.stdin.buffer.read(4096):
        pass


def release(directory: Path) -> bool:
    """End the ssh session that was noted, if it still lives; whether it did."""
    try:
        noted = json.loads((directory / NOTE).read_text())
        alive = tree.is_alive(noted["pid"], noted["start"], noted["boot_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    if alive:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(noted["pid"], signal.SIGTERM)
    return alive


def _session_of(pid: int) -> tree.Process | None:
    """The nearest process above that is an sshd's: it holds the connection and the ports."""
    found = tree.process(pid)
    while found is not None and found.parent > 1:
        found = tree.process(found.parent)
        if found is not None and _name(found.pid).startswith("sshd"):
            return found
    return None


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
