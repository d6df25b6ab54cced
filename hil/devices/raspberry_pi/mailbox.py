"""The property mailbox of a Raspberry Pi's firmware: ``/dev/vcio``, one ioctl with a list of tags.

Layout and numbers: raspberrypi/linux drivers/char/broadcom/vcio.c and include/soc/bcm2835/raspberrypi-firmware.h;
raspberrypi/utils vcgencmd/vcgencmd.c for commands as text. Words are 32 bits: size of the whole, 0 for a request, then
tag, size of its value, 0, value; 0 ends the list. The answer takes the value's place.
"""

from __future__ import annotations

import fcntl
import os
import struct

from hil.devices.host import Host
from hil.devices.sysfs import absent

BUS = "vcio"
# The second lets commands through and nothing else; newer kernels have it.
DEVICES = ("/dev/vcio", "/dev/vcio_gencmd")

GET_THROTTLED = 0x0003_0046
GET_GENCMD_RESULT = 0x0003_0080
_GENCMD_BYTES = 1024

# _IOWR(100, 0, char *) of asm-generic/ioctl.h: direction 3, size of a pointer, type 100, number 0.
_IOCTL_MBOX_PROPERTY = (3 << 30) | (struct.calcsize("P") << 16) | (100 << 8)


def ask(host: Host, tag: int, value: bytes, value_bytes: int) -> bytes:
    """The answer to one tag; ``value_bytes`` is the room for it, a multiple of 4.

    Raises:
        OSError: no such device (no Raspberry Pi), no permission (group video), or the firmware refused.
    """
    size = 6 * 4 + value_bytes
    head = struct.pack("=5I", size, 0, tag, value_bytes, 0)
    buffer = bytearray(head + value.ljust(value_bytes, b"\0") + bytes(4))
    paths = [host.path(device) for device in DEVICES]
    for path in paths if tag == GET_GENCMD_RESULT else paths[:1]:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.ioctl(descriptor, _IOCTL_MBOX_PROPERTY, buffer, True)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            os.close(descriptor)
        return bytes(buffer[20 : 20 + value_bytes])
    raise absent(DEVICES[0], "is this a Raspberry Pi, with its vendor's kernel?")


def throttled_bits(host: Host) -> int:
    """The bits of GET_THROTTLED. Asking with 0 leaves those of the past as they are. Raises OSError as :func:`ask`."""
    bits: int = struct.unpack("=I", ask(host, GET_THROTTLED, bytes(4), 4))[0]
    return bits


def command(host: Host, text: str) -> str:
    """What ``vcgencmd`` would print for a command.

    Raises:
        OSError: as :func:`ask`.
        ValueError: the firmware does not know the command.
    """
    answer = ask(host, GET_GENCMD_RESULT, bytes(4) + text.encode() + b"\0", 4 + _GENCMD_BYTES)
    error: int = struct.unpack_from("=I", answer)[0]
    said = answer[4:].split(b"\0", 1)[0].decode(errors="replace")
    if error or said.startswith("error="):
        raise ValueError(f"the firmware refuses the command {text}: {said.strip() or error}; it may be too old for it")
    return said
