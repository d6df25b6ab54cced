"""A report, and what is told of one that was altered."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from hil.acceptance import report
from hil.acceptance.commands import verify as verify_command
from hil.acceptance.flying import chain_end
from hil.acceptance.model import Finding, Picture, StepResult, Value, Verdict
from hil.acceptance.pictures import Line, draw
from hil.acceptance.verifying import Standing, verify
from hil.provision.enrol import provisioner
from skyrack.signing import KeyRing, SigningKey

SUBJECT = report.Subject(
    identity={"serial": "10000000abcdef01", "machine_id": "77", "public_key": "aa" * 32, "version": "0.1.0"},
    bench={"name": "one-pi", "board": "pi-1", "sha256": "00" * 32},
    procedure={"name": "board acceptance", "version": 1},
    began="2026-03-20T10:00:00+00:00",
    ended="2026-03-20T10:20:00+00:00",
)
RESULTS = (
    StepResult(
        name="devices",
        title="Every device answers <b>",
        verdict=Verdict.PASSED,
        values=(Value(name="meter.board", value=2.71828, unit="W", high=3.0),),
        evidence=("<script>alert(1)</script>",),
        pictures=(draw("Curve", [Line("a", [0, 1, 2], [0, 1, 4], "W")]),),
        seconds=3.2,
    ),
    StepResult(name="watchdog", title="Watchdog", verdict=Verdict.NOT_APPLICABLE, reason="it has none"),
)


@pytest.fixture
def written(tmp_path: Path) -> tuple[Path, KeyRing, Path]:
    key = provisioner(tmp_path / "keys")
    path = report.write(tmp_path / "report", report.document(SUBJECT, RESULTS), RESULTS, key)
    return path, KeyRing.load(tmp_path / "keys" / "keys.json"), tmp_path / "keys"


def test_a_report_is_valid_as_it_was_signed(written: tuple[Path, KeyRing, Path]) -> None:
    path, ring, keys = written
    found = verify(path, ring)
    assert found.standing is Standing.VALID
    assert "provisioner" in found.sentence
    assert "accepted pi-1 on 2026-03-20" in found.sentence
    for name in (path.parent, path.with_suffix(".html")):
        assert verify(name, ring).standing is Standing.VALID
    outcome = CliRunner().invoke(verify_command, [str(path), "--keys", str(keys), "--json"])
    assert outcome.exit_code == 0
    assert json.loads(outcome.stdout)["identity"]["serial"] == "10000000abcdef01"


def test_formatting_it_anew_alters_nothing(written: tuple[Path, KeyRing, Path]) -> None:
    path, ring, _ = written
    path.write_text(json.dumps(json.loads(path.read_text()), indent=4, ensure_ascii=True))
    assert verify(path, ring).standing is Standing.VALID


@pytest.mark.parametrize(
    "alter",
    [
        lambda told: told["report"].update(accepted=False),
        lambda told: told["report"]["identity"].update(serial="1"),
        lambda told: told["report"]["steps"][0]["values"][0].update(value=2.71829),
        lambda told: told.update(signature="00" * 64),
        lambda told: told["report"].update(html_sha256="00" * 32),
    ],
)
def test_whatever_is_altered_is_found(
    written: tuple[Path, KeyRing, Path], alter: Callable[[dict[str, Any]], None]
) -> None:
    path, ring, _ = written
    told = json.loads(path.read_text())
    alter(told)
    path.write_text(json.dumps(told))
    assert verify(path, ring).standing is Standing.ALTERED


def test_another_page_is_found_and_a_missing_one_is_told(written: tuple[Path, KeyRing, Path]) -> None:
    path, ring, keys = written
    page = path.with_suffix(".html")
    page.write_text(page.read_text().replace("2.718", "2.618"))
    outcome = CliRunner().invoke(verify_command, [str(page), "--keys", str(keys)])
    assert outcome.exit_code == Standing.ALTERED.value
    assert "with another page" in outcome.stdout
    page.unlink()
    assert "not beside it" in verify(path, ring).sentence


def test_who_is_not_believed_vouches_for_nothing(written: tuple[Path, KeyRing, Path], tmp_path: Path) -> None:
    path, ring, _ = written
    report.write(path.parent, report.document(SUBJECT, RESULTS), RESULTS, SigningKey.generate())
    assert verify(path, ring).standing is Standing.UNKNOWN_KEY
    operator = SigningKey.load(tmp_path / "keys" / "operator-1.key")
    report.write(path.parent, report.document(SUBJECT, RESULTS), RESULTS, operator)
    assert "may not vouch for boards" in verify(path, ring).sentence
    ring.revoke(operator.key_id)
    assert "revoked" in verify(path, ring).sentence


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff\xfe", b'{"format": "skyrack acceptance report 1"}'])
def test_what_is_no_report_is_told_so(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    found = verify(path, KeyRing())
    assert found.standing is Standing.NO_REPORT
    assert "is not a report of acceptance" in found.sentence
    assert verify(tmp_path / "none.json", KeyRing()).standing is Standing.NO_REPORT


def test_the_page_stands_alone_and_believes_no_device(written: tuple[Path, KeyRing, Path]) -> None:
    page = written[0].with_suffix(".html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r'(?:src|href)="(?!#)(?!http://www\.w3\.org)', page.replace('xlink:href="#', ""))
    assert page.count("<svg") == 1
    assert "2.718" in page


def test_equal_data_give_equal_pictures() -> None:
    one, two = (draw("Curve", [Line("a", [0, 1, 2], [0, 1, 4], "W")]) for _ in range(2))
    assert isinstance(one, Picture)
    assert one == two


def test_a_value_that_was_not_measured_fails_where_there_is_a_limit() -> None:
    missing = Value(name="drift", value=None, unit="ppm", high=200.0)
    assert Finding(values=(missing,)).reason == "drift was not measured, it must be at most 200 ppm"
    assert Finding(values=(Value(name="drift", value=None),)).verdict is Verdict.PASSED


def test_whoever_asks_knows_what_the_job_must_come_to() -> None:
    value = 12345
    for _ in range(1000):
        value = value * 48271 % 2147483647
    assert chain_end(12345, 1000) == value
