"""``skyrack dashboards``: Grafana dashboards and Prometheus rules, made from the dictionary."""

from __future__ import annotations

from pathlib import Path

import click

from ground.dashboards import files
from ground.dashboards.rules import RUNBOOKS

__all__ = ["dashboards"]


@click.command()
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(),
    show_default="here",
    help="Directory below which deploy/grafana, deploy/prometheus and docs/runbooks.md lie.",
)
@click.option("--check", is_flag=True, help="Write nothing; the exit code is 1 if something is not as it would be.")
@click.option("--runbooks", default=RUNBOOKS, show_default=True, help="Where alerts say that the runbooks are.")
def dashboards(output: Path, check: bool, runbooks: str) -> int:
    """Write Grafana dashboards, Prometheus rules and their runbooks, as the dictionary has them."""
    made = files.generated(runbooks)
    if check:
        wrong = files.differences(output, made)
        for path in wrong:
            click.echo(f"{path} is not what `skyrack dashboards` would write", err=True)
        return int(bool(wrong))
    changed = files.write(output, made)
    for path in changed:
        click.echo(f"wrote {path}")
    if not changed:
        click.echo(f"all {len(made)} files are as they should be")
    return 0
