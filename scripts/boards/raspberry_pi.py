"""A Raspberry Pi that is not there: qemu's raspi3b with Debian, a TMP105 on its I2C bus 1 at 0x48, and ssh.

scripts/boards/pi start            switch on a Pi with a new disk, wait for ssh, put this tree's Skyrack on it
                                   (--bare: leave Skyrack off; --keep: the disk it had; --name: one of your own)
eval "$(scripts/boards/pi env)"    ssh, scp, sftp of this shell, and what it starts (ansible, skyrack hil), know
                                   skyrack-pi: `ssh skyrack-pi`, ssh://skyrack-pi as a bench file's address
scripts/boards/pi ssh COMMAND      run a command there (user pi, who may sudo); Python with Skyrack:
                                   /home/pi/skyrack/bin/python, /home/pi/skyrack/bin/skyrack
scripts/boards/pi install          put Skyrack on it again, as this tree is now
scripts/boards/pi temperature 61.5 set what the TMP105 measures, in degrees Celsius
scripts/boards/pi cut | on         pull its plug, and give it power again with the disk as it was
scripts/boards/pi reset | stop     press reset; switch off for good

The first start makes root and disk, as root, in some minutes; both stay in ~/.cache/skyrack-boards. Several Pis run
beside each other by --name (before the verb); the host is then skyrack-NAME.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable

from scripts.boards import boards, cache, package, roots
from scripts.boards.machine import Machine


def main() -> int:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(
        prog="scripts/boards/pi", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--name", default="pi", help="which Pi; each has its own disk and port")
    verbs = parser.add_subparsers(dest="verb", required=True)
    start = verbs.add_parser("start")
    start.add_argument("--bare", action="store_true", help="leave Skyrack off it")
    start.add_argument("--keep", action="store_true", help="with the disk that it had")
    for verb in ("on", *_PLAIN):
        verbs.add_parser(verb)
    verbs.add_parser("ssh").add_argument("command", nargs=argparse.REMAINDER)
    verbs.add_parser("temperature").add_argument("celsius", type=float)
    arguments = parser.parse_args()
    pi = boards.raspberry_pi(arguments.name)
    try:
        match arguments.verb:
            case "start":
                _start(pi, fresh=not arguments.keep, bare=arguments.bare)
            case "on":
                _start(pi, fresh=False, bare=True)
            case "temperature":
                boards.set_temperature(pi, arguments.celsius)
            case "ssh":
                os.execv(pi.folder / "bin/ssh", ["ssh", pi.host, *arguments.command])
            case verb:
                _PLAIN[verb](pi)
    except (roots.NotHereError, TimeoutError, RuntimeError, OSError) as problem:
        cache.say(f"pi: {problem}")
        return 1
    return 0


def _start(pi: Machine, *, fresh: bool, bare: bool) -> None:
    pi.start(boards.disk(boards.RASPBERRY_PI), fresh=fresh)
    boards.set_temperature(pi, 25.0)
    cache.say(f"{pi.host} took commands {pi.wait():.0f} s after it was switched on")
    if not bare:
        began = time.monotonic()
        boards.install(pi, package.wheel())
        cache.say(f"Skyrack is on it after another {time.monotonic() - began:.0f} s")
    cache.say(f'ssh {pi.host}: port {pi.port} of 127.0.0.1; first: eval "$(scripts/boards/pi --name {pi.name} env)"')


_PLAIN: dict[str, Callable[[Machine], None]] = {
    "stop": Machine.stop,
    "cut": Machine.stop,
    "reset": Machine.reset,
    "install": lambda pi: boards.install(pi, package.wheel()),
    "env": lambda pi: print(f'export PATH="{pi.folder / "bin"}:$PATH" SKYRACK_SSH_CONFIG="{pi.folder / "ssh_config"}"'),
    "address": lambda pi: print(f"ssh://{pi.host}"),
    "console": lambda pi: print(pi.console()),
    "image": lambda _: print(boards.disk(boards.RASPBERRY_PI)),
}


if __name__ == "__main__":
    sys.exit(main())
