"""Whom the satellite believes: a list that outlives restarts, and that only an authority replaces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from flight.identity import keys_directory
from skyrack.files import FileError
from skyrack.signing import KeyRing
from skyrack.v1.backhaul_pb2 import KeyList

FILE: Final = "keys.json"


class Believed:
    """The ring in force; replaced from one moment to the next, on the disk first."""

    def __init__(self, satellite: str, attachments: Mapping[str, object], state_dir: Path | None) -> None:
        """Take the ring from ``signing.ring`` (the twin), the satellite's own file, or what it was provisioned with.

        Of the two files the one with the greater version counts: a list that was replaced over the link stays so, and
        who can touch the board may provision it anew.

        Raises:
            UserError: there is neither, or what it was provisioned with is unusable.
        """
        self._path = state_dir / FILE if state_dir else None
        self.problem = ""
        """What was wrong with the satellite's own file, which was passed over for what it was provisioned with."""
        attached = attachments.get("signing.ring")
        if isinstance(attached, KeyRing):
            self.ring = attached
        else:
            self.ring = KeyRing.load(keys_directory(satellite, attachments) / FILE)
        if self._path is None or not self._path.exists():
            return
        try:
            kept = KeyRing.load(self._path)
        except FileError as error:
            self.problem = str(error)
            return
        if kept.version >= self.ring.version:
            # What others hold of an attached ring is theirs.
            self.ring = kept

    def take(self, keys: KeyList, now: float) -> str:
        """Believe a list from now on, if it is a newer one; that of the same keys again changes nothing.

        Returns a sentence on what was done.

        Raises:
            ValueError: it is not newer, or the satellite could not live with it.
            OSError: the disk is full or failed; the old list is in force.
        """
        ring = self.ring.successor(keys, now)
        if ring is None:
            return f"version {keys.version} is in force already"
        if self._path is not None:
            ring.save(self._path)
        self.ring.replace(ring)
        return f"version {keys.version} is in force: {len(keys.keys)} keys"
