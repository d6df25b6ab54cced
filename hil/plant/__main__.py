"""``python -m hil.plant``: the plant of a run as a process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import click
import numpy as np

from hil.fault_schedule import FaultSchedule, PlantEffects
from hil.faults import Fault, Need, load_faults
from hil.plant.memory import PlantMemory, begin, fingerprint
from hil.plant.plant import Plant
from hil.plant.server import GateSettings, PlantServer
from skyrack import files
from skyrack.clock import Anchor, MissionClock, read_anchor
from skyrack.errors import UserError
from skyrack.satellite import load_constellation


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--constellation", required=True, help="Constellation file, or the name of a shipped one.")
@click.option("--clock", required=True, type=click.Path(path_type=Path), help="Anchor of the run's mission time.")
@click.option("--bind", required=True, help="Address: ipc:///path, or tcp://host:port (which takes port + 1 too).")
@click.option("--broker", default="", help="Broker behind the link gates, host:port; no gates without it.")
@click.option("--gates", type=click.Path(path_type=Path, exists=True), help="JSON file: each gate's port.")
@click.option("--ready", type=click.Path(path_type=Path), help="JSON file to write when all is open: the gates' ports.")
@click.option("--faults", type=click.Path(path_type=Path), help="TOML file of faults to bring on.")
@click.option("--state", type=click.Path(path_type=Path), help="File in which the world outlives this process.")
@click.option("--seed", default=0, show_default=True, help="Seed of jitter and of what was built amiss.")
@click.option("--step", default=1.0, show_default=True, help="Length of a step, mission seconds.")
@click.option("--patience", default=1.0, show_default=True, help="Outage that a connection survives, wall seconds.")
def main(  # noqa: PLR0913, PLR0917 - as many as the process has options
    constellation: str,
    clock: Path,
    bind: str,
    broker: str,
    gates: Path | None,
    ready: Path | None,
    faults: Path | None,
    state: Path | None,
    seed: int,
    step: float,
    patience: float,
) -> None:
    """Run the physical world of a constellation until told to end."""
    try:
        constellation_file, designs = load_constellation(files.find("constellations", constellation))
        plant = Plant(constellation_file, designs, rng=np.random.default_rng(seed))
        # Others of the same file are for who keeps the processes.
        mine = _ServerEffects.can
        catalogue = tuple(f for f in load_faults(faults) if f.needs in mine) if faults is not None else ()
        settings = _gates(broker, patience, gates) if broker else None
        anchor = read_anchor(clock)
        memory = PlantMemory(state, fingerprint(constellation_file, designs), anchor) if state is not None else None
        asyncio.run(_serve(plant, anchor, bind, settings, ready, catalogue, step, memory))
    except UserError as error:
        click.echo(error, err=True)
        raise SystemExit(2) from None


def _gates(broker: str, patience_seconds: float, ports: Path | None) -> GateSettings:
    host, _, port = broker.removeprefix("mqtt://").rpartition(":")
    if not host or not port.isdecimal():
        raise UserError(f"--broker {broker}: must be host:port, such as 127.0.0.1:1883")
    by_satellite = json.loads(ports.read_text(encoding="utf-8")) if ports is not None else {}
    return GateSettings((host, int(port)), patience_seconds, by_satellite)


async def _serve(
    plant: Plant,
    anchor: Anchor,
    bind: str,
    gates: GateSettings | None,
    ready: Path | None,
    faults: tuple[Fault, ...],
    step: float,
    memory: PlantMemory | None,
) -> None:
    loop = asyncio.get_running_loop()
    server = PlantServer(plant, MissionClock(anchor), bind)
    task = asyncio.current_task()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)  # type: ignore[union-attr]
    try:
        done_until = begin(plant, server.clock, memory)
        await server.open(gates)
        schedule = _schedule(server, faults, anchor.mission_time_seconds, done_until)
        schedule.apply(server.clock.now())
        if ready is not None:
            temporary = ready.with_name(f"{ready.name}.{os.getpid()}.tmp")
            temporary.write_text(json.dumps({"url": bind, "gates": server.gate_ports()}), encoding="utf-8")
            temporary.replace(ready)
        async with asyncio.TaskGroup() as group:
            group.create_task(schedule.run(server.clock))
            group.create_task(server.run(step))
            if memory is not None:
                group.create_task(memory.keep(plant))
    except asyncio.CancelledError:
        pass
    finally:
        await server.close()


def _schedule(
    server: PlantServer, faults: tuple[Fault, ...], start_seconds: float, done_until_seconds: float
) -> FaultSchedule:
    return FaultSchedule(faults, start_seconds, _ServerEffects(server), done_until_seconds)


class _ServerEffects(PlantEffects):
    """Faults of the physical world, and of the links behind the gates."""

    can: frozenset[Need] = frozenset({"plant", "links"})

    def __init__(self, server: PlantServer) -> None:
        super().__init__(server.plant.actuate)
        self._server = server

    def flip_bits(self, satellite: str, link: str, count: int) -> None:
        try:
            self._server.flip_bits(satellite, link, count)
        except KeyError:
            raise UserError(f"fault bit-flip: {satellite} has no gate for its {link} link") from None


if __name__ == "__main__":
    main()
