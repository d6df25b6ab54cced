"""Who this satellite is: its private key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from skyrack.errors import UserError
from skyrack.signing import SigningKey


def satellite_key(satellite: str, attachments: Mapping[str, object]) -> SigningKey:
    """Take it from ``signing.key`` (the twin), or from ``<satellite>.key`` in ``keys_dir``.

    Raises:
        UserError: there is neither, or the file is unusable.
    """
    key = attachments.get("signing.key")
    if isinstance(key, SigningKey):
        return key
    return SigningKey.load_or_create(keys_directory(satellite, attachments) / f"{satellite}.key")


def keys_directory(satellite: str, attachments: Mapping[str, object]) -> Path:
    """Where the satellite was given its keys.

    Raises:
        UserError: the board file does not say.
    """
    directory = attachments.get("keys_dir")
    if not isinstance(directory, str):
        raise UserError(
            f"satellite {satellite}: keys_dir is missing in the board file; it names the directory with "
            f"{satellite}.key and keys.json, the keys that the satellite believes"
        )
    return Path(directory)
