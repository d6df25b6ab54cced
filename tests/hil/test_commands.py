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
