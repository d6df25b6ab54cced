"""Commands to the firmware of a Raspberry Pi, as ``vcgencmd`` sends them: one ioctl of ``/dev/vcio``.

Layout and numbers: raspberrypi/linux drivers/char/broadcom/vcio.c, raspberrypi/utils vcgencmd/vcgencmd.c. Words are 32
bits: size of the whole, 0 for a request, then tag, size of its value, 0, value; 0 ends the list. The answer takes the
value's place: an error and a text.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path

from hil.devices.host import Host
from hil.devices.sysfs import absent

BUS = "vcio"
# Newer kernels have the first, which lets commands through and nothing else.
DEVICES = ("/dev/vcio_gencmd", "/dev/vcio")

_GET_GENCMD_RESULT = 0x0003_0080
_VALUE_BYTES = 4 + 1024

# _IOWR(100, 0, char *) of asm-generic/ioctl.h: direction 3, size of a pointer, type 100, number 0.
_IOCTL_MBOX_PROPERTY = (3 << 30) | (struct.calcsize("P") << 16) | (100 << 8)


def command(host: Host, text: str) -> str:
    """What ``vcgencmd`` would print for a command.

    Raises:
        OSError: no such device (no Raspberry Pi), no permission (group video), or the kernel refused.
        ValueError: the firmware does not know the command.
    """
    head = struct.pack("=6I", 6 * 4 + _VALUE_BYTES, 0, _GET_GENCMD_RESULT, _VALUE_BYTES, 0, 0)
    buffer = bytearray((head + text.encode()).ljust(5 * 4 + _VALUE_BYTES, b"\0") + bytes(4))
    descriptor, path = _open(host)
    try:
        fcntl.ioctl(descriptor, _IOCTL_MBOX_PROPERTY, buffer, True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(descriptor)
    error_code: int = struct.unpack_from("=I", buffer, 5 * 4)[0]
    said = bytes(buffer[6 * 4 : -4]).split(b"\0", 1)[0].decode(errors="replace")
    if error_code or said.startswith("error="):
        why = said.strip() or error_code
        raise ValueError(f"the firmware refuses the command {text}: {why}; it may be too old for it")
    return said


def _open(host: Host) -> tuple[int, Path]:
    refused: PermissionError | None = None
    for path in map(host.path, DEVICES):
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC), path
        except FileNotFoundError:
            continue
        except PermissionError as error:
            refused = error
    raise refused or absent(DEVICES[-1], "is this a Raspberry Pi, with its vendor's kernel?")
