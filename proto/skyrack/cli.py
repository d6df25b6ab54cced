"""The ``skyrack`` command: a dispatcher to the commands that installed packages register.

A command is an entry point of the group ``skyrack.commands``. It is imported when it is called, so that a board with
only the flight extra has a working ``skyrack``, and so that ``skyrack --help`` is quick.
"""

from __future__ import annotations

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

import click

from skyrack.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.metadata import EntryPoint

GROUP = "skyrack.commands"
_ROOMS = ("skyrack", "flight", "ground", "hil")
"""Packages that are always there; all but the first have an extra of their own name."""

_SUMMARIES = {
    "alarms": "List alarms, what needs somebody first; acknowledge, shelve.",
    "approve": "Sign a critical command or sequence that waits for a second person.",
    "audit": "Tell who did what on the ground, and who was turned away.",
    "bench": "Measure this machine against the figures that Skyrack aims at.",
    "broker": "Make certificates and configuration for an MQTT broker.",
    "cancel": "Stop a job and end it as cancelled.",
    "commands": "See what waits to leave for satellites, hold it back, let it go.",
    "dashboards": "Write Grafana dashboards and Prometheus rules as the dictionary has them.",
    "dictionary": "Print what telemetry, commands and parameters mean.",
    "diff": "Name the first message in which two recordings differ.",
    "down": "End what `skyrack up` started.",
    "events": "Print what happened, on board and on the ground.",
    "export": "Write telemetry to a Parquet or CSV file.",
    "fetch": "Bring a job's results into a folder.",
    "flight": "Fly a satellite, or one of its services.",
    "ground": "Run the ground segment.",
    "hil": "Hardware in the loop: boards, devices, faults, acceptance.",
    "jobs": "List jobs and where they stand.",
    "keys": "Keys: who may command, submit, and say who may.",
    "ledger": "Print what delivery counted, and prove that nothing was lost.",
    "record": "Keep every message of a satellite's bus in a file.",
    "replay": "Play a recording.",
    "run": "Fly a small constellation, run real jobs on it, print what came back, and end.",
    "sats": "List satellites and how they are.",
    "send": "Send a command to a satellite.",
    "sequence": "Have a satellite run commands one after the other.",
    "submit": "Submit a job.",
    "telemetry": "Print the newest telemetry.",
    "tokens": "Give and take tokens, with which people use the ground.",
    "topology": "Print which service publishes what to whom.",
    "twin": "Fly in virtual time: a day in minutes, equal to the last bit.",
    "up": "Bring up a constellation and leave it running.",
}
_EPILOG = "Exit codes: 0 done, 1 failed, 2 bad input. `skyrack COMMAND --help` tells more."


def _missing_library(error: ModuleNotFoundError) -> str | None:
    """Name of a library of others that is not installed; a missing module of ours is a defect, not an extra."""
    missing = (error.name or "").partition(".")[0]
    return missing if missing and missing not in _ROOMS else None


def _what_to_install(name: str, module: str, missing: str) -> str:
    room = module.partition(".")[0]
    advice = f": pip install 'skyrack[{room}]'" if room in _ROOMS[1:] else ""
    return f"skyrack {name} needs {missing}, which is not installed{advice}"


class _Unavailable(click.Command):
    """A command whose libraries are not installed: it is listed, and says what to install."""

    def __init__(self, name: str, sentence: str) -> None:
        self.sentence = sentence
        settings: dict[str, Any] = {"ignore_unknown_options": True, "allow_extra_args": True}
        super().__init__(name, help=sentence, add_help_option=False, context_settings=settings, callback=self._refuse)

    def _refuse(self) -> NoReturn:
        raise click.ClickException(self.sentence)


class Dispatcher(click.Group):
    """A group whose commands are entry points, imported one by one when they are called."""

    @cached_property
    def entry_points(self) -> dict[str, EntryPoint]:
        """Registered commands by name."""
        from importlib.metadata import entry_points

        return {point.name: point for point in entry_points(group=GROUP)}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all registered commands."""
        return sorted(self.entry_points)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; one whose libraries are missing is replaced by one that says so."""
        point = self.entry_points.get(cmd_name)
        if point is None:
            return None
        try:
            command: click.Command = point.load()
        except ModuleNotFoundError as error:
            missing = _missing_library(error)
            if missing is None:
                raise
            return _Unavailable(cmd_name, _what_to_install(cmd_name, point.module, missing))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; libraries that it imports only now may be missing too."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            name, missing = ctx.invoked_subcommand or "", _missing_library(error)
            if missing is None or name not in self.entry_points:
                raise
            sentence = _what_to_install(name, self.entry_points[name].module, missing)
            raise click.ClickException(sentence) from error

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was typed; for a mistyped one, say which was probably meant."""
        name = args[0]
        if name not in self.entry_points and not name.startswith("-"):
            from skyrack.files import suggest

            ctx.fail(f"there is no command {name}; {suggest(name, self.entry_points)}")
        return super().resolve_command(ctx, args)

    def _summary(self, ctx: click.Context, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except ImportError as error:
            return f"Cannot be imported: {error}"
        return command.get_short_help_str() if command is not None else ""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List commands with their summaries, without importing those that Skyrack itself brings."""
        rows = []
        for name in self.list_commands(ctx):
            summary = _SUMMARIES.get(name)
            if summary is None:
                summary = self._summary(ctx, name)
            rows.append((name, summary))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        from importlib.metadata import version

        click.echo(f"skyrack {version('skyrack')}")
        ctx.exit()


@click.command(cls=Dispatcher, epilog=_EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Print it.")
def skyrack() -> None:
    """Flight software and ground segment for orbital data centres."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and end the process: 0 done, 1 failed, 2 bad input, 130 interrupted."""
    try:
        code = skyrack.main(args=arguments, prog_name="skyrack", standalone_mode=False)
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: nothing is wrong, and nothing more can be written.
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
