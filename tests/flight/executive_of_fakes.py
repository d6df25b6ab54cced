"""A program for tests: the real executive over real processes, with services that do nothing but answer.

``python executive_of_fakes.py BOARD``. A service named in ``state_dir/broken`` fails at its start.
"""

from __future__ import annotations

import sys
from pathlib import Path

from flight import process
from flight.board import load_board
from flight.executive.run import run_executive
from flight.hal import DeviceError
from flight.service import Service, registry
from skyrack.v1 import power_pb2


class Fake(Service):
    async def on_start(self) -> None:
        broken = self.context.state_dir / "broken" if self.context.state_dir else Path()
        if broken.is_file() and self.name in broken.read_text().split():
            raise DeviceError(f"{self.name}: its sensor is unplugged; plug it in")


class Power(Fake):
    name = "power"
    parameters = power_pb2.PowerParameters


class Thermal(Fake):
    name = "thermal"


registry.update({kind.name: kind for kind in (Power, Thermal)})
process.service_class = lambda name: registry[name]
sys.exit(run_executive(load_board(Path(sys.argv[1]))))
