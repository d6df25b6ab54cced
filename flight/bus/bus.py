"""The bus as one service sees it: what it publishes, what it hears, what it asks, what it answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import zmq
from google.protobuf.message import Message

from flight.bus.contract import rpc_for
from flight.bus.counters import BusCounters
from flight.bus.endpoints import Endpoints
from flight.bus.errors import BusError, EndpointError
from flight.bus.publisher import Publisher, Tap
from flight.bus.requests import Client, RequestHandler, Server
from flight.bus.subscriber import Handler, RawHandler, Subscriber
from skyrack.clock import Clock
from skyrack.dictionary import Rpc
from skyrack.v1.common_pb2 import Header

M = TypeVar("M", bound=Message)

_LARGEST_MESSAGE_BYTES = 64 * 1024 * 1024
_RECONNECT_MILLISECONDS = 20
_LONGEST_RECONNECT_MILLISECONDS = 500


def _ignore_malformed(_source: str, _reason: str) -> None:
    pass


def _ignore_error(_where: str, _error: Exception) -> None:
    pass


class Bus:
    """One per service. Everything happens in the event loop that called :meth:`open`; nothing here blocks.

    Guaranteed: messages of one topic arrive in order, at most once; a newcomer, and only the newcomer, gets the last
    value of each state message it subscribes to; whatever is lost is counted by the receiver (``missed``), and by the
    sender where a queue ran full (``dropped``). Not guaranteed: delivery. What must not be lost is sent again by
    whoever needs it.

    ``on_malformed(source, reason)`` hears of each message that could not be read, ``on_error(where, error)`` of each
    handler that raised; both are dropped and counted, and the bus goes on.
    """

    def __init__(
        self,
        name: str,
        endpoints: Endpoints,
        clock: Clock,
        incarnation: int,
        context: zmq.Context[Any] | None = None,
        *,
        high_water_mark: int = 1000,
    ) -> None:
        self.name = name
        self.counters = BusCounters()
        self.on_malformed: Callable[[str, str], None] = _ignore_malformed
        self.on_error: Callable[[str, Exception], None] = _ignore_error
        self._endpoints = endpoints
        self._clock = clock
        self._incarnation = incarnation
        self._owns_context = context is None
        self._context: zmq.Context[Any] = zmq.Context(1) if context is None else context
        self._high_water_mark = high_water_mark
        self._sources: dict[str, bool] = {}
        self._clients: dict[str, tuple[Client, zmq.Socket[bytes]]] = {}
        self._tasks: dict[asyncio.Future[None], None] = {}
        self._taps: list[Tap] = []
        self._subscriptions: list[Callable[[Subscriber], None]] = []
        self._served: list[tuple[Rpc, RequestHandler]] = []
        self._sockets: list[zmq.Socket[bytes]] = []
        self._publisher: Publisher | None = None
        self._subscriber: Subscriber | None = None
        self._server: Server | None = None

    @property
    def taps(self) -> list[Tap]:
        """Called with topic, header and payload of each message that this bus publishes."""
        return self._taps

    @property
    def is_open(self) -> bool:
        """Whether messages can be published."""
        return self._publisher is not None

    async def open(self) -> None:
        """Bind this service's endpoints and connect to those it listens to, which need not exist yet.

        Raises EndpointError when an address cannot be used, BusError when it cannot be bound.
        """
        loop = asyncio.get_running_loop()
        addresses = self._endpoints.pub(self.name), self._endpoints.req(self.name)
        rendezvous = self._endpoints.rendezvous
        if rendezvous is not None and self.name in rendezvous.bound:
            raise EndpointError(
                f"{self.name} is bound twice in one process; close the first bus before opening another"
            )
        xpub, router, sub = (self._socket(kind) for kind in (zmq.XPUB, zmq.ROUTER, zmq.SUB))
        self._publisher = Publisher(loop, xpub, self.name, self._incarnation, self._clock.now, self.counters)
        self._publisher.taps = self._taps
        self._server = Server(
            loop, router, self.name, self._clock.now, self._make_header, self.counters, self._malformed, self._failed
        )
        self._subscriber = Subscriber(loop, sub, self.counters, self._run, self._malformed)
        for rpc, handler in self._served:
            self._server.serve(rpc, handler)
        for subscribe in self._subscriptions:
            subscribe(self._subscriber)
        try:
            for socket, address in zip((xpub, router), addresses, strict=True):
                socket.bind(address)
        except zmq.ZMQError as error:
            self._close_sockets()
            problem = f"{self.name} cannot bind {address}: {error}; its directory must exist and be writable"
            raise BusError(problem) from None
        for pump in (self._publisher.pump, self._server.pump, self._subscriber.pump):
            pump.start()
        if rendezvous is not None:
            rendezvous.join(self)
            rendezvous.arrive(self.name)
        for source in self._sources:
            self._connect(source)

    async def close(self) -> None:
        """Unbind and let go of everything; what is still queued is dropped. Requests under way end as time-outs."""
        if self._publisher is None:
            return
        if self._server is not None:
            self._server.cancel()
        for task in list(self._tasks):
            task.cancel()
        rendezvous = self._endpoints.rendezvous
        if rendezvous is not None:
            for service in list(rendezvous.bound):
                self.peer_leaves(service)
            self._sockets[0].unbind(self._endpoints.pub(self.name))
            self._sockets[1].unbind(self._endpoints.req(self.name))
            rendezvous.leave(self.name, self)
        self._close_sockets()
        if self._owns_context:
            self._context.term()

    def publish(self, message: Message, key: str = "") -> None:
        """Send a message to all who subscribed; ``key`` names the instance (a load, a job)."""
        if self._publisher is None:
            raise BusError(f"{self.name} published {type(message).__name__} before its bus was open or after it closed")
        self._publisher.publish(message, key)

    def subscribe(self, source_service: str, message_type: type[M], handler: Handler, key: str | None = None) -> None:
        """Call ``handler(message, header, key)`` with each such message, of one instance or (None) of all.

        An async handler runs as a task of its own. The message is shared by all handlers: do not change it.
        """

        def subscribe(subscriber: Subscriber) -> None:
            subscriber.subscribe(source_service, message_type, handler, key)

        self._subscribe(subscribe, source_service)

    def subscribe_raw(self, source_services: tuple[str, ...], handler: RawHandler) -> None:
        """Call ``handler(topic, header, payload)`` with everything that these services publish."""

        def guarded(topic: bytes, header: bytes, payload: bytes) -> None:
            try:
                handler(topic, header, payload)
            except Exception as error:  # noqa: BLE001 - one bad message must not end the service
                self._failed(getattr(handler, "__qualname__", repr(handler)), error)

        self._subscribe(lambda subscriber: subscriber.subscribe_raw(guarded), *source_services)

    def inject(self, topic: bytes, header: bytes, payload: bytes) -> None:
        """Take a message as if it had come from its publisher: for replays."""
        if self._subscriber is not None:
            self._subscriber.take(topic, header, payload)

    async def request(self, service: str, request: Message, timeout_seconds: float) -> Message:
        """Ask ``service`` and wait for the answer, for at most so many mission seconds.

        Raises RequestTimeoutError when no answer came, RequestRefusedError when it said no (the message is why), and
        LookupError when the contract has no such command.
        """
        rpc = rpc_for(service, type(request))
        client = self._clients.get(service)
        if client is None:
            client = self._new_client(service)
        return await client[0].request(rpc, request, timeout_seconds)

    def serve(self, rpc: Rpc, handler: RequestHandler) -> None:
        """Answer requests with ``handler(request, header)``, sync or async; RequestRefusedError refuses them."""
        self._served.append((rpc, handler))
        if self._server is not None:
            self._server.serve(rpc, handler)

    def hold_unknown_requests(self, hold: bool) -> None:
        """While a service starts, keep requests that it does not serve yet; end that to have them answered.

        Whoever waited for the service asks the moment it is there: not yet ready is no refusal.
        """
        if self._server is not None:
            self._server.hold_unknown(hold)

    def _subscribe(self, subscribe: Callable[[Subscriber], None], *sources: str) -> None:
        self._subscriptions.append(subscribe)
        if self._subscriber is not None:
            subscribe(self._subscriber)
        for source in sources:
            if source not in self._sources:
                self._sources[source] = False
                if self._subscriber is not None:
                    self._connect(source)

    def _connect(self, source: str) -> None:
        if self._sources[source] or not self._reachable(source) or self._subscriber is None:
            return
        self._subscriber.connect(self._endpoints.pub(source))
        self._sources[source] = True

    def _reachable(self, service: str) -> bool:
        rendezvous = self._endpoints.rendezvous
        return rendezvous is None or service in rendezvous.bound

    def _new_client(self, service: str) -> tuple[Client, zmq.Socket[bytes]]:
        if self._publisher is None:
            raise BusError(f"{self.name} asked {service} before its bus was open or after it closed")
        loop = asyncio.get_running_loop()
        socket = self._socket(zmq.DEALER)
        client = Client(loop, socket, service, self._clock, self._make_header, self.counters, self._malformed)
        self._clients[service] = (client, socket)
        if self._reachable(service):
            client.connect(self._endpoints.req(service))
        client.pump.start()
        return self._clients[service]

    # Peer: how the rendezvous of an inproc bus speaks to this one.

    def peer_arrived(self, service: str) -> None:
        if service in self._sources:
            self._connect(service)
        if service in self._clients:
            self._clients[service][0].connect(self._endpoints.req(service))

    def peer_leaves(self, service: str) -> None:
        if self._subscriber is not None and self._sources.get(service):
            self._subscriber.disconnect(self._endpoints.pub(service))
            self._sources[service] = False
        if service in self._clients:
            self._clients[service][0].disconnect(self._endpoints.req(service))

    def settle(self) -> None:
        for socket in self._sockets:
            socket.get(zmq.EVENTS)
        for pump in self._pumps():
            pump.look_again()

    def _pumps(self) -> list[Any]:
        parts = (self._publisher, self._server, self._subscriber, *(client for client, _ in self._clients.values()))
        return [part.pump for part in parts if part is not None]

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.set(zmq.LINGER, 0)
        socket.set(zmq.SNDHWM, self._high_water_mark)
        socket.set(zmq.RCVHWM, self._high_water_mark)
        socket.set(zmq.MAXMSGSIZE, _LARGEST_MESSAGE_BYTES)
        socket.set(zmq.RECONNECT_IVL, _RECONNECT_MILLISECONDS)
        socket.set(zmq.RECONNECT_IVL_MAX, _LONGEST_RECONNECT_MILLISECONDS)
        self._sockets.append(socket)
        return socket

    def _close_sockets(self) -> None:
        for pump in self._pumps():
            pump.stop()
        for socket in self._sockets:
            socket.close(0)
        self._sockets.clear()
        self._clients.clear()
        self._publisher = self._server = self._subscriber = None
        for source in self._sources:
            self._sources[source] = False

    def _make_header(self) -> bytes:
        return Header(
            source=self.name, incarnation=self._incarnation, mission_time_seconds=self._clock.now()
        ).SerializeToString()

    def _malformed(self, source: str, reason: str) -> None:
        self.on_malformed(source, reason)

    def _run(self, handler: Handler, message: Message, header: Header, key: str) -> None:
        try:
            result = handler(message, header, key)
        except Exception as error:  # noqa: BLE001 - one bad message must not end the service
            self._failed(_name_of(handler), error)
            return
        if result is not None:
            self._watch(handler, asyncio.ensure_future(result))

    def _watch(self, handler: Handler, task: asyncio.Future[None]) -> None:
        self._tasks[task] = None

        def ended(task: asyncio.Future[None]) -> None:
            self._tasks.pop(task, None)
            error = None if task.cancelled() else task.exception()
            if isinstance(error, Exception):
                self._failed(_name_of(handler), error)

        task.add_done_callback(ended)

    def _failed(self, where: str, error: Exception) -> None:
        self.counters.handler_errors += 1
        self.on_error(where, error)


def _name_of(handler: Handler) -> str:
    return getattr(handler, "__qualname__", repr(handler))
