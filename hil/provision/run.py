"""Provisions one board: looks at it, makes the keys of this side, runs the playbook, keeps what the board told."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from hil.boards.address import parse_address
from hil.boards.file import BenchBoard, load_bench
from hil.provision import layout, package, playbook
from hil.provision.enrol import provisioner
from hil.provision.reach import Access, ReachError, look, problem_of
from skyrack import files
from skyrack.errors import UserError
from skyrack.satellite import load_constellation

# As satellite files and bench files have names (skyrack.satellite.Name).
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a person asked for; see ``skyrack hil provision --help``."""

    address: str
    satellite: str
    bench: str = ""
    board: str = ""
    serial: str = ""
    keys: Path = layout.HERE
    replace_key: bool = False
    identity: Path | None = None
    authorize: tuple[Path, ...] = ()
    options: tuple[str, ...] = ()
    password: str = ""
    wheel: Path | None = None
    wheelhouse: Path | None = None
    apt: bool = True
    start_at_boot: bool = False
    attachments: Mapping[str, str] = field(default_factory=dict)
    check: bool = False


def provision_board(request: Request, work: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Provision a board; what was done, and what the board says of itself.

    Raises:
        UserError: bad input.
        click.ClickException: the board cannot be reached, or cannot be provisioned; the sentence says why.
    """
    try:
        access = Access(parse_address(request.address), request.identity, request.options)
    except ValueError as error:
        raise UserError(f'address "{request.address}": {error}') from None
    # Names of files, and words of commands that root runs on the board.
    for option, name in (("--satellite", request.satellite), ("--board", request.board or request.satellite)):
        if not _NAME.fullmatch(name):
            raise UserError(f'{option} "{name}": a name is lower-case letters, digits and dashes, such as sat-1')
    variables = _variables(request)
    tell(f"looking at {request.address}")
    try:
        found = look(access, playbook.look_script())
    except ReachError as error:
        raise click.ClickException(f"{request.address}: {error}") from None
    problem = problem_of(found, apt=request.apt, password=bool(request.password))
    if problem:
        raise click.ClickException(f"{request.address}: {problem}")
    facts = found.facts
    tell(f"{facts['model'] or 'a computer'}, {facts['system']}, {facts['machine']}")
    if request.check and not (request.keys / layout.RING).exists():
        tell(f"{request.keys}: the provisioner's key and the key ring would be made")
    else:
        key = provisioner(request.keys.absolute())
        variables["skyrack_provisioner"] = key.key_id
        variables["skyrack_key_ring"] = str(request.keys.absolute() / layout.RING)
    tell("building the wheel" if request.wheel is None else f"taking {request.wheel}")
    variables["skyrack_wheel"] = str(package.wheel(request.wheel, work))
    result = work / "board.json"
    variables["skyrack_result"] = str(result)
    log = request.keys / "boards" / f"{variables['skyrack_board']}.log"
    if request.check:
        log = work / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    play = playbook.Play(access, variables, work, request.check, request.password)
    outcome = play.run(tell, log)
    if outcome.problem:
        tail = f"; all that was said is in {log}" if not request.check else ""
        raise click.ClickException(f"{request.address}: {outcome.problem}{tail}")
    told = json.loads(result.read_text(encoding="utf-8")) if result.exists() else {}
    if told:
        (log.parent / f"{variables['skyrack_board']}.json").write_text(
            json.dumps(told, indent=1, sort_keys=True) + "\n"
        )
    return {
        "address": request.address,
        "board": variables["skyrack_board"],
        "satellite": request.satellite,
        "check": request.check,
        "changed": outcome.changed,
        "counts": outcome.counts,
        "reboot_needed": outcome.reboot_needed,
        "identity": told,
        "key_ring": variables.get("skyrack_key_ring", ""),
    }


def say(result: Mapping[str, Any]) -> None:
    """For people."""
    changed, told = result["changed"], result["identity"]
    count = f"{len(changed)} {'step' if len(changed) == 1 else 'steps'}"
    if result["check"]:
        click.echo(
            f"{result['board']}: {count} would change it" if changed else f"{result['board']}: nothing to change"
        )
    else:
        click.echo(
            f"{result['board']}: provisioned, {count} changed it" if changed else f"{result['board']}: unchanged"
        )
    for name in changed:
        click.echo(f"  {name}")
    if told:
        click.echo(f"serial {told.get('serial') or 'unknown'}, machine {told.get('machine_id')}")
        click.echo(f"public key {told.get('public_key')} (id {told.get('key_id')}), believed in {result['key_ring']}")
    if result["reboot_needed"]:
        click.echo("a reboot is needed: buses and modules that were switched on come with the board's next start")


def _variables(request: Request) -> dict[str, Any]:
    variables: dict[str, Any] = {
        "skyrack_satellite": request.satellite,
        "skyrack_board": request.board or request.satellite,
        "skyrack_serial": request.serial,
        "skyrack_lock": str(playbook.lock()),
        "skyrack_wheelhouse": str(request.wheelhouse.absolute()) if request.wheelhouse else "",
        "skyrack_apt": request.apt,
        "skyrack_ssh_keys": _public_keys(request.authorize),
        "skyrack_replace_key": request.replace_key,
        "skyrack_start_at_boot": request.start_at_boot,
        "skyrack_attachments": dict(request.attachments),
        "skyrack_enrol": [sys.executable, "-m", "hil.provision.enrol", str(request.keys.absolute())],
    }
    if request.bench:
        path = files.find("benches", request.bench)
        bench = load_bench(path)
        board = _board(bench.boards, request, path)
        constellation = files.find("constellations", bench.constellation, beside=path)
        loaded, _ = load_constellation(constellation)
        design = next(item.file for item in loaded.satellites if item.name == board.satellite)
        variables |= {
            "skyrack_board": board.name,
            "skyrack_constellation": str(constellation.absolute()),
            "skyrack_satellite_file": str(files.find("satellites", design, beside=constellation).absolute()),
        }
        if board.watchdog_device:
            variables |= {
                "skyrack_watchdog_owner": "executive",
                "skyrack_watchdog_device": board.watchdog_device,
            }
    return variables


def _board(boards: tuple[BenchBoard, ...], request: Request, path: Path) -> BenchBoard:
    for board in boards:
        flies = board.satellite == request.satellite and not board.rack_node
        if board.name == request.board or (not request.board and flies):
            if board.rack_node:
                raise UserError(
                    f"{path}: board {board.name} is {board.rack_node} of {board.satellite}, and does not fly it: give "
                    f"it a name of its own, and no bench: --satellite {board.satellite}-{board.rack_node}"
                )
            if board.satellite != request.satellite:
                raise UserError(
                    f"{path}: board {board.name} flies {board.satellite}, not {request.satellite}; name one of them"
                )
            return board
    known = ", ".join(f"{board.name} ({board.satellite})" for board in boards)
    wanted = f"board {request.board}" if request.board else f"board that flies {request.satellite}"
    raise UserError(f"{path}: there is no {wanted}; there are {known}")


def _public_keys(named: tuple[Path, ...]) -> list[str]:
    paths = named or tuple(sorted((Path.home() / ".ssh").glob("id_*.pub")))
    found = []
    for path in paths:
        text = path.read_text(encoding="utf-8", errors="replace").strip()
        if not text.startswith(("ssh-", "ecdsa-", "sk-")) or "\n" in text:
            raise UserError(f"{path}: this is not one public key of ssh; it would begin with ssh-ed25519 or so")
        found.append(text)
    return found
