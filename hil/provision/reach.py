"""Looks at a board over ssh before anything is changed, and says in a sentence why it cannot be provisioned."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.boards.address import SshAddress

CONNECT_SECONDS = 10
NEEDED_BYTES = 600_000_000
MACHINES = ("aarch64", "x86_64")
_SUDO = "skyrack-sudo:"

# What ssh writes to its standard error, and what it means; the first that fits counts.
_SAYINGS: Sequence[tuple[str, str]] = (
    ("could not resolve hostname", "there is no host {host}: give its IP address, or look whether the board is on"),
    ("connection refused", "nothing listens on {host} port {port}: enable ssh on the board (Raspberry Pi Imager can)"),
    ("connection timed out", "{host} does not answer: is the board on, and on this network?"),
    ("no route to host", "there is no way to {host}: is the board on, and on this network?"),
    ("network is unreachable", "there is no way to {host}: is this computer on its network?"),
    (
        "remote host identification has changed",
        "{host} is not the board that it was: if it was set up anew, forget its old key with: ssh-keygen -R {known}",
    ),
    ("host key verification failed", "the key of {host}'s ssh server is not believed: log in once by hand to see it"),
    (
        "permission denied",
        "{host} does not let {user} in with any key of this computer: ssh-copy-id -p {port} {target}, or another user",
    ),
    ("too many authentication failures", "{host} refused after too many keys: name the right one with --identity"),
    ("kex_exchange_identification", "what listens on {host} port {port} is no ssh server, or it turned us away"),
    ("no such file or directory", "ssh is not installed here: apt-get install openssh-client"),
)


class ReachError(Exception):
    """The board cannot be reached or cannot be provisioned; one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class Access:
    """How to come in: ``address`` is ``None`` for this computer, ``identity`` a private key of ssh."""

    address: SshAddress | None
    identity: Path | None = None
    options: tuple[str, ...] = ()

    def ssh_options(self) -> list[str]:
        """Options for ssh: never asks; a new board's key is taken on first sight, a changed one is refused."""
        options = ["-o", "StrictHostKeyChecking=accept-new", "-o", f"ConnectTimeout={CONNECT_SECONDS}"]
        if self.identity is not None:
            options += ["-o", "IdentitiesOnly=yes", "-i", str(self.identity)]
        for option in self.options:
            options += ["-o", option]
        return options

    def command(self, remote: str) -> list[str]:
        """The command line that runs ``remote`` in a shell of the board."""
        if self.address is None:
            return ["sh", "-c", remote]
        to = ["-p", str(self.address.port), self.address.target]
        return ["ssh", "-o", "BatchMode=yes", *self.ssh_options(), *to, "--", remote]


@dataclass(frozen=True, slots=True)
class Look:
    """What is there: the facts of look.sh, and whether sudo works without a password."""

    sudo: bool
    facts: Mapping[str, Any] = field(default_factory=dict)


def explain(error: str, access: Access) -> str:
    """A sentence for what ssh said."""
    address = access.address or SshAddress("this computer")
    known = address.host if address.port == 22 else f"'[{address.host}]:{address.port}'"
    words = {
        "host": address.host,
        "port": address.port,
        "user": address.user or "this user",
        "target": address.target,
        "known": known,
    }
    low = error.lower()
    for said, meaning in _SAYINGS:
        if said in low:
            return meaning.format(**words)
    last = next((line for line in reversed(error.strip().splitlines()) if line.strip()), "ssh said nothing")
    return f"{address.host} cannot be reached: {last}"


def look(access: Access, script: Path, *, seconds: float = 30.0) -> Look:
    """Run look.sh on the board, with nothing but a shell there.

    Raises:
        ReachError: no way in, or no POSIX shell.
    """
    sudo = "if [ $(id -u) = 0 ] || sudo -n true 2>/dev/null; then echo skyrack-sudo:yes; else echo skyrack-sudo:no; fi"
    remote = f"{sudo}; sh -c {shlex.quote(script.read_text(encoding='utf-8'))}"
    try:
        done = subprocess.run(access.command(remote), capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise ReachError(explain("connection timed out", access)) from None
    except OSError as error:
        raise ReachError(explain(str(error).lower(), access)) from None
    first, _, rest = done.stdout.partition(_SUDO)[2].partition("\n")
    if done.returncode == 255 or not first:
        raise ReachError(explain(done.stderr, access))
    try:
        return Look(first == "yes", json.loads(rest))
    except ValueError:
        problem = (done.stderr.strip() or rest.strip())[-200:]
        raise ReachError(f"the board's shell did not understand what it was asked: {problem}") from None


def problem_of(found: Look, *, apt: bool, password: bool) -> str:
    """Why a board cannot be provisioned; empty when it can."""
    facts = found.facts
    machine, free, package = facts.get("machine", ""), int(facts.get("free_bytes", 0)), facts.get("python_package", "")
    no_python = not facts.get("python")
    system = facts.get("system") or "the system"
    # In the order in which they are to be mended.
    checks = (
        (
            not found.sudo and not password,
            (
                "the user may not become root without a password: give --ask-sudo-password, come in as root, "
                "or let the user (visudo: NAME ALL=(ALL) NOPASSWD: ALL)"
            ),
        ),
        (
            machine not in MACHINES,
            f"the board runs a system for {machine}; a 64-bit one is needed (aarch64 or x86_64)",
        ),
        (not facts.get("any_python"), "there is no python3 on the board: apt-get install python3"),
        (
            no_python and not facts.get("newer_python"),
            (
                f"{system} is too old: it has no Python 3.11 or newer; Debian 12, Raspberry Pi OS (bookworm) and "
                f"Ubuntu 22.04 (JetPack 6) or newer have one"
            ),
        ),
        (no_python and not apt, f"{package} is missing on the board: apt-get install {package}"),
        (
            free < NEEDED_BYTES,
            f"only {free / 1e6:.0f} MB are free in /opt on the board; {NEEDED_BYTES / 1e6:.0f} MB are needed",
        ),
    )
    return next((sentence for is_so, sentence in checks if is_so), "")
