"""A board made of files below a directory, and a clock that tests turn by hand."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from flight.hal import DeviceEnvironment
from hil.devices.host import Host, attach


@dataclass
class HandClock:
    """Mission time that moves when a test says so."""

    time: float = 1000.0
    rate: float = 1.0

    def now(self) -> float:
        return self.time


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(root=tmp_path)


@pytest.fixture
def environment(clock: HandClock, host: Host) -> DeviceEnvironment:
    return DeviceEnvironment(
        satellite="sat-1",
        clock=clock,  # type: ignore[arg-type]
        rng=random.Random(3),
        state_dir=None,
        attachments=attach(host),
    )


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Takes the permission to open a file, from root too, whom no mode of a file would stop."""
    denied: set[Path] = set()
    real_open = os.open

    def guarded(path: Path | str, flags: int, mode: int = 0o777, **options: int) -> int:
        if Path(path) in denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return real_open(path, flags, mode, **options)

    monkeypatch.setattr(os, "open", guarded)
    return denied.add
