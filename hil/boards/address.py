"""Where a board is: on this computer, or reached over ssh."""

from __future__ import annotations

import re
from dataclasses import dataclass

LOCAL = "local"
SSH_PORT = 22

FORM = 'must be "local" or such as "ssh://skyrack@pi-1.local:22"'
# User and host stand in a command line of ssh: nothing that begins with a dash, no blanks.
_SSH = re.compile(
    r"ssh://(?:(?P<user>[A-Za-z_][A-Za-z0-9._-]*)@)?"
    r"(?P<host>[A-Za-z0-9][A-Za-z0-9._-]*|\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9._-]+)?\])"
    r"(?::(?P<port>[0-9]{1,5}))?/?"
)


@dataclass(frozen=True, slots=True)
class SshAddress:
    """A board over ssh; ``user`` is empty for whom ssh itself would take."""

    host: str
    user: str = ""
    port: int = SSH_PORT

    @property
    def target(self) -> str:
        """What ssh calls the board: user@host."""
        return f"{self.user}@{self.host}" if self.user else self.host


def parse_address(address: str) -> SshAddress | None:
    """The board behind an address; ``None`` is this computer.

    Raises:
        ValueError: the address has another form; the message says what would be right.
    """
    if address == LOCAL:
        return None
    match = _SSH.fullmatch(address)
    if match is None:
        raise ValueError(FORM)
    port = int(match["port"] or SSH_PORT)
    if not 1 <= port <= 65535:
        raise ValueError(f"{FORM}; a port is 1 to 65535")
    return SshAddress(match["host"].strip("[]"), match["user"] or "", port)
