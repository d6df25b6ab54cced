"""``python -m hil.devices.remote_node``: this board as a rack node of a satellite that another board flies."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
from pathlib import Path

import click
import zmq

from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment, DeviceError, RackNode
from hil.devices.board_node import GUARDS, NOTES
from hil.devices.remote_node.keys import checked, read_or_make
from hil.devices.remote_node.server import NodeServer, RemoteSwitch
from skyrack.discipline import DisciplinedClock
from skyrack.errors import UserError
from skyrack.satellite import load_satellite


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--node", required=True, help="Name of the rack node in the satellite file.")
@click.option("--satellite", required=True, help="Name of the satellite.")
@click.option(
    "--satellite-file", required=True, type=click.Path(path_type=Path), help="Its design; devices of this board."
)
@click.option("--clock", required=True, type=click.Path(path_type=Path), help="Anchor of the run's mission time.")
@click.option("--bind", default="tcp://127.0.0.1:7400", show_default=True, help="Address; port * takes a free one.")
@click.option(
    "--key", required=True, type=click.Path(path_type=Path), help="File of this node's key; made when absent."
)
@click.option("--allow", required=True, multiple=True, help="Public key that may command this node.")
@click.option("--state", required=True, type=click.Path(path_type=Path), help="Directory that outlives this process.")
@click.option("--ready", type=click.Path(path_type=Path), help="File to write when it is open: address and key.")
@click.option("--notes", default="", help="Directory, best in memory, for a note of the node's figures.")
@click.option("--guards", default="", help="File in which the guards of this board say what they did.")
def main(  # noqa: PLR0913, PLR0917 - as many as the process has options
    node: str,
    satellite: str,
    satellite_file: Path,
    clock: Path,
    bind: str,
    key: Path,
    allow: tuple[str, ...],
    state: Path,
    ready: Path | None,
    notes: str,
    guards: str,
) -> None:
    """Serve one rack node until told to end; work that runs goes on, and is found by the next."""
    try:
        pair = read_or_make(key)
        allowed = frozenset(checked(public, "--allow") for public in allow)
        switch = RemoteSwitch()

        def bound(address: str) -> None:
            if ready is not None:
                temporary = ready.with_name(f"{ready.name}.tmp")
                temporary.write_text(f"{address}\n{pair.public}\n", encoding="utf-8")
                temporary.replace(ready)

        async def serve() -> None:
            task = asyncio.current_task()
            for number in (signal.SIGTERM, signal.SIGINT):
                asyncio.get_running_loop().add_signal_handler(number, task.cancel)  # type: ignore[union-attr]
            mission = DisciplinedClock.from_file(clock)
            environment = DeviceEnvironment(
                satellite=satellite,
                clock=mission,
                rng=random.Random(),  # nothing of this board is drawn: its devices are real
                state_dir=state,
                attachments={"plant": switch, NOTES: notes, GUARDS: guards},
                design=load_satellite(satellite_file),
            )
            design = environment.design
            devices = DeviceRegistry(environment, design.devices if design else {}, {"node": "process.rack_node"})
            held = devices.get(f"node.{node}", RackNode)
            server = NodeServer(held, switch, state / "work")
            following = asyncio.create_task(mission.follow(clock), name="clock")
            try:
                with contextlib.suppress(asyncio.CancelledError):
                    await server.serve(bind, pair, allowed, bound)
            finally:
                following.cancel()
                await devices.close()

        asyncio.run(serve())
    except (UserError, DeviceError, zmq.ZMQError) as error:
        click.echo(error, err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
