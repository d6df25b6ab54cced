from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from hil.devices.host import Host
from hil.plant.plant import Plant
from skyrack import files
from skyrack.satellite import ConstellationFile, SatelliteFile, load_constellation

MakePlant = Callable[..., Plant]
PlantTree = Callable[[str], Host]


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


@pytest.fixture
def plant_tree(tmp_path: Path) -> PlantTree:
    """Writes a board of tests/hil/trees below the test's directory; the host that has it for its root."""

    def plant(name: str) -> Host:
        tree = tomllib.loads((Path(__file__).parent / "trees" / f"{name}.toml").read_text(encoding="utf-8"))
        for directory, contents in tree["directories"].items():
            path = tmp_path / directory.lstrip("/")
            path.mkdir(parents=True, exist_ok=True)
            for file, content in contents.items():
                (path / file).write_text(content if content.endswith(("\n", "\0")) else f"{content}\n")
        for link, target in tree.get("links", {}).items():
            (tmp_path / link.lstrip("/")).symlink_to(tmp_path / target.lstrip("/"))
        return Host(root=tmp_path)

    return plant
