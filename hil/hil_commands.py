"""``skyrack hil``: a group whose commands are imported when they are called."""

from __future__ import annotations

import importlib

import click

_COMMANDS = {
    "scan": ("hil.boards.commands:scan", "Find boards, buses and chips here; suggest a bench file."),
    "check": ("hil.boards.commands:check", "Read and exercise each device of a bench."),
    "run": ("hil.boards.run_commands:run", "Fly a bench: plant here, flight services on the boards."),
    "guards": ("hil.boards.guard_commands:guards", "Show what a bench's guards did, and clear it."),
    "fault": ("hil.fault_commands:fault", "Bring a fault on in what is up, or list the faults there are."),
    "campaign": ("hil.campaign.commands:campaign", "Fly seeded runs under faults, and judge them."),
    "provision": ("hil.provision.commands:provision", "Give a board its identity, keys, files and services."),
    "accept": ("hil.acceptance.commands:accept", "Run the acceptance procedure on a board; write a signed report."),
    "verify": ("hil.acceptance.commands:verify", "Verify the signature of an acceptance report."),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, _, name = _COMMANDS[cmd_name][0].partition(":")
        found: click.Command = getattr(importlib.import_module(module), name)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])


@click.group(cls=_Lazy)
def hil() -> None:
    """Hardware in the loop: real boards and devices, faults, campaigns, acceptance."""
