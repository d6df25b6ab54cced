"""Prometheus remote write's messages, encoded by hand: the few fields of ``prometheus.WriteRequest`` that are needed.

https://prometheus.io/docs/specs/prw/remote_write_spec/ (1.0): snappy-compressed protobuf; labels sorted by name; the
samples of a series in the order of their time, which is in milliseconds since the Unix epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from struct import Struct
from typing import Final

import cramjam

__all__ = ["HEADERS", "labels", "series", "write_request"]

HEADERS: Final = {
    "Content-Encoding": "snappy",
    "Content-Type": "application/x-protobuf",
    "User-Agent": "skyrack",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}

_DOUBLE: Final = Struct("<d")
_LENGTH_DELIMITED: Final = 2


def _varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(len(data)) + data


def labels(pairs: Mapping[str, str]) -> bytes:
    """The labels of a series, its name among them as ``__name__``; empty values are no labels."""
    return b"".join(
        _field(1, _field(1, name.encode()) + _field(2, value.encode()))
        for name, value in sorted(pairs.items())
        if value
    )


def series(named: bytes, samples: Iterable[tuple[int, float]]) -> bytes:
    """One series: labels, and (milliseconds, value) in the order of time."""
    return named + b"".join(_field(2, b"\x09" + _DOUBLE.pack(value) + b"\x10" + _varint(at)) for at, value in samples)


def write_request(found: Iterable[bytes]) -> bytes:
    """A request's body."""
    plain = b"".join(_field(1, one) for one in found)
    return bytes(cramjam.snappy.compress_raw(plain))
