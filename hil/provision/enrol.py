"""Whom the ground believes: the provisioner's key, and the public keys of boards.

``python -m hil.provision.enrol DIRECTORY SATELLITE PUBLIC [--replace]`` is what the playbook calls on the computer that
provisions; it prints "enrolled" or "known".
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from hil.provision import layout
from skyrack.errors import UserError
from skyrack.signing import SATELLITE_RIGHTS, KeyEntry, KeyRing, Right, SigningKey, key_id_of, provision


def provisioner(directory: Path) -> SigningKey:
    """The provisioner's key: made, with the keys of ground, operators and authority, where there is none.

    Raises:
        FileError: a key or the ring cannot be read or written.
        UserError: the key is not believed, since it was revoked.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    path = provision(directory, ())
    key = SigningKey.load_or_create(directory / f"{layout.PROVISIONER}.key")
    ring = KeyRing.load(path)
    if key.key_id in ring.revoked:
        raise UserError(
            f"{directory}: the provisioner's key {key.key_id} was revoked; move its file away for a new one"
        )
    if ring.get(key.key_id) is None:
        ring.add(KeyEntry(layout.PROVISIONER, key.public, frozenset({Right.PROVISION})))
        _save(ring, path)
    return key


def enrol(directory: Path, satellite: str, public: bytes, *, replace: bool = False) -> bool:
    """Let the ground believe a board's key as the satellite's; whether anything changed.

    Raises:
        FileError: the ring cannot be read or written.
        UserError: the name is another party's, or the satellite has another key and ``replace`` is not asked for.
    """
    path = directory / layout.RING
    ring = KeyRing.load(path)
    wanted = key_id_of(public)
    if wanted in ring.revoked:
        raise UserError(f"{path}: the board's key {wanted} was revoked; remove it on the board, and provision again")
    known = [entry for entry in ring if entry.name == satellite]
    others = [entry for entry in known if entry.key_id != wanted]
    if any(Right.SATELLITE not in entry.rights for entry in known):
        raise UserError(f'a satellite cannot be called "{satellite}": another party\'s key has this name')
    if others and not replace:
        told = ", ".join(entry.key_id for entry in others)
        raise UserError(
            f"{path}: satellite {satellite} has another key already ({told}), this board made {wanted}: "
            f"give --replace-key if this board takes its place, or another --satellite"
        )
    if len(known) > len(others) and not others:
        return False
    for entry in others:
        ring.revoke(entry.key_id)
    if ring.get(wanted) is None:
        ring.add(KeyEntry(satellite, public, SATELLITE_RIGHTS))
    _save(ring, path)
    return True


def _save(ring: KeyRing, path: Path) -> None:
    ring.version += 1
    try:
        ring.save(path)
    except OSError as error:
        raise UserError(f"{path}: the key ring cannot be written ({error.strerror})") from error


def main() -> int:
    """Process entry."""
    parser = argparse.ArgumentParser(prog="python -m hil.provision.enrol", description="Believe a board's key.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("satellite")
    parser.add_argument("public", help="public key, 64 hexadecimal digits")
    parser.add_argument("--replace", action="store_true", help="revoke the key that the satellite has now")
    arguments = parser.parse_args()
    try:
        public = bytes.fromhex(arguments.public)
        changed = enrol(arguments.directory, arguments.satellite, public, replace=arguments.replace)
    except (UserError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    sys.stdout.write("enrolled\n" if changed else "known\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
