"""Begins the flight of a board that flies alone: what its systemd unit runs.

Mission time is UTC from here on. Where systemd delegated the unit's part of the cgroup tree (version 2), services and
jobs get a group each, with weights 100 to 1: a job that keeps all cores busy does not make a control cycle late. The
job shim joins the group that ``SKYRACK_JOBS_CGROUP`` names.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from flight.board import load_board, paths_of
from flight.compute.shim.sandbox import JOBS_GROUP
from skyrack.clock import Anchor, write_anchor
from skyrack.errors import UserError

SERVICES_WEIGHT, JOBS_WEIGHT = 1000, 10
"""Of ``cpu.weight``, 1 to 10000 (Documentation/admin-guide/cgroup-v2.rst); 100 is the kernel's own."""
_CGROUPS = Path("/sys/fs/cgroup")


def split_group(own: str, root: Path = _CGROUPS, pid: int | None = None) -> Path | None:
    """Divide this process's cgroup between services, which it joins, and jobs; the jobs' group.

    ``own`` is the content of ``/proc/self/cgroup``. ``None`` where it is not ours to divide: another version of
    cgroups, or nothing was delegated.
    """
    path = next((line[3:] for line in own.splitlines() if line.startswith("0::")), "")
    group = root / path.lstrip("/")
    # After a restart by exec the process is in the group that it made before.
    group = group.parent if group.name == "services" else group
    if not path or path == "/" or not (group / "cgroup.subtree_control").is_file():
        return None
    services, jobs = group / "services", group / "jobs"
    try:
        services.mkdir(exist_ok=True)
        jobs.mkdir(exist_ok=True)
        # A group that gives controllers to others has no processes of its own.
        (services / "cgroup.procs").write_text(str(pid or os.getpid()))
        for controller in ("cpu", "io", "memory", "pids"):
            with contextlib.suppress(OSError):
                (group / "cgroup.subtree_control").write_text(f"+{controller}")
        for made, weight in ((services, SERVICES_WEIGHT), (jobs, JOBS_WEIGHT)):
            with contextlib.suppress(OSError):
                (made / "cpu.weight").write_text(str(weight))
    except OSError:
        return None
    return jobs


def main() -> int:
    """Process entry: becomes the executive, or says why it cannot."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m hil.provision.start BOARD-FILE\n")
        return 2
    try:
        board = load_board(Path(sys.argv[1]))
    except UserError as error:
        sys.stderr.write(f"Error: {error}\n")
        return 2
    paths_of(board).make()
    write_anchor(board.clock_file, Anchor.utc())
    jobs = split_group(Path("/proc/self/cgroup").read_text(encoding="ascii"))
    if jobs is not None:
        os.environ[JOBS_GROUP] = str(jobs)
    program = [sys.executable, "-m", "flight", "executive", "--board", sys.argv[1]]
    return os.execv(program[0], program)  # noqa: S606 - systemd watches this process


if __name__ == "__main__":
    sys.exit(main())
