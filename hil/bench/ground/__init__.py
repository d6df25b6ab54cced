"""The ground's figures: ``skyrack bench ground``, in parts that can be measured one by one.

A part is a module here with ``measure(options, say)``, named in ``PARTS``; it returns figures by their names, among
them ``reached`` where there is a figure to reach.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from skyrack import logging

__all__ = ["PARTS", "Options", "Say", "measure"]

PARTS: Final[Mapping[str, str]] = {
    "telemetry": "hil.bench.ground.telemetry",
    "mqtt": "hil.bench.ground.telemetry_mqtt",
    "exactly-once": "hil.bench.ground.exactly_once",
    "api": "hil.bench.ground.api",
    "console": "hil.bench.ground.console",
}

Say = Callable[[str], None]
"""Hears, now and then, how far a part is."""


@dataclass(frozen=True, slots=True)
class Options:
    """How large the parts are. What is random comes from ``seed``."""

    jobs: int = 10_000
    batches: int = 100_000
    satellites: int = 2
    kill_seconds: float = 10.0
    """Mean wall time between two kills."""
    kills_at_least: int = 0
    """It goes on until so many have been killed."""
    seed: int = 0
    clients: int = 50
    queued_jobs: int = 1_000
    requests: int = 2_000
    """Of all clients together."""


def measure(names: Sequence[str], options: Options, say: Say) -> dict[str, Any]:
    """Measure the named parts, or all."""
    logging.configure(level="warning")  # the figures alone belong to standard output
    found: dict[str, Any] = {}
    for name in names or PARTS:
        say(f"measuring ground {name}")
        found[name] = importlib.import_module(PARTS[name]).measure(options, say)
    return found
