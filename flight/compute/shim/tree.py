"""Processes as /proc tells of them: who descends from whom, what they use, and how to end them all."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process. ``start`` is its start time in ticks since boot, which makes its id unique within a boot.

    ``cpu_seconds`` includes children that ended and were waited for.
    """

    pid: int
    parent: int
    state: str
    start: int
    cpu_seconds: float


@cache
def boot_id() -> str:
    """Identity of the kernel's boot; empty where there is none."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def process(pid: int) -> Process | None:
    """What is known of a process; ``None`` when it is gone."""
    try:
        text = (_PROC / str(pid) / "stat").read_text()
    except OSError:
        return None
    # The name stands in brackets and may hold anything, brackets too.
    values = text[text.rindex(")") + 2 :].split()
    cpu = sum(int(values[index]) for index in (11, 12, 13, 14)) / _TICKS
    return Process(pid, int(values[1]), values[0], int(values[19]), cpu)


def is_alive(pid: int, start: int, boot: str) -> bool:
    """Whether this very process lives: the same id, start time and boot, and not a zombie."""
    if pid <= 0 or boot != boot_id():
        return False
    found = process(pid)
    return found is not None and found.start == start and found.state not in "ZX"


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found


def descendants(root: int) -> list[int]:
    """All living descendants of a process, parents first."""
    if not Path(f"/proc/self/task/{os.getpid()}/children").exists():
        return _descendants_by_scan(root)
    found: list[int] = []
    ahead = _children(root)
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += _children(pid)
    return found


def _descendants_by_scan(root: int) -> list[int]:
    """For kernels without CONFIG_PROC_CHILDREN."""
    by_parent: dict[int, list[int]] = {}
    for pid in _all_pids():
        item = process(pid)
        if item is not None:
            by_parent.setdefault(item.parent, []).append(pid)
    found: list[int] = []
    ahead = list(by_parent.get(root, ()))
    while ahead:
        pid = ahead.pop()
        found.append(pid)
        ahead += by_parent.get(pid, ())
    return found


def _all_pids() -> Iterator[int]:
    return (int(path.name) for path in _PROC.iterdir() if path.name.isdigit())


def cpu_seconds(root: int) -> float:
    """CPU time of a process, all its living descendants and those that ended."""
    items = (process(pid) for pid in (root, *descendants(root)))
    return sum(item.cpu_seconds for item in items if item is not None)


def memory_bytes(pids: list[int]) -> int:
    """Resident memory of processes that is not a file's: their own and what they share among themselves."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = Path(f"/proc/{pid}/statm").read_text().split()
            anonymous = int(fields[1]) - int(fields[2])
            total += max(0, anonymous) * _PAGE
            total += _shared_memory_bytes(pid, int(fields[2]))
    return total


def _shared_memory_bytes(pid: int, shared_pages: int) -> int:
    """Shared memory segments, which count as a file's in statm; read only where there may be much of it."""
    if shared_pages * _PAGE < 256 << 20:
        return 0
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssShmem:"):
            return int(line.split()[1]) << 10
    return 0


def send(pids: list[int], number: signal.Signals) -> None:
    """Send a signal to each; those gone already do not matter."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def kill_descendants(root: int, rounds: int = 50) -> bool:
    """SIGKILL all descendants until there are none; stopped first, so that none forks away. Whether all are gone."""
    for _ in range(rounds):
        found = [pid for pid in descendants(root) if (item := process(pid)) is not None and item.state not in "ZX"]
        if not found:
            return True
        send(found, signal.SIGSTOP)
        send(found, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
    return False


def marked(mark: str) -> list[int]:
    """Processes in whose environment this stands: what a job started, wherever it hides in the tree."""
    needle = mark.encode()
    found = []
    for pid in _all_pids():
        if pid != os.getpid():
            with contextlib.suppress(OSError):
                if needle in Path(f"/proc/{pid}/environ").read_bytes():
                    found.append(pid)
    return found


def kill_marked(mark: str, rounds: int = 20) -> None:
    """SIGKILL all that carry the mark."""
    for _ in range(rounds):
        found = [pid for pid in marked(mark) if (item := process(pid)) is not None and item.state not in "ZX"]
        if not found:
            return
        send(found, signal.SIGKILL)
