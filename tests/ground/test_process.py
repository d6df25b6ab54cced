"""The ground as a process, with real brokers: what kills, restarts and people do to it."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from ground.client import address_in
from skyrack.cli import main

BROKERS = ("amqtt", "mosquitto")
PACKAGE = b"a package" * 2000
SHA256 = hashlib.sha256(PACKAGE).hexdigest()


def put_job(station: Any, url: str, job_id: str) -> None:
    job = {
        "name": "digits",
        "command": ["python3", "train.py"],
        "resources": {"power_watts": 200, "expected_seconds": 60},
        "package_sha256": SHA256,
        "package_bytes": len(PACKAGE),
    }
    with station.http(url) as http:
        http.put(f"/v1/packages/{SHA256}", content=PACKAGE).raise_for_status()
        http.put(f"/v1/jobs/{job_id}", json=job).raise_for_status()


def all_settled(station: Any, url: str) -> list[dict[str, Any]] | None:
    records = station.get(url, "/v1/jobs", limit=1000)
    done = all(record["is_final"] and record["result_received_seconds"] for record in records)
    return records if records and done else None


def assert_each_ran_once(station: Any, records: list[dict[str, Any]]) -> None:
    assert {record["state"] for record in records} == {"COMPLETED"}
    assert {record["attempt"] for record in records} == {1}
    placed = [p.spec.job_id for satellite in station.satellites.values() for p in satellite.placements]
    assert sorted(placed) == sorted(record["job_id"] for record in records)


@pytest.mark.parametrize("station", BROKERS, indirect=True)
def test_no_accepted_job_is_lost_when_the_ground_is_killed_again_and_again(station: Any) -> None:
    station.start_broker()
    url = [station.start_ground()]
    station.start_satellites()
    accepted: list[str] = []
    stop = threading.Event()

    def submit() -> None:
        number = 0
        while not stop.is_set():
            job_id = f"job-{number}"
            try:
                put_job(station, url[0], job_id)
            except httpx.HTTPError:
                continue  # the same id again, as a client does
            accepted.append(job_id)
            number += 1
            stop.wait(0.03)

    submitter = threading.Thread(target=submit)
    submitter.start()
    try:
        for kills in range(1, 3):
            station.eventually(lambda kills=kills: len(accepted) >= 5 * kills, "jobs are accepted")
            station.kill("ground")
            url[0] = station.start_ground()
        station.eventually(lambda: len(accepted) >= 16, "jobs are accepted")
    finally:
        stop.set()
        submitter.join()
    records = station.eventually(lambda: all_settled(station, url[0]), "all jobs are over", 90)
    assert set(accepted) <= {record["job_id"] for record in records}
    assert_each_ran_once(station, records)


@pytest.mark.parametrize("station", BROKERS, indirect=True)
def test_a_killed_broker_costs_time_and_nothing_else(station: Any) -> None:
    station.start_broker()
    url = station.start_ground()
    station.start_satellites()
    for number in range(4):
        put_job(station, url, f"before-{number}")
    station.kill("broker")
    for number in range(4):
        put_job(station, url, f"while-{number}")
    station.start_broker()
    records = station.eventually(lambda: all_settled(station, url), "all jobs are over", 90)
    assert len(records) == 8
    assert_each_ran_once(station, records)
    assert station.processes["ground"].poll() is None


def test_it_ends_within_two_seconds_even_when_somebody_waits(station: Any) -> None:
    station.start_broker()
    url = station.start_ground()
    waiting = threading.Thread(
        target=lambda: station.get(url, "/v1/events", after_id=10**6, wait_seconds=60), daemon=True
    )
    waiting.start()
    station.eventually(lambda: station.get(url, "/health")["is_connected"], "the ground is connected")
    process = station.processes["ground"]
    process.send_signal(signal.SIGTERM)
    assert process.wait(2.0) == 0
    assert not (station.home / "ground.json").exists()
    waiting.join(5)


def skyrack(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "train.py").write_text("print('hello')\n")
    path = folder / "job.toml"
    path.write_text(
        'name = "digits"\ncommand = ["python3", "train.py"]\n[resources]\npower_watts = 300\nexpected = "60 s"\n'
    )
    return path


def tar_of(tmp_path: Path) -> bytes:
    from skyrack.archive import Entry, pack

    (tmp_path / "accuracy.json").write_text('{"accuracy": 0.97}')
    return pack([Entry("accuracy.json", tmp_path / "accuracy.json")], 10_000)


def test_what_a_person_does(
    station: Any,
    job_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(station.directory)
    monkeypatch.delenv("SKYRACK_GROUND", raising=False)
    station.start_broker()
    station.start_ground()
    station.start_satellites()
    for satellite in station.satellites.values():
        satellite.result = tar_of(tmp_path)

    code, out, _ = skyrack(capsys, "submit", str(job_file), "--id", "mine", "--wait")
    assert code == 0, out
    assert "mine COMPLETED" in out
    code, out, _ = skyrack(capsys, "jobs")
    assert code == 0
    assert "mine" in out
    code, out, _ = skyrack(capsys, "jobs", "mine")
    assert [word for word in ("SUBMITTED", "PLACED", "RUNNING", "COMPLETED") if word not in out] == []
    code, out, _ = skyrack(capsys, "jobs", "--json")
    assert json.loads(out)[0]["job_id"] == "mine"

    code, out, _ = skyrack(capsys, "fetch", "mine", "--to", "results")
    assert code == 0, out
    assert json.loads(Path("results/accuracy.json").read_text()) == {"accuracy": 0.97}
    code, _, err = skyrack(capsys, "fetch", "mine", "--to", "results")
    assert code == 2
    assert "results is not empty" in err

    code, out, _ = skyrack(capsys, "sats")
    assert code == 0
    assert "sat-1" in out
    assert "80%" in out
    code, out, _ = skyrack(capsys, "telemetry", "sat-1", "state_of_charge")
    assert code == 0
    assert "PowerStatus.state_of_charge_ratio" in out
    assert "0.8" in out
    code, _, err = skyrack(capsys, "telemetry", "sat-1", "state_of_chrage_ratio")
    assert code == 2
    assert "no telemetry field matches" in err

    code, out, _ = skyrack(capsys, "send", "sat-1", "SetLoadSwitch", "load=node-1", "closed=true", "--wait")
    assert code == 0, out
    assert "COMPLETED" in out
    code, _, err = skyrack(capsys, "send", "sat-1", "SetPump", "duty_ratio=7")
    assert code == 2
    assert "duty_ratio is 7: must be a number from 0 to 1" in err
    code, _, err = skyrack(capsys, "send", "sat-9", "SetPump", "duty_ratio=0.5", "hold_seconds=60")
    assert code == 2
    assert "there is no satellite sat-9" in err

    code, out, _ = skyrack(capsys, "cancel", "mine")
    assert code == 1
    assert "is over already: COMPLETED" in out
    code, _, err = skyrack(capsys, "cancel", "nothing")
    assert code == 2
    assert "there is no job nothing" in err
    code, out, _ = skyrack(capsys, "events", "--json")
    assert code == 0
    assert isinstance(json.loads(out), list)

    broken = job_file.with_name("broken.toml")
    broken.write_text(job_file.read_text().replace("300", "-300"))
    code, _, err = skyrack(capsys, "submit", str(job_file), str(broken))
    assert code == 2
    assert "broken.toml" in err
    assert "power_watts" in err
    assert "-300" in err
    assert len(station.get(str(address_in(station.home / "ground.json")), "/v1/jobs")) == 1

    station.kill("ground")
    code, _, err = skyrack(capsys, "jobs")
    assert code == 1
    assert err.strip().count("\n") == 0
    assert "no ground runs here" in err
    assert "skyrack up" in err


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("instance", "instnace"), 'did you mean "instance"?'),
        (('constellation = "demo"', 'constellation = "nowhere"'), "no such file is shipped among the constellations"),
        (("mqtt://", "carrier-pigeon://"), "an address like mqtt://host:1883"),
        (('"keys/keys.json"', '"keys/none.json"'), "the key ring cannot be read"),
        (('"test"', '"test"\nhttp_port = 70000'), "http_port"),
    ],
)
def test_a_wrong_configuration_ends_it_with_a_sentence(station: Any, change: tuple[str, str], why: str) -> None:
    station.config.write_text(station.config.read_text().replace(*change))
    command = [sys.executable, "-m", "ground", "--config", str(station.config)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_broker_whose_port_is_taken_says_so(station: Any) -> None:
    station.start_broker()
    command = [sys.executable, "-m", "ground.broker", "--port", str(station.port)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 2
    assert f"port {station.port} on 127.0.0.1 cannot be used" in ended.stderr
    assert station.kill("broker", signal.SIGTERM) == 0
