"""What ``skyrack up`` says."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

import msgspec
from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from hil.sil.instance import InstanceRecord


@contextlib.contextmanager
def starting(*, quiet: bool) -> Iterator[Callable[[], None]]:
    """A spinner while processes start."""
    if quiet:
        yield lambda: None
        return
    with Console(stderr=True).status("starting broker, plant, ground and satellites"):
        yield lambda: None


def say_up(record: InstanceRecord, *, as_json: bool) -> None:
    """Say how to reach a run."""
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(record)) + b"\n")
        return
    console = Console()
    console.print(f"[bold]{record.name}[/] is up: {record.constellation} at {record.rate:g}x")
    # An address that is broken over two lines cannot be clicked.
    console.print(f"  console  {record.ground_url}", soft_wrap=True)
    console.print(f"  broker   {record.broker_url}", soft_wrap=True)
    for satellite, url in record.metrics.items():
        console.print(f"  metrics  {url}  ({satellite})", soft_wrap=True)
    console.print(
        "Open the console in a browser, or try: skyrack sats, skyrack submit examples/jobs/digits-training/job.toml"
    )
    console.print("End it with: skyrack down")
