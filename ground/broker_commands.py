"""``skyrack broker``: certificates and configuration of a broker that trusts nobody by default."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import click

from skyrack.errors import UserError

__all__ = ["broker"]

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}")
_HOST: Final = re.compile(r"[A-Za-z0-9.:_-]{1,253}")


@click.group()
def broker() -> None:
    """Make certificates and configuration for an MQTT broker."""


@broker.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--satellites", default="", help="Names, separated by commas: each gets a certificate of its own.")
@click.option("--constellation", default="", help="Constellation file, or a shipped one's name: all its satellites.")
@click.option("--host", "hosts", multiple=True, help="Name or address under which the broker is reached; repeatable.")
@click.option("--renew", is_flag=True, help="Make all certificates but the authority's anew.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON, for scripts.")
def certificates(
    directory: Path, satellites: str, constellation: str, hosts: tuple[str, ...], renew: bool, is_json: bool
) -> None:
    """Make an authority and certificates in DIRECTORY: for the broker, the ground, and each satellite.

    What is there already stays; run it again to add satellites. Keep ca.key where neither broker nor satellites are.
    """
    from ground.broker_files import GROUND
    from ground.certificates import AUTHORITY, BROKER, make_certificates

    names = [name.strip() for name in satellites.split(",") if name.strip()]
    if constellation:
        from skyrack import files
        from skyrack.satellite import load_constellation

        names += load_constellation(files.find("constellations", constellation))[1]
    if not names:
        raise click.UsageError("which satellites? Name them with --satellites or --constellation")
    for name in names:
        if not _NAME.fullmatch(name) or name in (AUTHORITY, BROKER, GROUND):
            raise UserError(f'satellite "{name}": must be letters, digits, "_" and "-", and not ca, broker or ground')
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise UserError(f'--host "{host}": a host name or an address is needed')
    made = make_certificates(directory, hosts, [GROUND, *dict.fromkeys(names)], renew=renew)
    if is_json:
        found = [
            {"name": one.name, "file": str(one.certificate), "is_new": one.is_new, "not_after": str(one.not_after)}
            for one in made
        ]
        click.echo(json.dumps(found, indent=1))
        return
    for one in made:
        what = "made" if one.is_new else "kept"
        click.echo(f"{what}  {one.certificate}  good until {one.not_after:%Y-%m-%d}")


@broker.command()
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--port", default=8883, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
def config(directory: Path, port: int) -> None:
    """Write mosquitto.conf and acl into DIRECTORY, where the certificates are."""
    from ground.broker_files import access_list, configuration

    where = directory.resolve()
    if not (where / "broker.crt").is_file():
        raise UserError(f"{where} holds no broker.crt: make it with `skyrack broker certificates {directory}`")
    try:
        (where / "mosquitto.conf").write_text(configuration(where, port))
        (where / "acl").write_text(access_list())
    except OSError as error:
        raise UserError(f"{where} cannot be written ({error.strerror})") from None
    click.echo(f"mosquitto -c {where / 'mosquitto.conf'}")
