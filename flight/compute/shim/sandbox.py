"""Keeps keys, other jobs' files, the network and the rest of the machine out of a job's reach, as far as allowed.

As root: an unprivileged user of the job's own, in mount, process, network and IPC namespaces. As an ordinary user: the
same namespaces inside a user namespace, where the kernel lets users have them. Where it does not, the job runs as the
driver's user with nothing but its limits, and the status says so.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
from dataclasses import dataclass, field
from pathlib import Path

from flight.compute.shim.files import Order

JOBS_GROUP = "SKYRACK_JOBS_CGROUP"
"""Environment variable that names the control group of jobs."""

_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 36, 38
_CLONE_NEWNS, _CLONE_NEWIPC, _CLONE_NEWUSER = 0x00020000, 0x08000000, 0x10000000
_CLONE_NEWPID, _CLONE_NEWNET = 0x20000000, 0x40000000
_MS_RDONLY, _MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 1, 2, 4, 0x1000, 0x4000, 1 << 18
_SYS_MOUNT_SETATTR = 442  # the same number on all architectures
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_ATTR_RDONLY, _ATTR_NOSUID = 1, 2
_BASE_MEMORY_BYTES = 1 << 30
"""Beyond what a job asks for: address space that runtimes reserve and never touch."""

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def become_subreaper() -> None:
    """Orphans below this process become its children: a double fork does not escape."""
    _check(_libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "prctl")


def no_new_privileges() -> None:
    """What is executed from here on gains nothing from set-user-id files."""
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "prctl")


def join_jobs_group() -> None:
    """Enter the jobs' control group, where whoever started the flight services made one: jobs come after services."""
    group = os.environ.get(JOBS_GROUP)
    if group:
        with contextlib.suppress(OSError):
            (Path(group) / "cgroup.procs").write_text(str(os.getpid()), encoding="ascii")


@dataclass(slots=True)
class Isolation:
    """What could be put around a job, in words."""

    walls: list[str] = field(default_factory=list)
    own_processes: bool = False


def enter(order: Order) -> Isolation:
    """Put this process into namespaces; its children will be in the new process namespace. Never raises."""
    isolation = Isolation()
    root = os.geteuid() == 0
    uid, gid = os.geteuid(), os.getegid()
    flags = _CLONE_NEWNS | _CLONE_NEWPID | _CLONE_NEWIPC | _CLONE_NEWNET
    try:
        _check(_libc.unshare(flags if root else flags | _CLONE_NEWUSER), "unshare")
        if not root:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
    except OSError as error:
        isolation.walls.append(f"no namespaces ({error.strerror}): the job sees what its user sees")
        return isolation
    isolation.own_processes = True
    isolation.walls += ["own processes", "no network"]
    try:
        _arrange_files(order, isolation)
    except OSError as error:
        isolation.walls.append(f"files not hidden ({error.strerror})")
    return isolation


def _arrange_files(order: Order, isolation: Isolation) -> None:
    _mount(b"none", b"/", None, _MS_REC | _MS_PRIVATE)
    with contextlib.suppress(OSError):
        _set_attributes("/", set_=_ATTR_RDONLY | _ATTR_NOSUID, recursive=True)
        isolation.walls.append("read-only system")
    writable = [order.output_dir, order.checkpoint_dir, order.home_dir]
    readable = [*order.keep, order.program_dir, order.input_dir]
    opened = {path: os.open(path, os.O_PATH | os.O_DIRECTORY) for path in (*readable, *writable) if Path(path).is_dir()}
    hidden = [path for path in _outermost(order.hide) if Path(path).is_dir()]
    for path in hidden:
        _cover(path)
    for path, descriptor in opened.items():
        if any(_inside(path, hide) for hide in hidden) or path in writable:
            Path(path).mkdir(parents=True, exist_ok=True)
            _mount(f"/proc/self/fd/{descriptor}".encode(), path.encode(), None, _MS_BIND | _MS_REC)
        # What is hidden inside of what was brought back is hidden again.
        for hide in order.hide:
            if hide != path and _inside(hide, path) and Path(hide).is_dir() and path not in writable:
                _cover(hide)
        if path in writable:
            with contextlib.suppress(OSError):
                _set_attributes(path, clear=_ATTR_RDONLY)
    for descriptor in opened.values():
        os.close(descriptor)
    isolation.walls.append(f"hidden: {', '.join(hidden)}")


def _cover(path: str) -> None:
    """Put an empty directory in a memory of its own over another."""
    shared = path in ("/tmp", "/dev/shm")  # noqa: S108 - covered, not used
    options = b"mode=1777,size=64m" if shared else b"mode=0755,size=1m"
    _mount(b"tmpfs", path.encode(), b"tmpfs", _MS_NOSUID | _MS_NODEV, options)


def mount_proc() -> None:
    """Show a process namespace its own processes; called inside of it."""
    with contextlib.suppress(OSError):
        _mount(b"proc", b"/proc", b"proc", _MS_NOSUID | _MS_NODEV)


def limit(order: Order) -> None:
    """Set the job's resource limits on this process."""

    def lower(kind: int, value: int) -> None:
        with contextlib.suppress(ValueError, OSError):
            _, hard = resource.getrlimit(kind)
            value = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(kind, (value, value))

    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_NOFILE, 1024)
    if order.memory_bytes:
        lower(resource.RLIMIT_DATA, order.memory_bytes + _BASE_MEMORY_BYTES)
    if order.disk_bytes:
        lower(resource.RLIMIT_FSIZE, order.disk_bytes)
    if order.uid >= 0:
        lower(resource.RLIMIT_NPROC, order.processes * 4)


def drop_user(order: Order) -> None:
    """Become the job's own user, for good."""
    if order.uid >= 0:
        os.setgroups([])
        os.setresgid(order.uid, order.uid, order.uid)
        os.setresuid(order.uid, order.uid, order.uid)


def _mount(source: bytes, target: bytes, kind: bytes | None, flags: int, options: bytes | None = None) -> None:
    _check(_libc.mount(source, target, kind, ctypes.c_ulong(flags), options), f"mount {target.decode()}")


def _set_attributes(path: str, *, set_: int = 0, clear: int = 0, recursive: bool = False) -> None:
    attributes = (ctypes.c_uint64 * 4)(set_, clear, 0, 0)
    flags = _AT_RECURSIVE if recursive else 0
    result = _libc.syscall(
        ctypes.c_long(_SYS_MOUNT_SETATTR),
        _AT_FDCWD,
        path.encode(),
        flags,
        ctypes.byref(attributes),
        ctypes.c_size_t(32),
    )
    _check(result, f"mount_setattr {path}")


def _inside(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def _outermost(paths: list[str]) -> list[str]:
    kept: list[str] = []
    for path in sorted(set(paths), key=len):
        if not any(_inside(path, outer) for outer in kept):
            kept.append(path)
    return kept
