"""Requests: a DEALER at whoever asks, a ROUTER at whoever answers.

A request is [correlation, deadline][rpc][Header][payload], an answer [correlation, deadline][status][Header][payload].
A request whose sender has given up waiting is not executed: its deadline, in mission time, travels with it. A request
is sent once; whoever sends it again decides that.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import zmq
from google.protobuf.message import DecodeError, Message

from flight.bus.counters import BusCounters
from flight.bus.errors import RequestRefusedError, RequestTimeoutError
from flight.bus.pump import Pump
from skyrack.clock import Clock
from skyrack.dictionary import Rpc
from skyrack.v1.common_pb2 import Header

RequestHandler = Callable[[Any, Header], Awaitable[Message] | Message]
OnMalformed = Callable[[str, str], None]
# Called with the rpc's name and what the handler raised.
OnError = Callable[[str, Exception], None]
MakeHeader = Callable[[], bytes]

_TICKET = struct.Struct("<Qd")
# Those beyond are dropped: their senders see a time-out.
_MOST_HELD = 1000
_DONE, _REFUSED = b"\0", b"\1"


class Client:
    """Sends requests to one service."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        service: str,
        clock: Clock,
        make_header: MakeHeader,
        counters: BusCounters,
        on_malformed: OnMalformed,
    ) -> None:
        # Nothing waits in the queue of a connection that does not exist: a request goes to a live peer or not at all.
        socket.set(zmq.IMMEDIATE, 1)
        self._loop = loop
        self._socket = socket
        self._service = service
        self._clock = clock
        self._make_header = make_header
        self._counters = counters
        self._on_malformed = on_malformed
        self._next_ticket = 0
        self._waiting: dict[int, tuple[asyncio.Future[Message], Rpc]] = {}
        self._unsent: dict[int, list[bytes]] = {}
        self.pump = Pump(loop, socket, self._receive, self._send_unsent)

    def connect(self, address: str) -> None:
        self._socket.connect(address)
        self.pump.look_again()

    def disconnect(self, address: str) -> None:
        self.pump.read_all()
        # A service that died without saying so has ended the connection already.
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disconnect(address)

    async def request(self, rpc: Rpc, request: Message, timeout_seconds: float) -> Message:
        """Send one request and wait for its answer, for at most so much mission time.

        Raises RequestTimeoutError, and RequestRefusedError with the reason that the service gave.
        """
        self._next_ticket += 1
        ticket = self._next_ticket
        answer: asyncio.Future[Message] = self._loop.create_future()
        self._waiting[ticket] = (answer, rpc)
        deadline = self._clock.now() + timeout_seconds
        self._unsent[ticket] = [
            _TICKET.pack(ticket, deadline),
            rpc.name.encode(),
            self._make_header(),
            request.SerializeToString(),
        ]
        self._counters.requests_sent += 1
        self._send_unsent()
        try:
            async with self._clock.timeout(timeout_seconds):
                return await answer
        except TimeoutError:
            if answer.done() and not answer.cancelled():
                # This process was kept from running: both had come, and the answer is what was asked for.
                return answer.result()
            self._counters.requests_timed_out += 1
            never_sent = "it is not running, or not reachable" if ticket in self._unsent else "it was reached"
            raise RequestTimeoutError(
                f"{self._service} did not answer {rpc.name} within {timeout_seconds:g} s of mission time: {never_sent}"
            ) from None
        finally:
            self._waiting.pop(ticket, None)
            self._unsent.pop(ticket, None)

    def _send_unsent(self) -> None:
        if not self._unsent:
            return
        try:
            while self._unsent:
                ticket = next(iter(self._unsent))
                self._socket.send_multipart(self._unsent[ticket], zmq.NOBLOCK)
                del self._unsent[ticket]
        except zmq.Again:
            pass
        self.pump.look_again()

    def _receive(self) -> None:
        frames = self._socket.recv_multipart(zmq.NOBLOCK)
        try:
            ticket_bytes, status, _, payload = frames
            ticket, _ = _TICKET.unpack(ticket_bytes)
            answer, rpc = self._waiting.get(ticket, (None, None))
            if answer is None or rpc is None or answer.done():
                return
            if status == _DONE:
                answer.set_result(rpc.response.FromString(payload))
            else:
                answer.set_exception(RequestRefusedError(payload.decode()))
        except (ValueError, struct.error, DecodeError) as error:
            self._counters.malformed += 1
            self._on_malformed(self._service, f"an answer of {self._service} cannot be read: {error}")


class Server:
    """Takes requests, and answers each once."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        name: str,
        now: Callable[[], float],
        make_header: MakeHeader,
        counters: BusCounters,
        on_malformed: OnMalformed,
        on_error: OnError,
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._name = name
        self._now = now
        self._make_header = make_header
        self._counters = counters
        self._on_malformed = on_malformed
        self._on_error = on_error
        self._handlers: dict[str, tuple[Rpc, RequestHandler]] = {}
        self._tasks: list[asyncio.Future[Message]] = []
        self._held: list[list[bytes]] | None = None
        self.pump = Pump(loop, socket, self._receive)

    def serve(self, rpc: Rpc, handler: RequestHandler) -> None:
        """Answer such requests with ``handler``. Raises ValueError when there is a handler already."""
        if rpc.name in self._handlers:
            raise ValueError(f"{self._name} has two handlers for {rpc.name}; it must be one")
        self._handlers[rpc.name] = (rpc, handler)

    def cancel(self) -> None:
        """Stop working on what has not been answered yet."""
        for task in self._tasks:
            task.cancel()

    def hold_unknown(self, hold: bool) -> None:
        """Keep requests that have no handler yet instead of refusing them; take them up when that ends."""
        held, self._held = self._held or [], [] if hold else None
        for frames in held:
            self._take(frames)

    def _receive(self) -> None:
        self._take(self._socket.recv_multipart(zmq.NOBLOCK))

    def _take(self, frames: list[bytes]) -> None:
        try:
            identity, ticket, name_bytes, header_bytes, payload = frames
            name = name_bytes.decode()
            header = Header.FromString(header_bytes)
            _, deadline = _TICKET.unpack(ticket)
            found = self._handlers.get(name)
            request = found[0].request.FromString(payload) if found else None
        except (ValueError, struct.error, DecodeError) as error:
            self._counters.malformed += 1
            self._on_malformed("", f"a request cannot be read: {error}")
            return
        if self._now() > deadline:
            self._counters.requests_expired += 1
            return
        if found is None and self._held is not None:
            if len(self._held) < _MOST_HELD:
                self._held.append(frames)
            return
        if found is None or request is None:
            known = ", ".join(sorted(rpc.name for rpc, _ in self._handlers.values()))
            reason = f"{self._name} has no command {name}; it has {known or 'none'}"
            self._answer(identity, ticket, _REFUSED, reason.encode())
            return
        self._work(identity, ticket, found[0], found[1], request, header)

    def _work(
        self, identity: bytes, ticket: bytes, rpc: Rpc, handler: RequestHandler, request: Message, header: Header
    ) -> None:
        try:
            result = handler(request, header)
        except Exception as error:  # noqa: BLE001 - one bad request must not end the service
            self._refuse(identity, ticket, rpc, error)
            return
        if isinstance(result, Message):
            self._done(identity, ticket, rpc, result)
            return
        task = asyncio.ensure_future(result, loop=self._loop)
        self._tasks.append(task)

        def ended(task: asyncio.Future[Message]) -> None:
            self._tasks.remove(task)
            if task.cancelled():
                return
            error = task.exception()
            if isinstance(error, Exception):
                self._refuse(identity, ticket, rpc, error)
            elif error is None:
                self._done(identity, ticket, rpc, task.result())

        task.add_done_callback(ended)

    def _done(self, identity: bytes, ticket: bytes, rpc: Rpc, message: Message) -> None:
        if not isinstance(message, rpc.response):
            expected = rpc.response.__name__
            self._refuse(
                identity, ticket, rpc, TypeError(f"the handler returned {type(message).__name__}, not {expected}")
            )
            return
        self._counters.requests_served += 1
        self._answer(identity, ticket, _DONE, message.SerializeToString())

    def _refuse(self, identity: bytes, ticket: bytes, rpc: Rpc, error: Exception) -> None:
        self._counters.requests_refused += 1
        if isinstance(error, RequestRefusedError):
            reason = str(error)
        else:
            self._on_error(rpc.name, error)
            reason = f"{self._name} failed at {rpc.name}: {type(error).__name__}: {error}"
        self._answer(identity, ticket, _REFUSED, reason.encode())

    def _answer(self, identity: bytes, ticket: bytes, status: bytes, payload: bytes) -> None:
        if self._socket.closed:
            return
        try:
            self._socket.send_multipart([identity, ticket, status, self._make_header(), payload], zmq.NOBLOCK)
        except zmq.ZMQError:
            # Whoever asked is gone, or does not read: it sees a time-out.
            self._counters.dropped += 1
        self.pump.look_again()
