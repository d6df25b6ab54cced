"""The satellite's own key, and whom it believes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from skyrack.errors import UserError
from skyrack.signing import KeyRing, SigningKey


def key_and_ring(satellite: str, attachments: Mapping[str, object]) -> tuple[SigningKey, KeyRing]:
    """Take both from ``signing.key`` and ``signing.ring`` (the twin), or from the files in ``keys_dir``.

    Raises:
        UserError: there is neither, or a file is unusable.
    """
    key, ring = attachments.get("signing.key"), attachments.get("signing.ring")
    if isinstance(key, SigningKey) and isinstance(ring, KeyRing):
        return key, ring
    directory = attachments.get("keys_dir")
    if not isinstance(directory, str):
        raise UserError(
            f"satellite {satellite}: keys_dir is missing in the board file; it names the directory with "
            f"{satellite}.key and keys.json, the keys that the satellite believes"
        )
    path = Path(directory)
    return SigningKey.load_or_create(path / f"{satellite}.key"), KeyRing.load(path / "keys.json")
