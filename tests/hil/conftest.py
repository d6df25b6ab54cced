from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest

from hil.plant.plant import Plant
from skyrack import files
from skyrack.satellite import ConstellationFile, SatelliteFile, load_constellation

MakePlant = Callable[..., Plant]


@pytest.fixture(scope="session")
def demo() -> tuple[ConstellationFile, dict[str, SatelliteFile]]:
    return load_constellation(files.shipped("constellations", "demo"))


@pytest.fixture
def make_plant(demo: tuple[ConstellationFile, dict[str, SatelliteFile]]) -> MakePlant:
    """The demo's plant, with changes to the design of all satellites by section: battery={"floor_ratio": 0.5}."""

    def make(seed: int = 0, **changes: dict[str, object]) -> Plant:
        constellation, designs = demo
        changed = {
            name: msgspec.structs.replace(
                design,
                **{
                    section: msgspec.structs.replace(getattr(design, section), **values)
                    for section, values in changes.items()
                },
            )
            for name, design in designs.items()
        }
        return Plant(constellation, changed, rng=seed)

    return make
