"""What a request to an agent must hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class RequestError(Exception):
    """A request cannot be carried out; the sentence says why, and what would be right."""


def text(request: Mapping[str, Any], key: str, default: str | None = None) -> str:
    """A text of a request. Raises RequestError."""
    value = request.get(key, default)
    if not isinstance(value, str):
        raise RequestError(f'the request "{request.get("do")}" needs {key}, a text')
    return value


def number(request: Mapping[str, Any], key: str, default: float | None = None) -> float:
    """A number of a request. Raises RequestError."""
    value = request.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(f'the request "{request.get("do")}" needs {key}, a number')
    return float(value)
