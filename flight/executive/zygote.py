"""Starts processes by forking a parent that has everything imported already.

The parent, the zygote, is forked from the executive before that has threads or an event loop, and never has any
itself. A service that is forked from it starts in milliseconds and shares the pages of all imported code; what it does
then, and how it ends, is its own. Processes cannot outlive their parent here: the kernel kills the zygote when the
executive dies, and the services when the zygote does.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

Run = Callable[[str], None]
"""What a service's process does; the service's name goes in. A return is a clean end."""

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_LONGEST_MESSAGE_BYTES = 4096
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the one that forked it (``parent``) dies."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)  # the parent died before the line above


def set_process_name(name: str) -> None:
    """Name this process, as ``ps`` and ``top`` show it: 15 bytes at most."""
    _libc.prctl(_PR_SET_NAME, name.encode()[:15])


def fork_zygote(name: str, run: Run, log_dir: Path) -> tuple[int, socket.socket]:
    """Fork a zygote whose children call ``run``; returns its process id, and a socket to ask it for processes.

    Asked: ``{"start": service}``, ``{"service": service, "signal": number}``. It tells: ``{"started": service, "pid":
    pid}``, ``{"ended": service, "status": wait_status}``. The end of the socket is the end of all its processes.
    What a service writes to its standard output and error goes to ``log_dir/<service>.stderr``.

    Raises:
        RuntimeError: this process has more than one thread, so that a fork of it may not work.
    """
    if threading.active_count() > 1:
        names = ", ".join(thread.name for thread in threading.enumerate())
        raise RuntimeError(f"the zygote must be forked before there are threads; there are {names}")
    ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # What is imported now stays as it is: kept out of garbage collection, its pages stay shared.
    gc.collect()
    gc.freeze()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        its.close()
        ours.setblocking(False)
        return pid, ours
    try:
        die_with_parent(parent)
        os.setpgid(0, 0)
        ours.close()
        set_process_name(f"{name}.zygote")
        _Zygote(its, run, log_dir).serve()
    except BaseException:  # noqa: BLE001 - nothing of the parent's stack may run here
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


class _Zygote:
    def __init__(self, control: socket.socket, run: Run, log_dir: Path) -> None:
        self._control = control
        self._run = run
        self._log_dir = log_dir
        self._children: dict[int, str] = {}
        self._pids: dict[str, int] = {}

    def serve(self) -> None:
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._wake = (wake_read, wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(wake_read, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, _LONGEST_MESSAGE_BYTES)
                elif not self._obey():
                    return
            self._reap()

    def _obey(self) -> bool:
        """Take one message; False when the executive is gone."""
        data = self._control.recv(_LONGEST_MESSAGE_BYTES)
        if not data:
            for pid in self._children:
                _signal_group(pid, signal.SIGKILL)
            return False
        message = json.loads(data)
        if "start" in message:
            self._start(message["start"])
        elif message["service"] in self._pids:
            _signal_group(self._pids[message["service"]], message["signal"])
        return True

    def _start(self, service: str) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become(service, parent)
        # Both sides set the group: whichever runs first, it exists before it is signalled.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._children[pid] = service
        self._pids[service] = pid
        self._tell({"started": service, "pid": pid})

    def _become(self, service: str, parent: int) -> NoReturn:
        code = 1
        try:
            die_with_parent(parent)
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._control.close()
            for descriptor in self._wake:
                os.close(descriptor)
            _redirect(self._log_dir / f"{service}.stderr")
            set_process_name(service)
            self._run(service)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        except BaseException:  # noqa: BLE001 - the last line of the traceback is what the executive reports
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(code)

    def _reap(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            service = self._children.pop(pid, None)
            if service is not None:
                self._pids.pop(service, None)
                self._tell({"ended": service, "status": status})

    def _tell(self, message: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the executive is gone: the next read says so
            self._control.send(json.dumps(message).encode())


def _signal_group(pid: int, number: int) -> None:
    # The group may not exist yet, the child always does: it has not been reaped.
    for send in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError):
            send(pid, number)
            return


def _redirect(path: Path) -> None:
    """Send standard output and error to a file, and read nothing."""
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(nothing)
    os.close(target)
