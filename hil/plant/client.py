"""The plant over ZeroMQ, as device drivers in other processes reach it."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import zmq

from hil.plant import wire
from hil.plant.link import PlantKeyError, Sample

if TYPE_CHECKING:
    from collections.abc import Mapping

_NOTHING = Sample(math.nan, -math.inf)
_NO_FRAME: wire.Frame = (-math.inf, {}, {}, 0)


class RemotePlantLink:
    """A :class:`hil.plant.link.PlantLink` whose plant is another process.

    Sockets are read when a sensor is, without waiting; they keep the newest frame only. How old a frame may be is for
    the reader to say: samples carry their mission time. Before the first frame, values are not a number.

    What actuators were set to is remembered: a plant that was started anew is told again, for switches stay as they
    are set, and nobody who set them knows that the world began a second time.
    """

    def __init__(self, url: str, context: zmq.Context[zmq.Socket[bytes]] | None = None) -> None:
        self._context = context or zmq.Context.instance()
        self._sensors_url, actuators_url = wire.endpoints(url)
        self._frames: dict[str, wire.Frame] = {}
        self._settings: dict[str, dict[str, float]] = {}
        self._sockets: dict[str, zmq.Socket[bytes]] = {}
        self._actuators = self._context.socket(zmq.PUSH)
        self._actuators.setsockopt(zmq.LINGER, 200)
        self._actuators.connect(actuators_url)
        self.malformed = 0
        self.unsent = 0

    def read(self, satellite: str, key: str) -> Sample:
        """One sensor's truth. Raises PlantKeyError for a sensor that the plant's frames lack."""
        time, sensors, _, _ = self._newest(satellite)
        if not sensors:
            return _NOTHING
        try:
            return Sample(sensors[key], time)
        except KeyError:
            raise PlantKeyError(f'{satellite} has no sensor "{key}"; it has {", ".join(sensors)}') from None

    def sensors(self, satellite: str) -> Mapping[str, float]:
        """All sensors of a satellite, as of the last frame."""
        return self._newest(satellite)[1]

    def device_faults(self, satellite: str) -> Mapping[str, float]:
        """Faults that are laid on the satellite's devices."""
        return self._newest(satellite)[2]

    def actuate(self, satellite: str, values: Mapping[str, float]) -> None:
        """Send actuators on their way; counted in ``unsent`` when the plant is gone and its queue full."""
        self._settings.setdefault(satellite, {}).update(values)
        self._send(satellite, values)

    def _send(self, satellite: str, values: Mapping[str, float]) -> None:
        try:
            self._actuators.send(wire.encode_actuation(satellite, values), zmq.NOBLOCK)
        except zmq.Again:
            self.unsent += 1

    def close(self) -> None:
        """Close the sockets."""
        for socket in (*self._sockets.values(), self._actuators):
            socket.close()
        self._sockets.clear()

    def _newest(self, satellite: str) -> wire.Frame:
        socket = self._sockets.get(satellite)
        if socket is None:
            socket = self._subscribe(satellite)
        while int(socket.get(zmq.EVENTS)) & zmq.POLLIN:
            try:
                frame = wire.decode_frame(socket.recv(zmq.NOBLOCK))
                before = self._frames.get(satellite)
                self._frames[satellite] = frame
                if before is not None and before[3] != frame[3] and satellite in self._settings:
                    self._send(satellite, self._settings[satellite])
            except zmq.Again:
                break
            except wire.WireError:
                self.malformed += 1
        return self._frames.get(satellite, _NO_FRAME)

    def _subscribe(self, satellite: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.SUB)
        socket.setsockopt(zmq.CONFLATE, 1)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SUBSCRIBE, wire.topic(satellite))
        socket.connect(self._sensors_url)
        self._sockets[satellite] = socket
        return socket


@cache
def remote_link(url: str) -> RemotePlantLink:
    """The process's one link to a plant."""
    return RemotePlantLink(url)
