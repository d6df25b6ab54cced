"""Columns of numbers as few bytes, and back to the last bit.

Bytes of equal weight are put side by side, where they resemble each other, before Zstandard: of the column itself, or
of the differences between neighbours, whichever is shorter. A column that never changes is one number.
"""

from __future__ import annotations

from typing import Any, Final

import cramjam
import numpy as np
from numpy.typing import NDArray

__all__ = ["Floats", "Integers", "decode_floats", "decode_integers", "encode_floats", "encode_integers"]

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_CONSTANT: Final = b"\0"
_PLAIN: Final = b"\1"
_DIFFERENCES: Final = b"\2"
_WHOLE: Final = b"\3"
_LEVEL: Final = 1
_EXACT: Final = float(1 << 53)
_FEW: Final = 4
"""So few numbers are left as they are."""
_RAW: Final = b"\4"


def encode_floats(values: Floats) -> bytes:
    """A column of floats; every bit of them comes back, also of what is not a number."""
    bits = values.view(np.int64)
    if len(bits) and bool((bits == bits[0]).all()):
        return _CONSTANT + bits[:1].tobytes()
    if len(bits) <= _FEW:
        return _RAW + bits.tobytes()
    whole = _whole(values)
    if whole is not None:
        return _WHOLE + _packed(np.diff(whole, prepend=0))
    plain = _packed(bits)
    differences = _packed(np.diff(bits, prepend=0))
    return _PLAIN + plain if len(plain) <= len(differences) else _DIFFERENCES + differences


def decode_floats(data: bytes | memoryview, count: int) -> Floats:
    """The reverse of ``encode_floats``."""
    kind, body = bytes(data[:1]), data[1:]
    if kind == _WHOLE:
        return np.cumsum(_unpacked(body, count)).astype(np.float64)
    return _integers(kind, body, count).view(np.float64)


def encode_integers(values: Integers) -> bytes:
    """A column of integers."""
    if len(values) and bool((values == values[0]).all()):
        return _CONSTANT + values[:1].tobytes()
    if len(values) <= _FEW:
        return _RAW + values.tobytes()
    return _DIFFERENCES + _packed(np.diff(values, prepend=0))


def decode_integers(data: bytes | memoryview, count: int) -> Integers:
    """The reverse of ``encode_integers``."""
    return _integers(bytes(data[:1]), data[1:], count)


def _integers(kind: bytes, body: bytes | memoryview, count: int) -> Integers:
    if kind == _CONSTANT:
        return np.full(count, np.frombuffer(body, np.int64)[0])
    if kind == _RAW:
        return np.frombuffer(body, np.int64).copy()
    found = _unpacked(body, count)
    return np.cumsum(found) if kind == _DIFFERENCES else found


def _whole(values: Floats) -> Integers | None:
    """The values as integers when all are such, and no zero is a negative one."""
    with np.errstate(invalid="ignore"):
        if not bool((np.abs(values) < _EXACT).all()):
            return None
        whole = values.astype(np.int64)
    same = bool((whole == values).all()) and not bool((np.signbit(values) & (whole == 0)).any())
    return whole if same else None


def _packed(values: Any) -> bytes:
    shuffled = values.view(np.uint8).reshape(-1, 8).T.tobytes()
    return bytes(cramjam.zstd.compress(shuffled, _LEVEL))


def _unpacked(data: bytes | memoryview, count: int) -> Integers:
    plain = np.frombuffer(bytes(cramjam.zstd.decompress(data)), np.uint8)
    if len(plain) != 8 * count:
        raise ValueError(f"a column of {len(plain)} bytes; {8 * count} were written")
    return np.ascontiguousarray(plain.reshape(8, -1).T).view(np.int64).reshape(-1)
