"""Tells systemd how the satellite is: the protocol of sd_notify(3), a datagram of NAME=VALUE lines."""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """Sends to the socket that systemd named in ``NOTIFY_SOCKET``; does nothing where there is none.

    The variables are taken out of ``environment``, so that services started from here do not speak for this one.
    """

    def __init__(self, environment: MutableMapping[str, str] | None = None) -> None:
        taken = os.environ if environment is None else environment
        address = taken.pop("NOTIFY_SOCKET", "")
        watchdog_microseconds = taken.pop("WATCHDOG_USEC", "")
        watchdog_pid = taken.pop("WATCHDOG_PID", "")
        self._socket: socket.socket | None = None
        # How long systemd waits for a stroke before it restarts the unit; None when it does not watch.
        self.watchdog_seconds: float | None = None
        if not address.startswith(("/", "@")):
            return
        # An abstract socket's name begins with NUL, which the environment writes as @.
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        if watchdog_microseconds.isdigit() and watchdog_pid in ("", str(os.getpid())):
            self.watchdog_seconds = int(watchdog_microseconds) / 1e6

    def ready(self) -> None:
        """Start-up is finished."""
        self._send("READY=1")

    def status(self, text: str) -> None:
        """One line for ``systemctl status``."""
        self._send("STATUS=" + text.replace("\n", " "))

    def watchdog(self) -> None:
        """All is well: restart the unit later."""
        self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """Shut-down has begun."""
        self._send("STOPPING=1")

    def close(self) -> None:
        """Close the socket. Harmless when called twice."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, line: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(line.encode(), self._address)
        except OSError:
            # systemd is gone or slow: flying on matters more than telling it.
            return
