"""Starts a job: a small parent that reaps all that the job leaves behind, and below it the job.

The parent is process 1 of the job's process namespace where there is one; when it ends, the kernel ends everything
inside. It ends when the job's first process does, and at once when the shim is gone, which it notices by the end of a
pipe that only the shim holds open.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from flight.compute.shim import sandbox, tree
from flight.compute.shim.files import Order

PROGRESS_FD = 3
COMMAND_NOT_FOUND = 127


@dataclass(slots=True)
class Launched:
    """A job that was started: the pipes from it, and ``alive``, which must stay open as long as it shall run."""

    stdout: int
    stderr: int
    progress: int
    messages: int
    alive: int


def launch(order: Order) -> Launched:
    """Start the job. ``messages`` carries lines of JSON: root, isolation, error, exit."""
    stdout, stderr, progress, messages, alive = (os.pipe() for _ in range(5))
    child = os.fork()
    if child == 0:
        for reader in (stdout[0], stderr[0], progress[0], messages[0], alive[1]):
            os.close(reader)
        _between(order, alive[0], stdout[1], stderr[1], progress[1], messages[1])
    for descriptor in (stdout[1], stderr[1], progress[1], messages[1], alive[0]):
        os.close(descriptor)
    os.waitpid(child, 0)
    return Launched(stdout[0], stderr[0], progress[0], messages[0], alive[1])


def _between(order: Order, alive: int, stdout: int, stderr: int, progress: int, messages: int) -> NoReturn:
    """Enter the namespaces, fork the parent of the job into them, and be gone: the shim, a subreaper, inherits it."""
    try:
        isolation = sandbox.enter(order)
        _say(messages, isolation=isolation.walls)
        parent = os.fork()
        if parent == 0:
            _parent(order, alive, stdout, stderr, progress, messages, own_processes=isolation.own_processes)
        _say(messages, root=parent)
    except OSError as error:
        _say(messages, error=f"cannot start a process ({error.strerror})")
    os._exit(0)


def _parent(
    order: Order, alive: int, stdout: int, stderr: int, progress: int, messages: int, *, own_processes: bool
) -> NoReturn:
    with contextlib.suppress(OSError):
        sandbox.become_subreaper()
    if own_processes:
        sandbox.mount_proc()
    wake_reader, wake_writer = os.pipe()
    os.set_blocking(wake_writer, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
    job = os.fork()
    if job == 0:
        _job(order, stdout, stderr, progress, messages)
    for descriptor in (stdout, stderr, progress):
        os.close(descriptor)
    while True:
        readable, _, _ = select.select([alive, wake_reader], [], [])
        if alive in readable:
            _end(own_processes, 1)
        os.read(wake_reader, 4096)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG)) != (0, 0):
                if found[0] == job:
                    _say(messages, exit=os.waitstatus_to_exitcode(found[1]))
                    _end(own_processes, 0)


def _end(own_processes: bool, code: int) -> NoReturn:
    # The kernel ends a process namespace with its first process; elsewhere that is ours to do.
    if not own_processes:
        tree.kill_descendants(os.getpid())
    os._exit(code)


def _job(order: Order, stdout: int, stderr: int, progress: int, messages: int) -> NoReturn:
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        for caught in (signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ, signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(caught, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        sandbox.limit(order)
        sandbox.drop_user(order)
        sandbox.no_new_privileges()
        os.umask(0o077)
        os.chdir(order.program_dir)
        null = os.open(os.devnull, os.O_RDONLY)
        # High numbers first: the pipes may stand where the job's own descriptors go.
        high = [os.dup2(descriptor, 100 + index) for index, descriptor in enumerate((null, stdout, stderr, progress))]
        said = os.dup2(messages, 110, inheritable=False)
        for number, descriptor in enumerate(high):
            os.dup2(descriptor, number)
        os.closerange(PROGRESS_FD + 1, 110)
        os.closerange(111, 256)
        environment = environment_of(order)
        program = _program(order)
        try:
            os.execve(program, order.command, environment)  # noqa: S606 - no shell is wanted
        except OSError as error:
            _say(said, error=f"cannot run {order.command[0]} ({error.strerror})")
    except OSError as error:
        _say(messages, error=f"cannot prepare the job ({error.strerror}: {error.filename or ''})")
    except BaseException as error:  # noqa: BLE001 - nothing may climb out of a forked child
        _say(messages, error=f"cannot prepare the job ({type(error).__name__}: {error})")
    os._exit(COMMAND_NOT_FOUND)


def _program(order: Order) -> str:
    """Find the program as a shell would, in the job's own PATH; names with a slash start at the program directory."""
    name = order.command[0]
    if "/" in name:
        return name
    for directory in (order.program_dir, *order.path.split(os.pathsep)):
        candidate = Path(directory) / name
        if os.access(candidate, os.X_OK) and not candidate.is_dir():
            return str(candidate)
    return name


def environment_of(order: Order) -> dict[str, str]:
    """A clean environment: nothing of the driver's own, threads as many as cores were asked for."""
    threads = str(order.cores)
    return {
        "PATH": order.path,
        "HOME": order.home_dir,
        "TMPDIR": order.home_dir,
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT"), threads),
        **order.environment,
        "SKYRACK_CHECKPOINT_DIR": order.checkpoint_dir,
        "SKYRACK_INPUT_DIR": order.input_dir,
        "SKYRACK_OUTPUT_DIR": order.output_dir,
        "SKYRACK_PROGRESS_FD": str(PROGRESS_FD),
        "SKYRACK_WORK": order.token,
    }


def _say(descriptor: int, **values: Any) -> None:
    with contextlib.suppress(OSError):
        os.write(descriptor, json.dumps(values).encode() + b"\n")
