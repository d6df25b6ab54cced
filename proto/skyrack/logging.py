"""Structured logs: events with fields, as JSON lines in a file and readable on a terminal.

A log line is an event's name and its fields, never a sentence with numbers pasted in::

    log.warning("load_tripped", load="node-1", draw_watts=812.0)

Time stamps are mission time, from the clock that ``configure`` is given; there is no other.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
"""Levels by the names that a person may give."""


def mission_time_text(mission_time_seconds: float) -> str:
    """Mission time as ISO 8601 with milliseconds, in UTC."""
    return datetime.fromtimestamp(mission_time_seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def configure(
    *,
    now: Callable[[], float] | None = None,
    level: str = "info",
    file: Path | None = None,
    terminal: TextIO | bool | None = True,
    **bound: object,
) -> None:
    """Send the logs of this process to a file as JSON lines, to the terminal readable, or to both.

    ``now`` tells mission time (``clock.now``); without it lines carry none. ``bound`` fields stand in every line
    (service, satellite). ``terminal`` is a stream, ``True`` for standard error, ``False`` or ``None`` for none.
    Lines are flushed one by one, so that a killed process loses none.

    Raises:
        KeyError: ``level`` is none of ``LEVELS``.
        OSError: ``file`` cannot be opened.
    """
    stream = sys.stderr if terminal is True else terminal or None
    sinks: list[Callable[[EventDict], None]] = []
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        sinks.append(_json_sink(file.open("a", encoding="utf-8", buffering=1)))
    if stream is not None:
        sinks.append(_terminal_sink(stream))
    processors: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        _stamp(now, bound),
        structlog.processors.format_exc_info if file is not None else _pass,
        _fan_out(sinks),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _adopt_standard_library(level)


def silence() -> None:
    """Drop every log line: for the twin and for tests, where events are what counts."""
    structlog.configure(
        processors=[_drop],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=False,
    )


def get_logger(name: str, **bound: object) -> FilteringBoundLogger:
    """Logger for one part of the software; the name and ``bound`` fields stand in each of its lines."""
    logger: FilteringBoundLogger = structlog.get_logger(component=name, **bound)
    return logger


def _stamp(now: Callable[[], float] | None, bound: dict[str, object]) -> Processor:
    def stamp(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        stamped: dict[str, Any] = {"time": mission_time_text(now())} if now is not None else {}
        return {**stamped, **bound, **event}

    return stamp


def _pass(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return event


def _drop(_logger: WrappedLogger, _method: str, _event: EventDict) -> EventDict:
    raise structlog.DropEvent


def _fan_out(sinks: list[Callable[[EventDict], None]]) -> Processor:
    def fan_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        for sink in sinks:
            # A full disk costs lines of the log, and must not end whoever writes them.
            with contextlib.suppress(OSError):
                sink(dict(event))
        raise structlog.DropEvent

    return fan_out


def _json_sink(file: TextIO) -> Callable[[EventDict], None]:
    render = structlog.processors.JSONRenderer(default=str)

    def write(event: EventDict) -> None:
        file.write(f"{render(None, '', event)!s}\n")

    return write


def _terminal_sink(stream: TextIO) -> Callable[[EventDict], None]:
    render = structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), timestamp_key="time", exception_formatter=structlog.dev.plain_traceback, pad_event_to=28
    )

    def write(event: EventDict) -> None:
        stream.write(f"{render(None, '', event)}\n")
        stream.flush()

    return write


class _Forward(logging.Handler):
    """Lines that libraries log through the standard library become events like ours."""

    def emit(self, record: logging.LogRecord) -> None:
        """Hand one record over."""
        logger = get_logger(record.name)
        logger.log(min(record.levelno, logging.CRITICAL), "library", text=record.getMessage(), exc_info=record.exc_info)


def _adopt_standard_library(level: str) -> None:
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    # Libraries say little that matters below a warning, unless everything is asked for.
    root.setLevel(logging.DEBUG if level == "debug" else logging.WARNING)
