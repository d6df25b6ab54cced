"""The subscribing half of a bus: one SUB socket, connected to every service that this one listens to."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import zmq
from google.protobuf.message import DecodeError, Message

from flight.bus.contract import is_state
from flight.bus.counters import BusCounters
from flight.bus.pump import Pump
from flight.bus.wire import KEYED_EVENTS_KEPT, NULL_TOPIC, prefix_of, split_topic
from skyrack.v1.common_pb2 import Header

Handler = Callable[[Any, Header, str], Awaitable[None] | None]
RawHandler = Callable[[bytes, bytes, bytes], None]
Run = Callable[[Handler, Message, Header, str], None]
OnMalformed = Callable[[str, str], None]

_NOBLOCK = int(zmq.NOBLOCK)


@dataclass(frozen=True, slots=True)
class _Subscription:
    source: str
    message_type: type[Message]
    key: str | None
    handler: Handler


@dataclass(slots=True)
class _Stream:
    """One topic from one source, as received."""

    key: str
    state: bool
    parse: Callable[[bytes], Message] | None = None
    handlers: list[Handler] = field(default_factory=list)
    incarnation: int = -1
    sequence: int = 0
    last: tuple[Message, Header] | None = None


class Subscriber:
    """Receives, checks, counts gaps, parses once, and calls every handler of a message.

    ``run`` calls one handler and deals with what it raises; ``on_malformed(source, reason)`` hears of frames dropped.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        counters: BusCounters,
        run: Run,
        on_malformed: OnMalformed,
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._recv = socket.recv
        self._counters = counters
        self._run = run
        self._on_malformed = on_malformed
        self._subscriptions: list[_Subscription] = []
        self._streams: dict[tuple[bytes, str], _Stream] = {}
        # Of events with a key, the oldest first: a topic for each job would be for ever.
        self._keyed: dict[tuple[bytes, str], None] = {}
        self._prefixes: set[bytes] = set()
        self._raw: list[RawHandler] = []
        # Topics of which a good message has come.
        self._known: set[bytes] = set()
        self._deliver: Callable[..., None] = self.take
        self.pump = Pump(loop, socket, self._receive)

    def subscribe(self, source: str, message_type: type[Message], handler: Handler, key: str | None) -> None:
        """Call ``handler`` with every message of that type (and instance) from ``source``."""
        subscription = _Subscription(source, message_type, key, handler)
        self._subscriptions.append(subscription)
        for (topic, stream_source), stream in self._streams.items():
            if stream_source == source and topic.startswith(prefix_of(message_type, key)):
                self._add_late(stream, subscription)
        self._add_prefix(prefix_of(message_type, key))

    def subscribe_raw(self, handler: RawHandler) -> None:
        """Call ``handler(topic, header, payload)`` with everything from all connected services."""
        self._raw.append(handler)
        self._add_prefix(b"")

    def _add_prefix(self, prefix: bytes) -> None:
        if prefix not in self._prefixes:
            self._prefixes.add(prefix)
            self._socket.set(zmq.SUBSCRIBE, prefix)
            self.pump.look_again()

    def _add_late(self, stream: _Stream, subscription: _Subscription) -> None:
        """The publisher sends its last value once to this service; later handlers get it from here."""
        stream.handlers.append(subscription.handler)
        if stream.last is not None:
            message, header = stream.last
            self._loop.call_soon(self._run, subscription.handler, message, header, stream.key)
        stream.parse = subscription.message_type.FromString
        stream.state = is_state(subscription.message_type)

    def connect(self, address: str) -> None:
        self._socket.connect(address)
        self.pump.look_again()

    def disconnect(self, address: str) -> None:
        """Let go of a publisher; what it has sent is kept and handled in the loop's next turn."""
        held: deque[tuple[bytes, bytes, bytes]] = deque()
        self._deliver = lambda *frames: held.append(frames)
        self.pump.read_all()
        self._deliver = self.take
        # A publisher that died without saying so has ended the connection already.
        with contextlib.suppress(zmq.ZMQError):
            self._socket.disconnect(address)
        self._loop.call_soon(self._deliver_held, held)

    def _deliver_held(self, held: deque[tuple[bytes, bytes, bytes]]) -> None:
        while held:
            self.take(*held.popleft())

    def _receive(self) -> None:
        """One [topic][Header][payload]; what a newcomer gets is several of them in one message."""
        recv = self._recv
        topic = recv(_NOBLOCK)
        if topic not in self._known:
            self._receive_unknown(topic)
            return
        # Where the message ends is not asked, as it costs a third of all: frames left over have no known topic.
        try:
            header = recv(_NOBLOCK)
            payload = recv(_NOBLOCK)
        except zmq.Again:
            self._malformed("", f"a message that ends after {topic[:80]!r}; it must be [topic][Header][payload]")
            return
        self._deliver(topic, header, payload)

    def _receive_unknown(self, topic: bytes) -> None:
        frames = [topic]
        while self._socket.get(zmq.RCVMORE):
            frames.append(self._recv(_NOBLOCK))
        if len(frames) % 3 == 0:
            for index in range(0, len(frames), 3):
                self._deliver(*frames[index : index + 3])
        elif frames != [NULL_TOPIC]:
            self._malformed("", f"{len(frames)} frames that begin with {topic[:80]!r}: not [topic][Header][payload]")

    def _malformed(self, source: str, reason: str) -> None:
        self._counters.malformed += 1
        self._on_malformed(source, reason)

    def take(self, topic: bytes, header_bytes: bytes, payload: bytes) -> None:
        """Check one message, count gaps, and call its handlers."""
        counters = self._counters
        try:
            header = Header.FromString(header_bytes)
            source = header.source
            stream = self._streams.get((topic, source)) or self._new_stream(topic, source)
        except (DecodeError, ValueError) as error:
            self._malformed("", f"the header of {topic[:80]!r} cannot be read: {error}")
            return
        sequence = header.sequence
        if header.incarnation != stream.incarnation:
            stream.incarnation = header.incarnation
        elif sequence != stream.sequence + 1:
            if sequence <= stream.sequence:
                counters.duplicates += 1
                return
            counters.missed += sequence - stream.sequence - 1
        stream.sequence = sequence
        for raw in self._raw:
            raw(topic, header_bytes, payload)
        parse = stream.parse
        if parse is None:
            return
        try:
            message = parse(payload)
        except DecodeError as error:
            self._malformed(source, f"the payload of {topic[:80]!r} from {source} cannot be read: {error}")
            return
        counters.received += 1
        if stream.state:
            stream.last = (message, header)
        run = self._run
        key = stream.key
        for handler in stream.handlers:
            run(handler, message, header, key)

    def _new_stream(self, topic: bytes, source: str) -> _Stream:
        name, key = split_topic(topic)
        if not source:
            raise ValueError("it names no source")
        stream = _Stream(key, False)
        for subscription in self._subscriptions:
            if subscription.source != source or subscription.message_type.DESCRIPTOR.full_name != name:
                continue
            if subscription.key is None or subscription.key == key:
                stream.handlers.append(subscription.handler)
                stream.parse = subscription.message_type.FromString
                stream.state = is_state(subscription.message_type)
        self._streams[topic, source] = stream
        self._known.add(topic)
        if key and not stream.state:
            self._keyed[topic, source] = None
            if len(self._keyed) > KEYED_EVENTS_KEPT:
                oldest = next(iter(self._keyed))
                del self._keyed[oldest]
                self._known.discard(oldest[0])
                del self._streams[oldest]
        return stream
