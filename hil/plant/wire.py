"""What goes over the plant's sockets.

Sensors: messages of one frame, satellite's name, NUL, msgpack of [mission time, {key: value}, {device fault: value},
incarnation of the plant]; one frame, so that a reader's socket can keep the newest only. Actuators: msgpack of
[satellite, {key: value}].
"""

from collections.abc import Mapping

import msgspec

Frame = tuple[float, dict[str, float], dict[str, float], int]

_encoder = msgspec.msgpack.Encoder()
_frame = msgspec.msgpack.Decoder(Frame)
_actuation = msgspec.msgpack.Decoder(tuple[str, dict[str, float]])


class WireError(ValueError):
    """Bytes that are no such message."""


def endpoints(url: str) -> tuple[str, str]:
    """Addresses of sensors and actuators under the plant's address.

    ``ipc`` and ``inproc`` get a suffix, ``tcp`` takes the port and the next one.
    """
    if url.startswith("tcp://"):
        host, _, port = url.rpartition(":")
        return url, f"{host}:{int(port) + 1}"
    return f"{url}.sensors", f"{url}.actuators"


def topic(satellite: str) -> bytes:
    """What a subscription to a satellite's sensors begins with."""
    return satellite.encode() + b"\0"


def encode_frame(
    satellite: str,
    mission_time_seconds: float,
    sensors: Mapping[str, float],
    faults: Mapping[str, float],
    incarnation: int = 0,
) -> bytes:
    """A satellite's sensors, and the faults that its devices are to show; ``incarnation`` tells plants apart."""
    return topic(satellite) + _encoder.encode((mission_time_seconds, sensors, faults, incarnation))


def decode_frame(message: bytes) -> Frame:
    """Mission time, sensors, device faults, incarnation. Raises WireError."""
    try:
        frame: Frame = _frame.decode(message[message.index(b"\0") + 1 :])
    except (ValueError, msgspec.DecodeError) as error:
        raise WireError(f"this is not a sensor frame: {error}") from None
    return frame


def encode_actuation(satellite: str, values: Mapping[str, float]) -> bytes:
    """Actuators to set."""
    return _encoder.encode((satellite, values))


def decode_actuation(message: bytes) -> tuple[str, dict[str, float]]:
    """Satellite and actuators. Raises WireError."""
    try:
        return _actuation.decode(message)
    except msgspec.DecodeError as error:
        raise WireError(f"this is not an actuation: {error}") from None
