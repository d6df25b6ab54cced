from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import zmq
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from flight.bus import Bus, Endpoints, Header
from flight.bus.wire import topic_of
from flight.record import record as record_buses
from flight.recording import MAGIC, Record, Recorder, read_about, read_recording
from flight.recording_commands import diff, record, replay
from flight.recording_compare import first_difference
from skyrack import virtual
from skyrack.clock import Anchor, MissionClock
from skyrack.errors import UserError
from skyrack.v1.power_pb2 import LoadStatus, PowerStatus

EPOCH = 1_781_000_000.0


def make_record(sequence: int, charge: float = 0.5, load: str = "node-1", satellite: str = "sat-1") -> Record:
    header = Header(source="power", incarnation=1, sequence=sequence, mission_time_seconds=EPOCH + sequence)
    message = PowerStatus(state_of_charge_ratio=charge, loads=[LoadStatus(load=load, draw_watts=3.0)])
    topic = topic_of("skyrack.v1.PowerStatus", "main")
    return Record(satellite, topic, header.SerializeToString(), message.SerializeToString())


def write(path: Path, *records: Record, about: dict[str, object] | None = None) -> Path:
    recorder = Recorder(path, about)
    for each in records:
        recorder.write(each.satellite, each.topic, each.header, each.payload)
    recorder.close()
    return path


def run(command: Any, *arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(command, [str(argument) for argument in arguments])
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


@given(st.lists(st.tuples(st.text(max_size=20), st.binary(max_size=50), st.binary(max_size=50), st.binary())))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, records: list[Any]) -> None:
    made = [Record(*each) for each in records]
    path = write(tmp_path_factory.mktemp("recording") / "a", *made, about={"seed": 7})
    assert list(read_recording(path)) == made
    assert read_about(path) == {"seed": 7}


def test_every_cut_leaves_the_whole_messages_before_it(tmp_path: Path) -> None:
    records = [make_record(index) for index in range(1, 4)]
    content = write(tmp_path / "a", *records).read_bytes()
    start = len(write(tmp_path / "empty").read_bytes())
    size = (len(content) - start) // 3
    for cut in range(start, len(content)):
        (tmp_path / "cut").write_bytes(content[:cut])
        assert list(read_recording(tmp_path / "cut")) == records[: (cut - start) // size]


def test_a_flipped_bit_ends_the_recording_there(tmp_path: Path) -> None:
    content = bytearray(write(tmp_path / "a", *(make_record(index) for index in range(3))).read_bytes())
    content[-10] ^= 1
    (tmp_path / "a").write_bytes(content)
    assert len(list(read_recording(tmp_path / "a"))) == 2


@pytest.mark.parametrize("content", [b"", b"something else entirely", MAGIC, MAGIC + b"{\n"])
def test_what_is_no_recording_is_said_in_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(UserError, match="recording"):
        list(read_recording(tmp_path / "a"))
    with pytest.raises(UserError, match="cannot be read: No such file"):
        list(read_recording(tmp_path / "absent"))
    with pytest.raises(UserError, match="cannot be written here"):
        Recorder(tmp_path / "absent" / "a")


def test_diff_names_the_first_message_and_the_fields_that_differ(tmp_path: Path) -> None:
    same = [make_record(1), make_record(2)]
    left = write(tmp_path / "left", *same, make_record(3), make_record(4))
    right = write(tmp_path / "right", *same, make_record(3, charge=0.75, load="node-2"), make_record(4, charge=0.1))
    found = first_difference(left, right)
    assert found is not None
    assert found.index == 2
    assert [(field.name, field.left, field.right) for field in found.fields] == [
        ("state_of_charge_ratio", 0.5, 0.75),
        ("loads[0].load", "node-1", "node-2"),
    ]
    code, output = run(diff, left, right)
    assert code == 1
    assert "message 3 is the first that differs" in output
    assert "sat-1/power PowerStatus main #3" in output
    assert "state_of_charge_ratio: 0.5 here, 0.75 there" in output
    code, output = run(diff, left, right, "--json")
    assert code == 1
    assert json.loads(output)["fields"] == {
        "state_of_charge_ratio": [0.5, 0.75],
        "loads[0].load": ["node-1", "node-2"],
    }


def test_diff_of_equal_recordings_and_of_one_that_ends_early(tmp_path: Path) -> None:
    left = write(tmp_path / "left", make_record(1), make_record(2), about={"seed": 1})
    right = write(tmp_path / "right", make_record(1), make_record(2), about={"seed": 1})
    assert run(diff, left, right) == (0, "equal: 2 messages\n")
    short = write(tmp_path / "short", make_record(1))
    code, output = run(diff, left, short)
    assert code == 1
    assert "message 2 is the first" in output
    assert "the end of the recording" in output


def test_replay_prints_messages_for_people_and_for_scripts(tmp_path: Path) -> None:
    path = write(tmp_path / "a", make_record(1), make_record(2, satellite="sat-2"))
    code, output = run(replay, path)
    assert code == 0
    assert output.count("\n") == 2
    assert "sat-1/power PowerStatus main #1" in output
    _, output = run(replay, path, "--json", "--satellite", "sat-2")
    line = json.loads(output)
    assert line["satellite"] == "sat-2"
    assert line["fields"]["state_of_charge_ratio"] == 0.5
    assert line["mission_time_seconds"] == EPOCH + 2
    assert run(replay, path, "--source", "thermal") == (0, "")
    assert run(replay, path, "--message", "PowerStatus")[1].count("\n") == 2


def test_a_message_of_another_contract_is_still_shown(tmp_path: Path) -> None:
    header = Header(source="x", sequence=1).SerializeToString()
    path = write(tmp_path / "a", Record("", topic_of("skyrack.v1.FromTheFuture"), header, b"\x01\x02"))
    _, output = run(replay, path, "--json")
    assert json.loads(output)["fields"] == "0102"


def test_a_tap_records_what_a_bus_publishes(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "a")

    async def main() -> None:
        with zmq.Context(0) as context:
            bus = Bus("power", Endpoints.inproc("x"), MissionClock.starting_at(EPOCH), 1, context)
            bus.taps.append(recorder.tap("sat-1"))
            await bus.open()
            bus.publish(PowerStatus(state_of_charge_ratio=0.5), "main")
            await bus.close()

    virtual.run(main)
    recorder.close()
    (found,) = read_recording(tmp_path / "a")
    assert found.name_and_key() == ("PowerStatus", "main")
    assert found.read_header().source == "power"
    assert found.read_message() == PowerStatus(state_of_charge_ratio=0.5)


def test_a_recorder_hears_all_services_of_running_satellites(tmp_path: Path) -> None:
    async def main() -> None:
        clock = MissionClock(Anchor.utc())
        stop = asyncio.Event()
        directories = {name: tmp_path / name for name in ("sat-1", "sat-2")}
        buses = []
        for directory in directories.values():
            directory.mkdir()
            for service in ("power", "thermal"):
                bus = Bus(service, Endpoints.ipc(directory), clock, 1)
                await bus.open()
                bus.publish(PowerStatus(state_of_charge_ratio=0.5))
                buses.append(bus)
        recorder = Recorder(tmp_path / "a")
        recording = asyncio.ensure_future(record_buses(recorder, directories, clock, stop, ("power", "thermal")))
        async with asyncio.timeout(20):
            while recorder.count < 4:  # noqa: ASYNC110 - nothing tells but the count
                await asyncio.sleep(0.01)
            for bus in buses:
                bus.publish(PowerStatus(state_of_charge_ratio=0.75))
            while recorder.count < 8:  # noqa: ASYNC110 - nothing tells but the count
                await asyncio.sleep(0.01)
        stop.set()
        await recording
        for bus in buses:
            await bus.close()

    asyncio.run(main())
    seen = sorted((each.satellite, each.read_header().source) for each in read_recording(tmp_path / "a"))
    assert seen == sorted([(f"sat-{n}", service) for n in (1, 2) for service in ("power", "thermal")] * 2)


def test_recording_from_a_directory_that_is_not_there_is_said_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such directory"):
        run(record, tmp_path / "a", "--run-dir", tmp_path / "absent")
