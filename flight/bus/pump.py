"""A ZeroMQ socket driven straight from the event loop.

The descriptor of a ZeroMQ socket is edge-triggered, and any call on the socket may swallow the edge. Two rules keep it
from falling silent: once woken, read until there is nothing left; and after every send or connect, look again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import zmq

# Messages read in one turn of the loop; the rest waits for the next turn, so that timers and other sockets get theirs.
MESSAGES_PER_TURN = 64

# As plain numbers: pyzmq's are enumerations, whose arithmetic takes longer than the calls that use them.
_EVENTS, _READABLE, _WRITABLE = int(zmq.EVENTS), int(zmq.POLLIN), int(zmq.POLLOUT)


class Pump:
    """Calls ``receive`` until it raises zmq.Again, whenever the socket may have something.

    ``writable`` is called whenever the socket may have become able to send.
    """

    __slots__ = ("_get", "_loop", "_pending", "_receive", "_running", "_writable", "socket")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        receive: Callable[[], None],
        writable: Callable[[], None] | None = None,
    ) -> None:
        self.socket = socket
        self._get: Callable[[int], Any] = socket.get
        self._loop = loop
        self._receive = receive
        self._writable = writable
        self._pending = False
        self._running = False

    def start(self) -> None:
        self._running = True
        self._loop.add_reader(self.socket.FD, self._on_signal)
        self.look_again()

    def look_again(self) -> None:
        """To be called after each call that may have swallowed the edge; one look per turn is enough."""
        if not self._pending and self._running:
            self._pending = True
            self._loop.call_soon(self._drain_pending)

    def stop(self) -> None:
        if self._running:
            self._running = False
            self._loop.remove_reader(self.socket.FD)

    def read_all(self) -> None:
        """Read until there is nothing left, now."""
        try:
            while self._running:
                self._receive()
        except zmq.Again:
            pass

    def _drain_pending(self) -> None:
        self._pending = False
        self._drain()

    def _on_signal(self) -> None:
        if self._writable is not None:
            self._drain()
            return
        # There most likely is a message: asking first would only delay it.
        try:
            self._receive()
        except zmq.Again:
            return
        self._read_the_rest()

    def _drain(self) -> None:
        if not self._running:
            return
        events = self._get(_EVENTS)
        if events & _WRITABLE and self._writable is not None:
            self._writable()
        if not events & _READABLE:
            return
        self._receive()
        self._read_the_rest()

    def _read_the_rest(self) -> None:
        # Asking whether there is more costs less than the exception that says there is not; for a burst it is the other
        # way round.
        if not self._running or not self._get(_EVENTS) & _READABLE:
            return
        receive = self._receive
        try:
            for _ in range(MESSAGES_PER_TURN - 1):
                receive()
                if not self._running:
                    return
        except zmq.Again:
            return
        self.look_again()
