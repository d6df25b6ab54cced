"""``skyrack keys`` and ``skyrack approve``: whose signature counts, and giving one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from google.protobuf.text_format import MessageToString
from rich.table import Table

from ground import present
from ground.client import SkyrackClient
from ground.job_commands import as_json, asking, at_ground
from ground.signer import local_key
from skyrack import orders
from skyrack.dictionary import rpcs
from skyrack.errors import UserError
from skyrack.files import FileError, suggest
from skyrack.orders import OrderRefusedError
from skyrack.signing import OPERATOR_RIGHTS, ORDER, KeyEntry, KeyRing, Right, SigningKey
from skyrack.v1.backhaul_pb2 import Order

__all__ = ["approve", "keys"]

_AUTHORITY_HELP = "Key that may change the list. Without it, nothing is changed."
authority_option = click.option(
    "--authority",
    envvar="SKYRACK_AUTHORITY",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Key that may change the list: of `skyrack up`, NAME/keys/authority.key. [env: SKYRACK_AUTHORITY]",
)


@click.group()
def keys() -> None:
    """Keys: who may command, submit, and say which keys are believed."""


@keys.command()
@click.argument("name")
@click.option("--to", "directory", type=click.Path(path_type=Path), default=Path(), help="Folder of the new key.")
@click.option("--right", "rights", multiple=True, type=click.Choice([right.value for right in Right]), help="A right.")
@click.option("--days", type=click.FloatRange(0, min_open=True), help="Mission days for which it is believed.")
@click.option("--public", metavar="HEX", default="", help="Public half of a key that was made elsewhere.")
@click.option("--authority", type=click.Path(path_type=Path, dir_okay=False), help=_AUTHORITY_HELP)
@as_json
@at_ground
def new(
    name: str,
    directory: Path,
    rights: tuple[str, ...],
    days: float | None,
    public: str,
    authority: Path | None,
    is_json: bool,
    url: str,
) -> None:
    """Make a key NAME.key; with --authority let it be believed, by the ground and by all satellites.

    Without --right it gets the rights of an operator: command, critical and submit.
    """
    path = directory / f"{name}.key"
    if public and authority is None:
        raise click.UsageError("--public needs --authority: the key is there, and only to be believed")
    half = _public(public) if public else _made(path)
    entry = KeyEntry(name, half, frozenset(Right(right) for right in rights) or OPERATOR_RIGHTS)
    if authority is None:
        _told(entry, path, is_json=is_json)
        return

    def add(ring: KeyRing, now: float) -> None:
        ring.add(replace(entry, not_after_seconds=now + days * 86_400 if days else 0.0))

    _change(url, authority, add, is_json=is_json)


def _made(path: Path) -> bytes:
    if path.exists():
        raise FileError(path, "there is a key already; choose another name, rotate it, or give its --public half")
    return SigningKey.load_or_create(path).public


def _public(text: str) -> bytes:
    try:
        half = bytes.fromhex(text)
    except ValueError:
        half = b""
    if len(half) != 32:
        raise UserError(f'--public "{text[:70]}": must be 64 hexadecimal digits, as `skyrack keys show` prints them')
    return half


@keys.command()
@click.argument("key_file", type=click.Path(path_type=Path, dir_okay=False))
@as_json
def show(key_file: Path, is_json: bool) -> None:
    """Show the public half of a key file."""
    key = SigningKey.load(key_file)
    _told(KeyEntry(key_file.stem, key.public, frozenset()), key_file, is_json=is_json)


def _told(entry: KeyEntry, path: Path, *, is_json: bool) -> None:
    if is_json:
        found = {"name": entry.name, "key_id": entry.key_id, "public": entry.public.hex(), "file": str(path)}
        present.print_json({**found, "rights": sorted(entry.rights)})
        return
    click.echo(f"{entry.name}  {entry.key_id}  {path}\npublic key {entry.public.hex()}")


@keys.command("list")
@as_json
@at_ground
def list_keys(is_json: bool, url: str) -> None:
    """List the keys that are believed, and which version of the list each satellite has."""
    with asking(url) as client:
        _show(client.keys(), is_json=is_json)


@keys.command()
@click.argument("names", metavar="NAME|KEY-ID...", nargs=-1, required=True)
@authority_option
@as_json
@at_ground
def revoke(names: tuple[str, ...], authority: Path, is_json: bool, url: str) -> None:
    """Let keys be believed no longer: those of a NAME, or the one of a KEY-ID; for ever."""

    def remove(ring: KeyRing, _: float) -> None:
        for entry in [entry for name in names for entry in _entries(ring, name)]:
            ring.revoke(entry.key_id)

    _change(url, authority, remove, is_json=is_json)


@keys.command()
@click.argument("name")
@click.option("--to", "directory", type=click.Path(path_type=Path), default=Path(), help="Folder of the new key.")
@click.option(
    "--overlap", type=click.FloatRange(0), default=0.0, help="Mission seconds for which the old key is believed, too."
)
@authority_option
@as_json
@at_ground
def rotate(name: str, directory: Path, overlap: float, authority: Path, is_json: bool, url: str) -> None:
    """Give NAME another key with the same rights; a key file that lies there becomes NAME.key.old."""
    with asking(url) as client:
        old = _entries(_ring(client), name)
    path = directory / f"{name}.key"
    fresh = SigningKey.load_or_create(path.with_suffix(".key.new"))

    def exchange(ring: KeyRing, now: float) -> None:
        rights = frozenset(right for entry in old for right in entry.rights)
        for entry in old:
            if overlap:
                ring.add(replace(entry, not_after_seconds=now + overlap))
            else:
                ring.revoke(entry.key_id)
        ring.add(KeyEntry(name, fresh.public, rights))

    _change(url, authority, exchange, is_json=is_json)
    if path.exists():
        path.replace(path.with_suffix(".key.old"))
    path.with_suffix(".key.new").replace(path)


@click.command()
@click.argument("command_id")
@local_key
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@at_ground
def approve(command_id: str, key_file: Path | None, yes: bool, is_json: bool, url: str) -> None:
    """Sign a critical command or sequence that waits for a second person."""
    if key_file is None:
        raise click.UsageError("--key FILE is needed: nobody signs for the second person")
    key = SigningKey.load(key_file)
    with asking(url) as client:
        try:
            signed, order = orders.open_order(client.order_of(command_id))
        except OrderRefusedError as error:
            raise UserError(str(error)) from None
        if order.order_id != command_id:
            raise UserError(f"the ground shows order {order.order_id}, not {command_id}; nothing was signed")
        if not is_json:
            for line in _lines(order):
                click.echo(line)
        if not yes:
            click.confirm(f"Sign it with key {key.key_id}?", abort=True)
        record = client.approve(command_id, key.key_id, key.sign(ORDER, signed.order))
    if is_json:
        present.print_json(record)
        return
    found = record["telecommand"] or record["sequence"]
    click.echo(f"{command_id} is signed by {record['signed_by']}: {found['stage']} {found['reason']}".rstrip())


def _lines(order: Order) -> Iterable[str]:
    """What a person is about to sign, from the very bytes."""
    yield f"{order.order_id} for {order.destination}, asked for by {order.submitter or 'nobody named'}"
    commands = [order.telecommand] if orders.kind_of(order) == orders.TELECOMMAND else []
    commands += [step.telecommand for step in order.sequence.steps]
    for command in commands:
        rpc = next((rpc for rpc in rpcs() if rpc.name == command.method), None)
        text = MessageToString(rpc.request.FromString(command.request), as_one_line=True) if rpc else "(unknown)"
        yield f"  {command.service}.{command.method} {text}".rstrip()


def _ring(client: SkyrackClient) -> KeyRing:
    found = client.keys()
    entries = [
        KeyEntry(
            key["name"],
            bytes.fromhex(key["public"]),
            frozenset(Right(right) for right in key["rights"]),
            key["not_before_seconds"],
            key["not_after_seconds"],
        )
        for key in found["keys"]
    ]
    return KeyRing(entries, version=found["version"])


def _entries(ring: KeyRing, name: str) -> list[KeyEntry]:
    found = [entry for entry in ring if name in (entry.name, entry.key_id)]
    if not found:
        raise UserError(f"there is no key {name}; {suggest(name, sorted({entry.name for entry in ring}))}")
    return found


def _change(url: str, authority: Path, change: Callable[[KeyRing, float], None], *, is_json: bool) -> None:
    """Make the next list, sign it, and have the ground bring it to all satellites."""
    key = SigningKey.load(authority)
    with asking(url) as client:
        ring, now = _ring(client), float(client.health()["mission_time_seconds"])
        change(ring, now)
        ring.version += 1
        problem = ring.problem_at(now)
        if problem:
            raise UserError(problem)
        order = orders.key_list_order(f"keys-{ring.version}-{key.key_id}", ring.to_message(), signed_seconds=now)
        record = client.order(order.order_id, orders.sign(order, key).SerializeToString())
    _show(record["keys"], is_json=is_json)


def _show(record: dict[str, Any], *, is_json: bool) -> None:
    if is_json:
        present.print_json(record)
        return
    out = present.console()
    table = Table("name", "key", "rights", "", box=None, pad_edge=False)
    for key in record["keys"]:
        table.add_row(
            key["name"], key["key_id"], ", ".join(key["rights"]), "" if key["is_valid"] else "out of its time"
        )
    out.print(table)
    out.print(f"\nversion {record['version']}, {len(record['revoked'])} keys revoked")
    for satellite in record["satellites"]:
        version = "unknown" if satellite["version"] is None else satellite["version"]
        silent = "" if version == record["version"] else "nothing was heard yet of the last change"
        answer = f"{satellite['answer']} {satellite['reason']}".strip() or silent
        out.print(f"{satellite['satellite']} has version {version}" + (f": {answer}" if answer else ""))
