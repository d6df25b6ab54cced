"""Finds and ends processes that belong to a run, wherever they were moved to."""

from __future__ import annotations

import contextlib
import os
import signal
from dataclasses import dataclass
from pathlib import Path

RUN_VARIABLE = "SKYRACK_RUN_ID"
"""Environment variable that marks every process of a run, and whatever it starts without clearing it."""


@dataclass(frozen=True, slots=True)
class ProcessEntry:
    """One line of the process table. ``started`` tells a process from a later one with the same id."""

    pid: int
    parent: int
    session: int
    state: str
    started: int


def process_table() -> dict[int, ProcessEntry]:
    """All processes of this machine, by id."""
    table = {}
    for directory in Path("/proc").iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                text = (directory / "stat").read_text(encoding="utf-8", errors="replace")
                # The name, in brackets, may hold anything: what follows the last bracket is numbers.
                fields = text.rpartition(")")[2].split()
                pid = int(directory.name)
                table[pid] = ProcessEntry(pid, int(fields[1]), int(fields[3]), fields[0], int(fields[19]))
    return table


def belonging_to(run_id: str) -> list[ProcessEntry]:
    """Live processes of a run: those marked with it and their descendants, without the caller.

    Marks of processes that clear their environment are missing, which is why descendants count, too, and why
    whoever starts such processes becomes a subreaper (see :func:`adopt_orphans`).
    """
    table = process_table()
    own = table.get(os.getpid())
    mark = f"{RUN_VARIABLE}={run_id}".encode()
    found = {pid for pid in table if _marked(pid, mark)}
    if own is not None and _adopting:
        # Orphans of a run that were handed to this process: they left its session, as nothing else here does.
        found |= {pid for pid, entry in table.items() if entry.parent == own.pid and entry.session != own.session}
    grown = True
    while grown:
        more = {pid for pid, entry in table.items() if entry.parent in found} - found
        found |= more
        grown = bool(more)
    return [table[pid] for pid in sorted(found - {os.getpid()}) if table[pid].state != "Z"]


def kill_all(run_id: str, rounds: int = 5) -> int:
    """Kill every process of a run, again until there is none; how many were killed."""
    killed = 0
    for _ in range(rounds):
        found = belonging_to(run_id)
        if not found:
            break
        for entry in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(entry.pid, signal.SIGKILL)
                killed += 1
        reap()
    return killed


_adopting = False


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parents die (PR_SET_CHILD_SUBREAPER)."""
    import ctypes

    global _adopting  # noqa: PLW0603 - it is a property of this process
    pr_set_child_subreaper = 36
    _adopting = ctypes.CDLL(None).prctl(pr_set_child_subreaper, 1, 0, 0, 0) == 0


def reap(except_for: frozenset[int] = frozenset()) -> None:
    """Collect the exit status of adopted processes that have ended, save those that somebody else waits for."""
    for entry in process_table().values():
        if entry.parent == os.getpid() and entry.state == "Z" and entry.pid not in except_for:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(entry.pid, os.WNOHANG)


def _marked(pid: int, mark: bytes) -> bool:
    try:
        return mark in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False
