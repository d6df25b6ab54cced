"""``skyrack hil accept`` and ``skyrack hil verify``."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import click

from hil.provision import layout

_json = click.option("--json", "as_json", is_flag=True, help="Print JSON for scripts.")
_file = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command()
@click.argument("bench")
@click.option("--board", default="", help="Board of the bench file.  [default: the only one]")
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False),
    help="Directory for the report.  [default: acceptance-BOARD-TIME]",
)  # fmt: skip
@click.option("--step", "steps", multiple=True, metavar="NAME", help="Only this step; may be given again.")
@click.option("--procedure", type=_file, help="TOML file of settings and limits that differ from the shipped ones.")
@click.option(
    "--reference", "references", multiple=True, metavar="DEVICE=VALUE",
    help="What a reference reads now, in the device's unit; may be given again.",
)  # fmt: skip
@click.option("--allow-reset", is_flag=True, help="Let the watchdog reset the board, and reboot it without goodbye.")
@click.option(
    "--keys", type=click.Path(path_type=Path, file_okay=False), default=layout.HERE, show_default=True,
    help="Directory of the provisioner's key, which signs the report; made when it is not there.",
)  # fmt: skip
@_json
def accept(
    bench: str,
    board: str,
    report: Path | None,
    steps: tuple[str, ...],
    procedure: Path | None,
    references: tuple[str, ...],
    allow_reset: bool,
    keys: Path,
    as_json: bool,
) -> None:
    """Examine a board of BENCH by the procedure, and write a signed report. The exit code is 1 when it is rejected.

    BENCH is a file, or the name of a shipped one. Nothing else may fly on the board meanwhile.
    """
    from hil.acceptance.accepting import Request, accept_board
    from hil.acceptance.present import say, watching
    from skyrack import files

    request = Request(
        bench=files.find("benches", bench).resolve(),
        board=board,
        directory=report,
        steps=steps,
        procedure=procedure,
        references=dict(_reference(text) for text in references),
        allow_reset=allow_reset,
        keys=keys.absolute(),
    )
    try:
        with watching(quiet=as_json) as watcher:
            path, document = asyncio.run(accept_board(request, watcher))
    except KeyboardInterrupt:
        raise click.Abort from None
    if as_json:
        json.dump({"report_file": str(path), **document}, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        say(path, document)
    sys.exit(0 if document["accepted"] else 1)


def _reference(text: str) -> tuple[str, float]:
    device, _, value = text.partition("=")
    try:
        return device, float(value)
    except ValueError:
        raise click.BadParameter(
            f"{text}: must be DEVICE=VALUE, as in meter.board=5.02", param_hint="--reference"
        ) from None


@click.command()
@click.argument("report", type=click.Path(path_type=Path))
@click.option(
    "--keys", type=click.Path(path_type=Path), default=layout.HERE, show_default=True,
    help="Key ring (keys.json, or its directory) that says who may vouch for boards.",
)  # fmt: skip
@_json
def verify(report: Path, keys: Path, as_json: bool) -> None:
    """Tell whether a report is as a provisioner signed it. REPORT is its directory, or one of its files.

    Exit codes: 0 valid, 1 altered, 2 not a report, 3 signed by an unknown key.
    """
    from hil.acceptance.verifying import verify as verify_report
    from skyrack.signing import KeyRing

    ring = KeyRing.load(keys / layout.RING if keys.is_dir() else keys)
    found = verify_report(report, ring)
    if as_json:
        told = {
            "standing": found.standing.name.lower(),
            "sentence": found.sentence,
            "accepted": found.report.get("accepted"),
            "identity": found.report.get("identity"),
        }
        json.dump(told, sys.stdout, indent=1)
        sys.stdout.write("\n")
    else:
        click.echo(found.sentence)
    sys.exit(found.standing.value)
