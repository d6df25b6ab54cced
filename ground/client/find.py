"""Where the ground is, and by what it knows us."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlencode, urlsplit, urlunsplit

from ground.client.errors import UnreachableError
from skyrack.errors import UserError

__all__ = ["HOME", "Address", "address_in", "find_ground"]

HOME: Final = Path(".skyrack")


@dataclass(frozen=True, slots=True)
class Address:
    """A ground's address, the token to show there, and whom its certificate must be signed by (a PEM file)."""

    url: str
    token: str = ""
    ca: str = ""

    def __str__(self) -> str:
        """What a browser can open."""
        return f"{self.url}/?{urlencode({'token': self.token})}" if self.token else self.url

    @classmethod
    def parse(cls, text: str, token: str = "", ca: str = "") -> Address:
        """Read ``http://host:port``, with or without ``/?token=…``.

        Raises:
            UserError: this is no address.
        """
        parts = urlsplit(text)
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise UserError(f'ground "{text}": an address like http://127.0.0.1:8080 is needed')
        shown = parse_qs(parts.query).get("token", [""])[0]
        url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        return cls(url, token or shown, ca)


def find_ground(url: str = "", token: str = "", home: Path = HOME) -> Address:
    """The ground: the one given, else ``SKYRACK_GROUND``, else the newest that runs below ``home``.

    The token is the one given, else the one in the address, else ``SKYRACK_TOKEN``, else, for a ground that runs here,
    the one that it keeps for its own user. ``SKYRACK_CA`` names a PEM file of whom an HTTPS ground is signed by.

    Raises:
        UnreachableError: none runs here; the message says how to start one.
    """
    wanted = url or os.environ.get("SKYRACK_GROUND", "")
    token = token or os.environ.get("SKYRACK_TOKEN", "")
    ca = os.environ.get("SKYRACK_CA", "")
    paths = sorted(home.glob("*/ground.json"), key=_modified, reverse=True)
    running = [found for path in paths if (found := _at(path))]
    if wanted:
        given = Address.parse(wanted, ca=ca)
        here = next((found for found in running if found.url == given.url), given)
        return Address(given.url, given.token or token or here.token, ca or here.ca)
    if running:
        return Address(running[0].url, token or running[0].token, ca or running[0].ca)
    raise UnreachableError(
        f"no ground runs here (looked in {home.resolve()}): start one with `skyrack up`, or name one with --ground URL"
    )


def address_in(path: Path) -> Address:
    """What a running ground wrote into its address file. Raises ``OSError`` and ``ValueError``."""
    record = json.loads(path.read_text())
    return Address(str(record["url"]), str(record.get("token", "")), str(record.get("ca", "")))


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _at(path: Path) -> Address | None:
    """The address in the file, if the process that wrote it lives and the file is for us."""
    try:
        found = address_in(path)
        os.kill(int(json.loads(path.read_text())["pid"]), 0)
    except PermissionError:
        return _readable(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found


def _readable(path: Path) -> Address | None:
    try:
        return address_in(path)
    except (OSError, ValueError, KeyError, TypeError):
        return None
