"""How a board is reached over ssh, and what its refusals mean."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence

from hil.boards.address import SSH_PORT, SshAddress
from hil.provision.layout import PYTHON

CONFIG_VARIABLE = "SKYRACK_SSH_CONFIG"
"""Environment variable that names another configuration file for ssh (its option -F)."""

# No questions: nobody is there to answer them. A board that is silent for six seconds is gone.
OPTIONS = {
    "BatchMode": "yes",
    "ConnectTimeout": "5",
    "ServerAliveInterval": "2",
    "ServerAliveCountMax": "3",
    "ForwardX11": "no",
    "ForwardAgent": "no",
    "ControlMaster": "no",
    "ControlPath": "none",
}


def ssh_command(address: SshAddress, remote: Sequence[str], forwards: Sequence[str] = ()) -> list[str]:
    """The command that runs ``remote`` on a board; ``forwards`` are ssh's own: "-R", "1234:127.0.0.1:5678"..."""
    command = ["ssh", "-T"]
    if config := os.environ.get(CONFIG_VARIABLE):
        command += ["-F", config]
    for key, value in OPTIONS.items():
        command += ["-o", f"{key}={value}"]
    if forwards:
        # A tunnel without one of its ports is none.
        command += ["-o", "ExitOnForwardFailure=yes", *forwards]
    if address.port != SSH_PORT:
        command += ["-p", str(address.port)]
    # The shell on the far side sees one line.
    return [*command, "--", address.target, f"exec {shlex.join(remote)}"]


# What ssh, and Python on the far side, say; and what is to be done. The first that is found counts.
_MEANINGS: tuple[tuple[str, str], ...] = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key has changed: if the board was set up anew, forget the old one: 'ssh-keygen -R {host}'",
    ),
    (
        r"Host key verification failed|No .* host key is known",
        "its host key is not known here: connect once by hand with 'ssh {target}' and look at the fingerprint",
    ),
    (
        r"Permission denied",
        "it does not let this user in: put a public key there with 'ssh-copy-id {target}'",
    ),
    (r"Could not resolve hostname", "there is no host of this name: check the address in the bench file, or its DNS"),
    (r"Connection refused", "nothing listens there: is sshd running, and is this its port?"),
    (
        r"No route to host|Network is unreachable|timed out|Connection timeout|Host is down",
        "it does not answer: is it switched on and on the network?",
    ),
    (
        r"No module named '?\"?(hil|flight|skyrack)",
        "Skyrack is not installed for {python} there: run 'skyrack hil provision', or name another Python",
    ),
    (
        r"No module named '?\"?(\w+)",
        "a library is missing for {python} there: install skyrack[boards], or run 'skyrack hil provision'",
    ),
    (
        r"remote port forwarding failed",
        "a port of the tunnel is taken there: an ssh session that was lost may still hold it; it will be tried again",
    ),
    (
        r"(command )?not found|No such file or directory",
        "there is no {python}: name the board's Python in the bench file",
    ),
)


def meaning_of(said: str, address: SshAddress | None, python: str, status: int | None) -> str:
    """One sentence for why an agent could not be reached, with what is to be done; ``said`` is its standard error."""
    target = address.target if address is not None else "this computer"
    host = address.host if address is not None else "localhost"
    if address is not None and address.port != SSH_PORT:
        target, host = f"-p {address.port} {target}", f"[{host}]:{address.port}"
    for pattern, remedy in _MEANINGS:
        if re.search(pattern, said):
            return remedy.format(target=target, host=host, python=python)
    lines = [line for line in said.splitlines() if line.strip()]
    if lines:
        return lines[-1].strip()
    return f"it ended without a word (exit status {status})" if status is not None else "it says nothing"


def default_python(local_python: str, address: SshAddress | None) -> str:
    """Python with Skyrack on a board that names none: what ``skyrack hil provision`` installs."""
    return local_python if address is None else PYTHON
