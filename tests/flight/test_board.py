"""Board files, and the drivers that they and the satellite file choose."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flight import devices
from flight.board import SIMULATED_DRIVERS, Board, load_board, load_design, paths_of, write_board
from flight.devices import DeviceRegistry, driver_names
from flight.hal import DeviceEnvironment, DeviceError
from flight.process import parameters_for, service_class
from skyrack.clock import MissionClock
from skyrack.errors import UserError
from skyrack.files import FileError
from skyrack.satellite import Device, SatelliteFile

BOARD: dict[str, Any] = {
    "satellite": "sat-1",
    "constellation_file": "demo",
    "run_dir": "run",
    "state_dir": "state",
    "log_dir": "/var/log/skyrack",
    "clock_file": "clock.json",
}


def written(directory: Path, **changes: Any) -> Path:
    path = directory / "board.toml"
    write_board(path, Board(**{**BOARD, **changes}))
    return path


def test_paths_start_at_the_file(tmp_path: Path) -> None:
    board = load_board(written(tmp_path, watchdog_device="/dev/watchdog"))
    paths = paths_of(board)
    assert (paths.run, paths.log, paths.keys) == (tmp_path / "run", Path("/var/log/skyrack"), None)
    assert paths.rules.is_file()
    assert board.watchdog_device == "/dev/watchdog"
    design, constellation = load_design(board)
    assert design.name
    assert "sat-1" in [satellite.name for satellite in constellation.satellites]


@given(st.dictionaries(st.text(), st.text(st.characters(exclude_categories=["Cs"]))))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, attachments: dict[str, str]) -> None:
    directory = tmp_path_factory.mktemp("board")
    board = load_board(written(directory, attachments=attachments, services=("power",), default_drivers={"pump": "x"}))
    assert board.attachments == attachments
    assert board.services == ("power",)
    assert board.default_drivers == {**SIMULATED_DRIVERS, "pump": "x"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"services": ("powr",)}, 'services is "powr": did you mean "power"?'),
        ({"run_dir": "/tmp/" + "x" * 100}, "a socket's path has at most 107 bytes"),
        ({"satellite": "Sat 1"}, "satellite"),
    ],
)
def test_a_wrong_board_is_one_sentence(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(FileError) as caught:
        load_board(written(tmp_path, **changes))
    assert sentence in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_a_satellite_that_the_constellation_does_not_have(tmp_path: Path) -> None:
    with pytest.raises(FileError, match='has no satellite "sat-9", which the board file flies; did you mean'):
        load_design(load_board(written(tmp_path, satellite="sat-9")))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--board", "nowhere.toml"], "nowhere.toml: there is no such file"),
        (["powr", "--board", "board.toml"], "there is no service powr"),
    ],
)
def test_bad_input_ends_with_status_2(tmp_path: Path, arguments: list[str], sentence: str) -> None:
    written(tmp_path, log_dir="log")
    result = subprocess.run(
        [sys.executable, "-m", "flight", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 2
    assert sentence in result.stderr
    assert "Traceback" not in result.stderr


class Pump:
    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


def make_pump(name: str, settings: Mapping[str, object], environment: DeviceEnvironment) -> object:
    if settings.get("broken"):
        raise DeviceError("does not turn")
    return Pump()


def registry(chosen: Mapping[str, Device], defaults: Mapping[str, str]) -> DeviceRegistry:
    clock = MissionClock.starting_at(0)
    return DeviceRegistry(DeviceEnvironment("sat", clock, random.Random(0), None), chosen, defaults)


@pytest.fixture
def drivers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    entries = {
        "test.pump": EntryPoint("test.pump", f"{__name__}:make_pump", devices.GROUP),
        "test.gone": EntryPoint("test.gone", "no.such.module:pump", devices.GROUP),
    }
    monkeypatch.setattr(devices, "_drivers", lambda: entries)
    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or _this_module())
    devices.load_driver.cache_clear()
    yield
    devices.load_driver.cache_clear()


def _this_module() -> Any:
    import types

    module = types.ModuleType(__name__)
    module.__dict__["make_pump"] = make_pump
    return module


@pytest.mark.usefixtures("drivers")
def test_devices_are_made_once_and_closed() -> None:
    found = registry({}, {"pump": "test.pump"})
    pump: Pump = found.get("pump")
    assert found.get("pump") is pump
    asyncio.run(found.close())
    assert pump.closed
    assert found.get("pump") is not pump


@pytest.mark.usefixtures("drivers")
@pytest.mark.parametrize(
    ("chosen", "defaults", "sentence"),
    [
        ({}, {}, 'no driver serves the device "pump"'),
        ({}, {"pump": "test.pmp"}, 'did you mean "test.pump"?'),
        ({"pump": Device(driver="test.gone")}, {"pump": "test.pump"}, "cannot be imported"),
        ({"pump": Device(driver="test.pump", settings={"broken": True})}, {}, "pump: does not turn"),
    ],
)
def test_what_is_wrong_with_a_device(chosen: dict[str, Device], defaults: dict[str, str], sentence: str) -> None:
    with pytest.raises(DeviceError) as caught:
        registry(chosen, defaults).get("pump")
    assert sentence in str(caught.value)


def test_installed_drivers_are_known() -> None:
    assert set(SIMULATED_DRIVERS.values()) <= set(driver_names())


def test_parameters_of_the_satellite_file() -> None:
    service_class("power")
    import msgspec

    design: SatelliteFile = load_design(Board(**BOARD))[0]
    good = msgspec.structs.replace(
        design, parameters={"power.reserve_margin_ratio": 0.2, "thermal.chip_limit_celsius": 80}
    )
    assert parameters_for(good, "power") == {"reserve_margin_ratio": 0.2}
    for name, value, sentence in (
        ("power.reserve_margn_ratio", 0.2, 'did you mean "reserve_margin_ratio"?'),
        ("power.reserve_margin_ratio", 7, "must be from 0 to 0.5"),
    ):
        with pytest.raises(UserError, match="parameters") as caught:
            parameters_for(msgspec.structs.replace(design, parameters={name: value}), "power")
        assert sentence in str(caught.value)
