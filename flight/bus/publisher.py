"""The publishing half of a bus: one XPUB socket and the last value of every state message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq
from google.protobuf.message import Message

from flight.bus.contract import is_state
from flight.bus.counters import BusCounters
from flight.bus.pump import Pump
from flight.bus.wire import KEYED_EVENTS_KEPT, NULL_TOPIC, topic_of
from skyrack.v1.common_pb2 import Header

Tap = Callable[[bytes, bytes, bytes], None]

_MORE = int(zmq.SNDMORE | zmq.NOBLOCK)
_LAST = int(zmq.NOBLOCK)


@dataclass(slots=True)
class _Stream:
    """One topic that this service publishes."""

    topic: bytes
    state: bool
    sequence: int = 0
    last: tuple[bytes, bytes, bytes] | None = field(default=None)


class Publisher:
    """Sends messages to whoever subscribes, and the last values of state messages to a newcomer, and only to it.

    libzmq (XPUB_MANUAL_LAST_VALUE) sends to the newcomer alone the one message that follows its subscription. So all
    last values that match go as one multipart message of several [topic][Header][payload], and where none matches, a
    message to nobody is sent, or else the next ordinary message would reach the newcomer alone.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        source: str,
        incarnation: int,
        now: Callable[[], float],
        counters: BusCounters,
    ) -> None:
        socket.set(zmq.XPUB_MANUAL_LAST_VALUE, 1)
        socket.set(zmq.XPUB_NODROP, 1)
        self._socket = socket
        self._send = socket.send
        self._now = now
        self._counters = counters
        self._header = Header(source=source, incarnation=incarnation)
        self._streams: dict[tuple[type[Message], str], _Stream] = {}
        # Of events with a key, the oldest first; and where sequences go on for one that was forgotten.
        self._keyed: dict[tuple[type[Message], str], None] = {}
        self._forgotten_sequence = 0
        self.taps: list[Tap] = []
        self.pump = Pump(loop, socket, self._receive)

    def publish(self, message: Message, key: str) -> None:
        """Send one message. A subscriber whose queue is full misses it, which is counted here and noticed there."""
        stream = self._streams.get((type(message), key))
        if stream is None:
            stream = self._new_stream(message, key)
        stream.sequence += 1
        header = self._header
        header.sequence = stream.sequence
        header.mission_time_seconds = self._now()
        frames = (stream.topic, header.SerializeToString(), message.SerializeToString())
        if stream.state:
            stream.last = frames
        self._counters.published += 1
        send = self._send
        try:
            send(frames[0], _MORE)
        except zmq.Again:
            self._send_first_again(frames[0])
        send(frames[1], _MORE)
        send(frames[2], _LAST)
        self.pump.look_again()
        for tap in self.taps:
            tap(*frames)

    def _new_stream(self, message: Message, key: str) -> _Stream:
        kind = type(message)
        stream = self._streams[kind, key] = _Stream(topic_of(kind.DESCRIPTOR.full_name, key), is_state(kind))
        if key and not stream.state:
            # Never again a number that a topic of the same name had: to whoever remembers it, it would be a repeat.
            stream.sequence = self._forgotten_sequence
            self._keyed[kind, key] = None
            if len(self._keyed) > KEYED_EVENTS_KEPT:
                oldest = next(iter(self._keyed))
                del self._keyed[oldest]
                self._forgotten_sequence = max(self._forgotten_sequence, self._streams.pop(oldest).sequence)
        return stream

    def _send_first_again(self, topic: bytes) -> None:
        """A queue looks full: give the socket a chance to notice that it is not, then let the full queue miss it."""
        self._socket.get(zmq.EVENTS)
        try:
            self._send(topic, _MORE)
        except zmq.Again:
            self._counters.dropped += 1
            self._socket.set(zmq.XPUB_NODROP, 0)
            self._send(topic, _MORE)
            self._socket.set(zmq.XPUB_NODROP, 1)

    def _receive(self) -> None:
        """One subscription or its end."""
        frame = self._socket.recv(zmq.NOBLOCK)
        if not frame:
            return
        prefix = frame[1:]
        subscribes = frame[0] == 1
        self._socket.set(zmq.SUBSCRIBE if subscribes else zmq.UNSUBSCRIBE, prefix)
        frames: list[bytes] = []
        if subscribes:
            for stream in self._streams.values():
                if stream.last is not None and stream.topic.startswith(prefix):
                    frames.extend(stream.last)
        frames = frames or [NULL_TOPIC]
        # With NODROP a full queue would refuse the first frame and libzmq would forget whom it was for.
        self._socket.set(zmq.XPUB_NODROP, 0)
        for frame in frames[:-1]:
            self._send(frame, _MORE)
        self._send(frames[-1], _LAST)
        self._socket.set(zmq.XPUB_NODROP, 1)
