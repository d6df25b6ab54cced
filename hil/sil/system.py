"""The processes of a run in the loop: broker, plant with its link gates, ground, and one executive per satellite."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from flight.board import Board, write_board
from ground.client import address_in
from hil.faults import load_faults
from hil.sil.instance import Instance, InstanceRecord
from hil.sil.ports import free_rows
from hil.supervisor import Program
from skyrack.clock import Anchor, write_anchor
from skyrack.errors import UserError
from skyrack.satellite import load_constellation
from skyrack.signing import provision

if TYPE_CHECKING:
    from pathlib import Path

    from hil.plant.ports import Ports
    from skyrack.clock import Clock

LINKS = ("optical", "antenna")
# One thread each: pools of linear algebra threads would fight over a laptop's cores.
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


@dataclass(frozen=True, slots=True)
class SystemSettings:
    """What to bring up. Without ``broker`` the embedded one starts; ``http_port`` 0 takes a free port.

    ``elsewhere`` are satellites whose flight services are started by others: on boards, for example;
    ``nodes_elsewhere`` are those of their rack nodes, by satellite, that are boards of their own. ``over_tcp`` lets the
    plant be reached by those that are not on this machine, through the ends of tunnels on its loopback.
    """

    constellation: Path
    rate: float = 60.0
    broker: str = ""
    http_port: int = 0
    faults: Path | None = None
    python: str = sys.executable
    elsewhere: frozenset[str] = frozenset()
    nodes_elsewhere: Mapping[str, frozenset[str]] = field(default_factory=dict)
    over_tcp: bool = False


class System:
    """Writes the files of a run, and says which processes it is made of."""

    def __init__(self, instance: Instance, run_dir: Path, settings: SystemSettings) -> None:
        """Read and check the files that the settings name; nothing is written yet.

        Raises:
            FileError: constellation or satellite file do not add up.
            UserError: the broker's address is none.
        """
        self.instance = instance
        self.run_dir = run_dir
        self.settings = settings
        self.constellation, designs = load_constellation(settings.constellation)
        self.names = tuple(designs)
        self.faults = load_faults(settings.faults) if settings.faults is not None else ()
        self._designs = designs
        self._ports: dict[str, Ports] | None = None
        # Ports are nobody's secret, and no result depends on them.
        rows = [1, 1, 2, *([1] * 3 * len(self.names))]
        broker_port, ground_port, plant_port, *others = free_rows(rows, random.SystemRandom())
        # Chosen here: a ground that is started again is found where it was.
        self.http_port = settings.http_port or ground_port
        self.broker = _address(settings.broker) if settings.broker else f"mqtt://127.0.0.1:{broker_port}"
        ports = iter(others)
        self.metrics = {name: next(ports) for name in self.names}
        self.gates = {name: {link: next(ports) for link in LINKS} for name in self.names}
        self.clock_file = instance.directory / "clock.json"
        self.ground_address_file = instance.directory / "ground.json"
        self.supervision_file = instance.directory / "processes.json"
        self._ground_config = instance.directory / "ground.toml"
        self._mission_time_file = instance.directory / "mission_time"
        self.keys = instance.directory / "keys"
        self._broker_ready = run_dir / "broker.url"
        self._plant_ready = run_dir / "plant.json"
        self._gates_file = run_dir / "gates.json"
        self.plant_url = f"tcp://127.0.0.1:{plant_port}" if settings.over_tcp else f"ipc://{run_dir}/plant"

    def check_key(self, satellite: str, key: str) -> None:
        """Whether the plant has what a fault is to strike; raises UserError where it has not."""
        if self._ports is None:
            from hil.plant.plant import Plant  # few runs ask, and all are spared its numerics

            plant = Plant(self.constellation, self._designs)
            self._ports = {name: plant.ports(name) for name in self.names}
        try:
            self._ports[satellite].actuate(key, 0.0)
        except KeyError as error:
            raise UserError(f"fault: {error}") from None

    def prepare(self) -> list[Program]:
        """Write keys and configuration, let mission time begin, and say what to run.

        Raises:
            FileError: a key cannot be read or made.
            OSError: a file cannot be written.
        """
        self.ground_address_file.unlink(missing_ok=True)
        self.instance.logs.mkdir(exist_ok=True)
        self.keys.mkdir(mode=0o700, exist_ok=True)
        provision(self.keys, self.names)
        self._gates_file.write_text(json.dumps(self.gates))
        self._write_ground_config()
        boards = {name: self._write_board(name) for name in self.names if name not in self.settings.elsewhere}
        start = max(self.constellation.epoch_seconds + self.constellation.start_seconds, self._last_mission_time())
        write_anchor(self.clock_file, Anchor.here(start, self.settings.rate))
        python = self.settings.python
        programs = []
        if not self.settings.broker:
            port = self.broker.rpartition(":")[2]
            argv = [python, "-m", "ground.broker", "--port", port, "--ready-file", str(self._broker_ready)]
            programs.append(self._program("broker", argv, 0, self._broker_ready))
        plant = [python, "-m", "hil.plant", "--constellation", str(self.settings.constellation)]
        plant += ["--clock", str(self.clock_file), "--bind", self.plant_url, "--broker", self.broker]
        plant += ["--gates", str(self._gates_file), "--ready", str(self._plant_ready)]
        plant += ["--state", str(self.instance.state("plant") / "truth.msgpack")]
        if self.settings.faults is not None:
            plant += ["--faults", str(self.settings.faults)]
        programs.append(self._program("plant", plant, 1, self._plant_ready))
        ground = [python, "-m", "ground", "--config", str(self._ground_config)]
        programs.append(self._program("ground", ground, 1, self.ground_address_file))
        for name, board in boards.items():
            argv = [python, "-m", "flight", "executive", "--board", str(board)]
            # The executive binds its socket last, when all that it needs is there.
            programs.append(self._program(name, argv, 2, self.run_dir / name / "executive.pub"))
        return programs

    def ground_url(self) -> str:
        """Address of the ground that runs, with the token that lets this user in."""
        return str(address_in(self.ground_address_file))

    def note_mission_time(self, clock: Clock) -> None:
        """Remember the present, so that the next run of this instance goes on from there."""
        temporary = self._mission_time_file.with_suffix(".tmp")
        temporary.write_text(f"{clock.now():.3f}\n")
        temporary.replace(self._mission_time_file)

    def record(self, supervisor_pid: int) -> InstanceRecord:
        """What ``instance.json`` says."""
        return InstanceRecord(
            name=self.instance.name,
            supervisor_pid=supervisor_pid,
            run_dir=str(self.run_dir),
            constellation=self.constellation.name,
            rate=self.settings.rate,
            ground_url=self.ground_url(),
            broker_url=self.broker,
            metrics={name: f"http://127.0.0.1:{port}/metrics" for name, port in self.metrics.items()},
        )

    def _last_mission_time(self) -> float:
        try:
            return float(self._mission_time_file.read_text())
        except (OSError, ValueError):
            return 0.0

    def _write_ground_config(self) -> None:
        config = {
            "instance": self.instance.name,
            "state_dir": str(self.instance.state("ground")),
            "clock_file": str(self.clock_file),
            "constellation": str(self.settings.constellation),
            "broker": self.broker,
            "http_port": self.http_port,
            "key_file": str(self.keys / "ground.key"),
            "keyring_file": str(self.keys / "keys.json"),
            "address_file": str(self.ground_address_file),
            "log_file": str(self.instance.logs / "ground.log"),
        }
        # A JSON string or number is a TOML one, too.
        self._ground_config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in config.items()))

    def _write_board(self, satellite: str) -> Path:
        board = Board(
            satellite=satellite,
            constellation_file=str(self.settings.constellation),
            run_dir=str(self.run_dir / satellite),
            state_dir=str(self.instance.state(satellite)),
            log_dir=str(self.instance.logs / satellite),
            clock_file=str(self.clock_file),
            keys_dir=str(self.keys),
            attachments={
                "plant": self.plant_url,
                "metrics.port": f"127.0.0.1:{self.metrics[satellite]}",
                **{f"backhaul.{link}": f"mqtt://127.0.0.1:{port}" for link, port in self.gates[satellite].items()},
            },
        )
        path = self.instance.directory / f"{satellite}.board.toml"
        write_board(path, board)
        return path

    def _program(self, name: str, argv: list[str], stage: int, ready: Path) -> Program:
        return Program(
            name=name,
            argv=argv,
            log=self.instance.logs / f"{name}.out",
            stage=stage,
            environment=ENVIRONMENT,
            ready=ready.exists,
        )


def _address(broker: str) -> str:
    """A broker's address with its port. The link gates pass bytes on as they are: its far end is plain MQTT."""
    try:
        parts = urlsplit(broker)
        host, port = parts.hostname, parts.port or 1883
    except ValueError:
        host, port = None, 0
    if not host or broker not in {f"mqtt://{host}", f"mqtt://{host}:{port}"}:
        raise UserError(f'broker "{broker}": must be an address like mqtt://127.0.0.1:1883')
    return f"mqtt://{host}:{port}"
