"""Files of the kernel: small texts in /sys and /proc that are read again and again, and sometimes written."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator
from os import pread
from pathlib import Path

from hil.devices.host import Host, ToldError

# Attributes of sysfs are at most a page; numbers are far shorter.
_NUMBER_BYTES = 64
_TEXT_BYTES = 65536


class NumberFile:
    """An integer in a file, times ``unit``; kept open, so that a reading costs one system call.

    A read at offset 0 makes sysfs ask the driver anew (kernel documentation, filesystems/sysfs.rst), and ``pread``
    always reads there. Where the device went away, the open file says ENODEV and is found again by ``locate``, under
    whatever number the kernel gives the device when it is back.

    Calling it raises OSError when it cannot be read, ValueError when there is no integer in it.
    """

    __slots__ = ("_descriptor", "_locate", "_unit")

    def __init__(self, locate: Path | Callable[[], Path], unit: float = 1.0) -> None:
        self._locate = locate
        self._unit = unit
        self._descriptor = -1

    def __call__(self) -> float:
        try:
            return int(pread(self._descriptor, _NUMBER_BYTES, 0)) * self._unit
        except (OSError, ValueError):
            # Also the first time, when nothing is open yet.
            return self._open_and_read()

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _open_and_read(self) -> float:
        self.close()
        path = self._locate if isinstance(self._locate, Path) else self._locate()
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with _named(path):
            content = pread(self._descriptor, _NUMBER_BYTES, 0)
        return number(path, content.decode(errors="replace")) * self._unit

    def __del__(self) -> None:
        self.close()


def number(path: Path, content: str) -> int:
    """The integer that a file holds. Raises ValueError with the file's name when it holds something else."""
    try:
        return int(content)
    except ValueError:
        raise ValueError(f"{path} holds {content.strip()[:40]!r}, which is no number") from None


def read_text(path: Path) -> str:
    """What a small file holds, without white space at its ends. Raises OSError that names the file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with _named(path):
            return os.read(descriptor, _TEXT_BYTES).decode(errors="replace").strip("\0 \t\n")
    finally:
        os.close(descriptor)


def read_number(path: Path) -> int:
    """The integer that a file holds. Raises OSError or ValueError."""
    return number(path, read_text(path))


def text_or(path: Path, default: str) -> str:
    """What a small file holds, or ``default`` when it cannot be read."""
    try:
        return read_text(path)
    except OSError:
        return default


def write_text(path: Path, text: str) -> None:
    """Write a small file that is there already. Raises OSError that names the file."""
    descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    try:
        with _named(path):
            os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


def entries(host: Host, directory: str) -> list[Path]:
    """What is in a directory, in the order of the numbers in the names; nothing when it is absent."""
    try:
        found = list(host.path(directory).iterdir())
    except OSError:
        return []
    return sorted(found, key=lambda entry: (len(entry.name), entry.name))


class AbsentError(ToldError, FileNotFoundError):
    """What is looked for is not there; the message says what to look at."""


def absent(what: str, remedy: str = "look whether the device is connected and its driver is loaded") -> AbsentError:
    """The error that a ``locate`` raises when what it looks for is not there."""
    return AbsentError(errno.ENOENT, f"{what} is absent; {remedy}")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """What a read of an open file raises does not name it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
