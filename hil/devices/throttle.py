"""What slows a computer down, whatever it is made of: a knob, turned by ratio, that is left as it was found.

A service that is killed cannot put anything back. What it found is therefore kept in its state directory for as long as
the board is up, and the next one takes that for what to put back.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from flight.hal import DeviceEnvironment, DeviceError, Reading
from hil.devices.host import explain, host_of
from hil.devices.sysfs import text_or, write_text
from hil.devices.trouble import failed

T = TypeVar("T")


class Knob(Protocol):
    """What a :class:`KnobThrottle` turns. All may raise OSError, ValueError, or DeviceError with the sentence."""

    def get(self) -> float:
        """Ratio in force, 0 to 1."""
        ...

    def turn(self, ratio: float) -> None:
        """Take the step nearest to a ratio."""
        ...

    def put_back(self) -> None:
        """Leave it as it was found; nothing is done where nobody turned it."""
        ...


class KnobThrottle:
    """Satisfies Throttle of :mod:`flight.hal`.

    Attributes:
        name: of the device.
        how: what it turns, for people.
    """

    def __init__(
        self, name: str, knob: Knob, environment: DeviceEnvironment, how: str, bus: str = "", timeout: float = 1.0
    ) -> None:
        """``bus`` and ``timeout`` (s) are for a knob that is slow to turn: that bus's thread does it.

        Raises:
            DeviceError: the knob is not there or may not be read.
        """
        self.name = name
        self.how = how
        self._knob = knob
        self._bus = bus
        self._timeout = timeout
        self._host = host_of(environment)
        self._now = environment.clock.now
        with sentences(name):
            self._last = Reading(knob.get(), self._now())

    async def read_ratio(self) -> Reading[float]:
        """Limit in force."""
        try:
            ratio = await self._do(self._knob.get)
        except (OSError, ValueError, DeviceError) as error:
            return failed(self.name, self._last, error, f"no answer within {self._timeout:g} s")
        self._last = Reading(ratio, self._now())
        return self._last

    async def set_ratio(self, ratio: float) -> None:
        """Take the step nearest to a ratio. Raises DeviceError with the remedy when it cannot be set."""
        if not 0.0 <= ratio <= 1.0:
            raise DeviceError(f"{self.name}: {ratio!r} is no ratio; it must be 0 to 1")
        with sentences(self.name):
            await self._do(lambda: self._knob.turn(ratio))

    async def close(self) -> None:
        """Leave it as it was found; a knob that went away is let go."""
        with contextlib.suppress(DeviceError), sentences(self.name):
            await self._do(self._knob.put_back)

    async def _do(self, work: Callable[[], T]) -> T:
        return await self._host.on_bus(self._bus, work, self._timeout) if self._bus else work()


@contextlib.contextmanager
def sentences(name: str) -> Iterator[None]:
    """Turn what goes wrong inside into a DeviceError that names the device."""
    try:
        yield
    except TimeoutError as error:
        raise DeviceError(f"{name}: {explain(error) if error.errno else 'no answer in time'}") from error
    except OSError as error:
        raise DeviceError(f"{name}: {explain(error)}") from error
    except ValueError as error:
        raise DeviceError(f"{name}: {error}") from error
    except DeviceError as error:
        raise error if str(error).startswith(name) else DeviceError(f"{name}: {error}") from error


class Keepsake:
    """What was found before anything was turned: texts by key, kept for whoever follows a service that was killed.

    Attributes:
        found: what is to be put back.
        changed: whether something may be other than that: this service turned it, or the one before, that was killed.
    """

    def __init__(self, name: str, environment: DeviceEnvironment, found: Mapping[str, str]) -> None:
        directory = environment.state_dir
        self._file: Path | None = None if directory is None else directory / "devices" / f"{name}.found.json"
        self._boot = text_or(host_of(environment).path("/proc/sys/kernel/random/boot_id"), "")
        # What was not known then is as it is now.
        earlier = {key: text for key, text in self._earlier().items() if key in found}
        self.found: dict[str, str] = {**found, **earlier}
        self.changed = bool(earlier)

    def keep(self) -> None:
        """Something will be turned now."""
        if self.changed:
            return
        self.changed = True
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.parent.mkdir(parents=True, exist_ok=True)
                kept = json.dumps({"boot_id": self._boot, "found": self.found})
                self._file.write_text(kept, encoding="utf-8")

    def let_go(self) -> None:
        """Everything is as it was found."""
        self.changed = False
        if self._file is not None:
            self._file.unlink(missing_ok=True)

    def _earlier(self) -> Mapping[str, str]:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8")) if self._file is not None else {}
        except (OSError, ValueError):
            return {}
        # After a restart of the board everything is as its firmware and its own services set it.
        if not isinstance(kept, dict) or kept.get("boot_id") != self._boot or not isinstance(kept.get("found"), dict):
            return {}
        return {key: text for key, text in kept["found"].items() if isinstance(text, str)}


def put_back_files(keepsake: Keepsake, last: Sequence[str] = ()) -> None:
    """Write every file that was turned as it was found, those of ``last`` last.

    Raises:
        OSError: for the first that cannot be written.
    """
    if not keepsake.changed:
        return
    for key in [*(key for key in keepsake.found if key not in last), *last]:
        # What nobody turned may well be what nobody here may write.
        if text_or(Path(key), "") != keepsake.found[key]:
            write_text(Path(key), keepsake.found[key])
    keepsake.let_go()


def nearest(steps: Sequence[int], wanted: float) -> int:
    """The step nearest to what is wanted."""
    return min(steps, key=lambda step: abs(step - wanted))


def between(low: float, high: float, value: float) -> float:
    """Where a value lies from low (0) to high (1); 1 when there is no room between them."""
    return 1.0 if high <= low else min(1.0, max(0.0, (value - low) / (high - low)))
