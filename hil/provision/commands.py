"""``skyrack hil provision``."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import click

from hil.provision import layout


@click.command()
@click.argument("address")
@click.option("--satellite", required=True, help="Satellite that the board flies.")
@click.option("--bench", help="Bench file, or the name of a shipped one: constellation and watchdog come from it.")
@click.option("--board", help="Name of the board in the bench file.  [default: the one that flies the satellite]")
@click.option("--serial", default="", help="Serial number that the factory gave.  [default: the board's own]")
@click.option(
    "--keys", type=click.Path(path_type=Path, file_okay=False), default=layout.HERE, show_default=True,
    help="Directory of the ground's key ring and the provisioner's key; made when it is not there.",
)  # fmt: skip
@click.option("--replace-key", is_flag=True, help="The board takes the place of one that had this satellite before.")
@click.option("--identity", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="Private key for ssh.")
@click.option(
    "--authorize", multiple=True, type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Public key of ssh that may come in as skyrack; may be given again.  [default: this user's]",
)  # fmt: skip
@click.option("--ssh-option", "options", multiple=True, metavar="NAME=VALUE", help="As ssh -o takes it.")
@click.option("--ask-sudo-password", is_flag=True, help="Ask for the password that sudo wants on the board.")
@click.option("--wheel", type=click.Path(path_type=Path), help="Wheel to install.  [default: one of this checkout]")
@click.option(
    "--wheelhouse", type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Directory with a wheel of each package of the lock: then the board needs no network.",
)  # fmt: skip
@click.option("--no-apt", is_flag=True, help="Only name packages of the distribution that are missing.")
@click.option("--start-at-boot", is_flag=True, help="The board flies alone, with the attachments below.")
@click.option("--attach", multiple=True, metavar="NAME=VALUE", help="Such as plant=tcp://10.0.0.2:7000.")
@click.option("--check", is_flag=True, help="Change nothing; say what would change.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
def provision(
    address: str,
    satellite: str,
    bench: str | None,
    board: str | None,
    serial: str,
    keys: Path,
    replace_key: bool,
    identity: Path | None,
    authorize: tuple[Path, ...],
    options: tuple[str, ...],
    ask_sudo_password: bool,
    wheel: Path | None,
    wheelhouse: Path | None,
    no_apt: bool,
    start_at_boot: bool,
    attach: tuple[str, ...],
    check: bool,
    as_json: bool,
) -> None:
    """Make a board one that flies Skyrack: software, user, keys, files, services.

    ADDRESS is "local", or such as ssh://pi@pi-1.local. The user must be root or have sudo. The second time nothing
    changes. The board's private key is made on the board and stays there.
    """
    from hil.provision.run import Request, provision_board, say

    password = click.prompt("sudo password on the board", hide_input=True, err=True) if ask_sudo_password else ""
    request = Request(
        address=address,
        satellite=satellite,
        bench=bench or "",
        board=board or "",
        serial=serial,
        keys=keys,
        replace_key=replace_key,
        identity=identity,
        authorize=authorize,
        options=options,
        password=password,
        wheel=wheel,
        wheelhouse=wheelhouse,
        apt=not no_apt,
        start_at_boot=start_at_boot,
        attachments=dict(_pair(text) for text in attach),
        check=check,
    )
    with tempfile.TemporaryDirectory(prefix="skyrack-provision-") as work:
        result = provision_board(request, Path(work), lambda text: click.echo(text, err=True))
    if as_json:
        json.dump(result, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        say(result)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.BadParameter(f"{text}: must be NAME=VALUE", param_hint="--attach")
    return name, value
