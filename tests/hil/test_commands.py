"""The bench's commands, as a person or a script calls them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil.bench import bus
from skyrack.cli import main


def skyrack(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_a_script_gets_figures_as_json_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bus, "measure_ipc", lambda: {"reached": True})
    monkeypatch.setattr(bus, "measure_inproc", lambda: 7e-6)
    code, out, _ = skyrack(capsys, "bench", "bus", "--json")
    assert code == 0
    assert json.loads(out)["bus"]["inproc_seconds_per_delivery"] == 7e-6
    code, out, _ = skyrack(capsys, "bench", "bus")
    assert out.count("7e-06") == 1


@pytest.mark.parametrize("name", ["flight.bmp", "flight", "nowhere/flight.svg"])
def test_a_picture_that_cannot_be_drawn_is_said_before_anything_flies(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    code, out, err = skyrack(capsys, "twin", "--hours", "100000", "--picture", str(tmp_path / name))
    assert (code, out) == (2, "")
    assert name in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("option", ["--hours", "--jobs-per-hour"])
@pytest.mark.parametrize("value", ["nan", "inf"])
def test_what_would_never_end_is_refused(capsys: pytest.CaptureFixture[str], option: str, value: str) -> None:
    code, _, err = skyrack(capsys, "twin", option, value)
    assert code == 2
    assert option in err


def test_a_fault_that_strikes_nobody_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "faults.toml"
    path.write_text('[[faults]]\nkind = "pump-stop"\nsatellite = "sat-9"\nat_seconds = 1\n')
    code, _, err = skyrack(capsys, "twin", "--hours", "0.01", "--json", "--faults", str(path))
    assert code == 2
    assert err == 'Error: fault pump-stop: there is no satellite "sat-9"; did you mean "sat-2"?\n'
