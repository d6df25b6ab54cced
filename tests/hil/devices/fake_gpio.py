"""A GPIO chip behind the names of libgpiod 2."""

from __future__ import annotations

import errno
import os
from collections import deque
from dataclasses import dataclass, field
from types import SimpleNamespace, TracebackType
from typing import Any, Self

from gpiod import LineSettings
from gpiod.line import Direction, Value


@dataclass
class Line:
    """``high`` is the voltage; a request sees it through its ``active_low``."""

    name: str = ""
    high: bool = False
    output: bool = False
    consumer: str = ""
    edges: deque[tuple[int, int]] = field(default_factory=deque)


class FakeGpio:
    """``lines`` by offset; ``gone`` is a chip that was unplugged."""

    def __init__(self) -> None:
        self.lines = [Line(f"GPIO{offset}") for offset in range(8)]
        self.gone = False
        self.paths: list[str] = []

    def open(self, path: str) -> Any:
        self.paths.append(path)
        self.check()
        return _Chip(self)

    def check(self) -> None:
        if self.gone:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    def line(self, key: int | str) -> Line:
        for offset, line in enumerate(self.lines):
            if key in (offset, line.name):
                return line
        raise ValueError(f"line {key} not found")


class _Chip:
    def __init__(self, gpio: FakeGpio) -> None:
        self._gpio = gpio

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        pass

    def get_line_info(self, key: int | str) -> SimpleNamespace:
        line = self._gpio.line(key)
        direction = Direction.OUTPUT if line.output else Direction.INPUT
        return SimpleNamespace(used=bool(line.consumer), consumer=line.consumer, direction=direction)

    def request_lines(self, config: dict[int | str, LineSettings], consumer: str) -> _Request:
        request = _Request(self._gpio, consumer)
        request.reconfigure_lines(config)
        return request


class _Request:
    def __init__(self, gpio: FakeGpio, consumer: str) -> None:
        self._gpio = gpio
        self._consumer = consumer
        self._held: list[Line] = []
        self._active_low = False

    def reconfigure_lines(self, config: dict[int | str, LineSettings]) -> None:
        for key, settings in config.items():
            line = self._gpio.line(key)
            line.consumer = self._consumer
            self._held = [line]
            self._active_low = settings.active_low
            if settings.direction is Direction.OUTPUT:
                line.output = True
                self.set_value(key, settings.output_value)
            elif settings.direction is Direction.INPUT:
                line.output = False

    def get_value(self, key: int | str) -> Value:
        self._gpio.check()
        return Value.ACTIVE if self._gpio.line(key).high is not self._active_low else Value.INACTIVE

    def set_value(self, key: int | str, value: Value) -> None:
        self._gpio.check()
        self._gpio.line(key).high = (value is Value.ACTIVE) is not self._active_low

    def wait_edge_events(self, timeout: float) -> bool:
        self._gpio.check()
        return bool(self._held[0].edges)

    def read_edge_events(self) -> list[SimpleNamespace]:
        number, nanoseconds = self._held[0].edges.popleft()
        return [SimpleNamespace(line_seqno=number, timestamp_ns=nanoseconds)]

    def release(self) -> None:
        for line in self._held:
            line.consumer = ""
