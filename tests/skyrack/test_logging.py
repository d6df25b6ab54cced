from __future__ import annotations

import io
import json
import logging
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from skyrack.logging import configure, get_logger, mission_time_text, silence


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_in_a_file_are_events_with_mission_time_and_bound_fields(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "power.jsonl"
    log = get_logger("power.service")
    configure(now=lambda: 1_800_000_000.25, file=file, terminal=None, service="power", satellite="a")
    log.info("load_tripped", load="node-1", draw_watts=812.0)
    log.debug("unseen")
    assert read(file) == [
        {
            "time": "2027-01-15T08:00:00.250Z",
            "service": "power",
            "satellite": "a",
            "component": "power.service",
            "event": "load_tripped",
            "level": "info",
            "load": "node-1",
            "draw_watts": 812.0,
        }
    ]


def test_a_terminal_shows_the_same_event_in_one_line() -> None:
    terminal = io.StringIO()
    configure(now=lambda: 0.0, terminal=terminal)
    get_logger("gateway").warning("frame_rejected", reason="forged")
    [line] = terminal.getvalue().splitlines()
    assert line.startswith("1970-01-01T00:00:00.000Z")
    assert "frame_rejected" in line
    assert "reason=forged" in line


def test_exceptions_and_what_libraries_log_are_lines_of_json_too(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    configure(file=file, terminal=None)
    try:
        int("boom")
    except ValueError:
        get_logger("x").exception("handler_failed")
    logging.getLogger("some.library").warning("client %s gone", "a")
    first, second = read(file)
    assert "ValueError: invalid literal" in str(first["exception"])
    assert (second["event"], second["component"], second["text"]) == ("library", "some.library", "client a gone")


def test_silence_drops_everything(capsys: pytest.CaptureFixture[str]) -> None:
    silence()
    get_logger("x").error("unheard")
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""


def test_a_full_disk_costs_lines_and_nobody_his_life(tmp_path: Path) -> None:
    path = tmp_path / "full.log"
    configure(file=path, terminal=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = path.stat().st_size if path.exists() else 0
    resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))
    try:
        get_logger("test").error("lost")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    get_logger("test").error("kept")
    assert "kept" in path.read_text()


def test_mission_time_text_is_utc() -> None:
    assert mission_time_text(0.0) == "1970-01-01T00:00:00.000Z"
