"""``skyrack hil run`` from a shell, and what its files, its figures and its picture are made of."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hil.boards.clocks import Agreement
from hil.boards.derive import derive
from hil.boards.figures import figures_of
from hil.boards.file import load_bench, load_bench_and_designs
from hil.boards.run_picture import draw
from hil.boards.run_present import board_table, clock_text, picture, slowed
from hil.boards.samples import Sample
from hil.boards.session import BoardView, place_of
from skyrack import files
from skyrack.errors import UserError
from skyrack.satellite import load_constellation

SKYRACK = [str(Path(sys.executable).with_name("skyrack"))]


@pytest.mark.parametrize("name", ["laptop", "one-pi"])
def test_the_derived_files_are_the_designs_with_boards_in_them(name: str, tmp_path: Path) -> None:
    bench, constellation, designs = load_bench_and_designs(files.find("benches", name))
    derived = derive(bench, constellation, designs, tmp_path / "bench")
    again, flown = load_constellation(derived.constellation)
    assert flown == dict(derived.designs)
    assert again.epoch == constellation.epoch
    board = bench.boards[0]
    design = flown[board.satellite]
    assert set(design.devices) >= set(board.devices)
    assert design.devices["node.node-1"].settings["scale"] == board.watts_scale
    for field, limits in bench.limits.get(board.satellite, {}).items():
        assert design.limits[field].items() >= limits.items()
    # What a board is given is a bench file too.
    assert load_bench(tmp_path / "bench" / "bench.toml").boards == bench.boards
    assert set(derived.files()) == {"constellation.toml", "bench.toml", "satellite-sat-1.toml"}


def test_where_a_board_keeps_its_files(tmp_path: Path) -> None:
    board = load_bench(files.find("benches", "laptop")).boards[0]
    assert place_of(board, tmp_path, "up").directory == str(tmp_path / "boards" / board.name)
    pi = load_bench(files.find("benches", "one-pi")).boards[0]
    place = place_of(pi, tmp_path, "up")
    assert (place.directory, place.interpreter) == ("~/.skyrack/runs/up", "/opt/skyrack/venv/bin/python")
    assert place.command()[0] == "ssh"


NOTE = {"real_watts": 6.1, "watts": 610.0, "cap_watts": 640.0, "how": "measured by meter.board", "duty_ratio": 0.8}
VIEW = BoardView(
    "pi-1",
    "sat-1",
    link="up",
    agreement=Agreement(12.0, 0.0004, 0.0008, 3e-6, 1e-6),
    anchor_error_seconds=0.0001,
    nodes={"node-1": {**NOTE, "throttle_ratio": 0.6, "settled_seconds": [0.4, 1.2, 0.6], "problem": "meter: odd"}},
    losses=1,
)


def sample(minute: int) -> Sample:
    dark = 3 <= minute < 8
    return Sample(
        mission_time_seconds=1e6 + 60.0 * minute,
        satellite="sat-1",
        board="pi-1",
        sunlit_ratio=0.0 if dark else 1.0,
        state_of_charge_ratio=0.9 - 0.01 * minute,
        array_watts=0.0 if dark else 1200.0,
        node_watts=400.0 if dark else 600.0,
        chip_celsius=40.0 + minute,
        radiator_celsius=20.0,
        real_watts=None if minute == 5 else 6.0,
        cap_watts=450.0,
        duty_ratio=0.5,
        throttle_ratio=1.0,
    )


def test_figures_say_how_quickly_a_cap_was_followed() -> None:
    figures = figures_of(VIEW, [sample(minute) for minute in range(10)])
    assert (figures.caps_lowered, figures.settled_median_seconds, figures.settled_longest_seconds) == (3, 0.6, 1.2)
    assert figures.node_watts_eclipse == 400.0
    assert figures.hottest_chip_celsius == 49.0
    assert figures.how == "measured by meter.board"
    assert figures.clock_error_seconds == pytest.approx(0.0005)
    nothing = figures_of(BoardView("pi-1", "sat-1"), [])
    assert (nothing.settled_longest_seconds, nothing.real_watts_mean) == (None, None)


def test_what_is_shown_of_a_board() -> None:
    from rich.console import Console

    from hil.boards.bench_run import BenchView

    view = BenchView(1e6, [VIEW], truth={"sat-1": {"thermal.node-1.celsius": 51.0}}, notes=["pi-1 is lost: x"])
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123 - it is written to by rich
    console.print(picture(view))
    shown = console.export_text()
    for text in (
        "6.10 W",
        "610 W",
        "640 W",
        "throttle 60%, pauses 80%",
        "51.0 °C",
        "+0.10 ± 0.40 ms",
        "meter: odd",
        "is lost",
    ):
        assert text in shown
    assert slowed({"duty_ratio": 1.0}) == "free"
    assert clock_text(replace(VIEW, same_clock=True)) == "the same"
    assert board_table(BenchView(1e6, [BoardView("pi-2", "sat-1")])).row_count == 1


def test_the_picture_is_drawn_or_refused(tmp_path: Path) -> None:
    draw([sample(minute) for minute in range(10)], tmp_path / "p.svg", "bench", "measured by RAPL", "(1 W is 58 W)")
    assert (tmp_path / "p.svg").stat().st_size > 10_000
    with pytest.raises(UserError, match="nothing was seen"):
        draw([], tmp_path / "q.svg", "bench", "", "")


def test_a_bench_comes_up_is_found_by_other_commands_and_ends_with_down(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": ""}
    run = subprocess.Popen(
        [*SKYRACK, "hil", "run", "laptop", "--name", "bench-test", "--json", "--picture", "p.png"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        record = tmp_path / ".skyrack/bench-test/instance.json"
        deadline = time.monotonic() + 60.0
        satellites: list[dict[str, str]] = []
        while not satellites or satellites[0]["mode"] != "nominal":
            assert run.poll() is None, run.communicate()
            assert time.monotonic() < deadline, "it does not come up"
            time.sleep(0.5)
            if record.exists():
                said = subprocess.run(
                    [*SKYRACK, "sats", "--json"],
                    cwd=tmp_path,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                satellites = json.loads(said.stdout) if said.returncode == 0 else []
        down = subprocess.run(
            [*SKYRACK, "down", "--json"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        assert json.loads(down.stdout) == {"ended": ["bench-test"]}
        out, err = run.communicate(timeout=20.0)
        assert run.returncode == 0, err
        report = json.loads(out)
        assert report["boards"][0]["board"] == "here"
        assert report["boards"][0]["how"]
        assert report["boards"][0]["same_clock"]
        assert (tmp_path / "p.png").stat().st_size > 10_000
        assert not list((tmp_path / ".skyrack/bench-test").glob("bench.json"))
    finally:
        if run.poll() is None:
            run.send_signal(signal.SIGTERM)
            run.communicate(timeout=20.0)


def test_what_cannot_be_flown_is_one_sentence(tmp_path: Path) -> None:
    bench = tmp_path / "far.toml"
    text = files.shipped("benches", "laptop").read_text(encoding="utf-8")
    bench.write_text(
        text.replace('satellite = "sat-1"', 'satellite = "sat-1"\naddress = "ssh://nobody@127.0.0.1:9"', 1)
    )
    command = [*SKYRACK, "hil", "run", str(bench), "--seconds", "10"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode != 0
    assert "board here: " in said.stderr
    assert "sshd" in said.stderr
    assert "Traceback" not in said.stderr
