"""One line of a GPIO chip, through libgpiod 2: requested once, asked for again after it went away."""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, TypeVar

from flight.hal import DeviceError
from hil.devices.host import Host, ToldError, explain
from hil.devices.options import Options

if TYPE_CHECKING:
    import gpiod
    import gpiod.line

T = TypeVar("T")

CONSUMER: Final = "skyrack"
LINE_SETTINGS: Final = ("chip", "line", "active_low")

_GONE: Final = frozenset({errno.ENODEV, errno.EBADF, errno.EIO})


class GpioLine:
    """A line, active or not; ``active_low`` turns voltages around. Its methods block for an ioctl only."""

    def __init__(self, host: Host, chip: str, line: int | str, *, active_low: bool) -> None:
        """``chip`` is such as "gpiochip0"; ``line`` its offset, or its name, such as "GPIO17"."""
        self._host = host
        self._path = str(host.path(f"/dev/{chip}"))
        self._line = line
        self._active_low = active_low
        self._request: gpiod.LineRequest | None = None
        self._claim: Callable[[], gpiod.LineRequest] = self._reclaim_output
        self._commanded = False

    @property
    def where(self) -> str:
        """The line and its chip, for sentences."""
        return f"line {self._line} of {self._path}"

    def claim_output(self, *, active_when_new: bool) -> None:
        """Drive the line. An output that somebody left keeps its level, so that a restart switches nothing.

        Raises:
            OSError: it cannot be had; the sentence says why, and who holds it.
        """
        from gpiod.line import Direction, Value

        found, info = self._request_line(self._settings(Direction.AS_IS))
        self._commanded = active_when_new
        try:
            if info.direction is Direction.OUTPUT:
                self._commanded = found.get_value(self._line) is Value.ACTIVE
            found.reconfigure_lines({self._line: self._settings(Direction.OUTPUT)})
        except OSError as error:
            found.release()
            raise self._told(error) from error
        self._request = found

    def claim_input(self, *, falling_edges: bool = False) -> None:
        """Watch the line. Raises OSError as :meth:`claim_output`."""
        from gpiod.line import Direction

        settings = self._settings(Direction.INPUT, falling_edges=falling_edges)
        self._claim = lambda: self._request_line(settings)[0]
        self._request = self._claim()

    def is_active(self) -> bool:
        """The level that the line has. Raises OSError."""
        from gpiod.line import Value

        return self._do(lambda request: request.get_value(self._line)) is Value.ACTIVE

    def set_active(self, active: bool) -> None:
        """Drive the line. Raises OSError."""
        from gpiod.line import Value

        self._commanded = active
        level = Value.ACTIVE if active else Value.INACTIVE
        self._do(lambda request: request.set_value(self._line, level))

    def edges(self) -> list[tuple[int, int]]:
        """Number and time (ns) of the edges since the last look; some may be lost, their numbers are not."""

        def drain(request: gpiod.LineRequest) -> list[tuple[int, int]]:
            found = []
            while request.wait_edge_events(0):
                found += [(event.line_seqno, event.timestamp_ns) for event in request.read_edge_events()]
            return found

        return self._do(drain)

    def release(self) -> None:
        """Let go. What the line does then is the chip's: most keep an output's level, none promises it."""
        request, self._request = self._request, None
        if request is not None:
            request.release()

    def _do(self, action: Callable[[gpiod.LineRequest], T]) -> T:
        try:
            if self._request is None:
                self._request = self._claim()
            return action(self._request)
        except OSError as error:
            if error.errno in _GONE:
                self.release()
            raise self._told(error) from error

    def _reclaim_output(self) -> gpiod.LineRequest:
        """A chip that was away comes back as after power-on: the line is driven as it was commanded."""
        from gpiod.line import Direction

        return self._request_line(self._settings(Direction.OUTPUT))[0]

    def _settings(self, direction: gpiod.line.Direction, *, falling_edges: bool = False) -> gpiod.LineSettings:
        import gpiod
        from gpiod.line import Edge, Value

        return gpiod.LineSettings(
            direction=direction,
            edge_detection=Edge.FALLING if falling_edges else Edge.NONE,
            active_low=self._active_low,
            output_value=Value.ACTIVE if self._commanded else Value.INACTIVE,
        )

    def _request_line(self, settings: gpiod.LineSettings) -> tuple[gpiod.LineRequest, gpiod.LineInfo]:
        try:
            with self._host.open_gpio(self._path) as chip:
                info = chip.get_line_info(self._line)
                if info.used:
                    raise self._held_by(info.consumer)
                return chip.request_lines({self._line: settings}, consumer=CONSUMER), info
        except ValueError as error:
            problem = f"{self._path} has no line {self._line}; gpioinfo lists the lines that there are"
            raise ToldError(errno.EINVAL, problem) from error
        except OSError as error:
            raise self._told(error) from error

    def _held_by(self, consumer: str) -> ToldError:
        who = f'"{consumer}"' if consumer else "the kernel"
        problem = f"{self.where} is held by {who}; end what uses it, or take another line (gpioinfo lists them)"
        return ToldError(errno.EBUSY, problem)

    def _told(self, error: OSError) -> OSError:
        if isinstance(error, ToldError):
            return error
        return ToldError(error.errno, explain(error, self._path))


def line_of(options: Options, settings: Mapping[str, object], host: Host, key: str = "line") -> GpioLine:
    """The line that ``chip`` and ``key`` name. Raises DeviceError for settings that do not fit."""
    chip = options.text("chip", "gpiochip0").removeprefix("/dev/")
    if not chip.startswith("gpiochip"):
        raise DeviceError(f'{options.name}: chip = "{chip}" must be such as "gpiochip0" (gpiodetect lists them)')
    by_name = isinstance(settings.get(key), str) or key not in settings
    line = options.text(key) if by_name else options.whole(key, 0, 0, 4095)
    return GpioLine(host, chip, line, active_low=options.flag("active_low", default=False))
