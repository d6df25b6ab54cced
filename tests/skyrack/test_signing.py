from __future__ import annotations

import stat
from pathlib import Path

import pytest

from skyrack.errors import UserError
from skyrack.files import FileError
from skyrack.signing import (
    FRAME,
    OPERATORS,
    KeyEntry,
    KeyRing,
    Right,
    SigningKey,
    VerificationError,
    provision,
    seeded_ring,
)


def ring_of(key: SigningKey, *rights: Right) -> KeyRing:
    return KeyRing([KeyEntry("ground", key.public, frozenset(rights))])


def test_a_signature_is_believed_and_nothing_else_is() -> None:
    key, stranger = SigningKey.from_seed(1, "ground"), SigningKey.from_seed(2, "ground")
    ring = ring_of(key, Right.RELAY)
    signature = key.sign(FRAME, b"data")
    assert ring.verify(FRAME, b"data", signature, key.key_id).name == "ground"
    for purpose, data, signed, key_id in [
        (FRAME, b"datum", signature, key.key_id),
        ("another purpose", b"data", signature, key.key_id),
        (FRAME, b"data", bytes(64), key.key_id),
        (FRAME, b"data", b"short", key.key_id),
        (FRAME, b"data", stranger.sign(FRAME, b"data"), key.key_id),
        (FRAME, b"data", stranger.sign(FRAME, b"data"), stranger.key_id),
    ]:
        with pytest.raises(VerificationError):
            ring.verify(purpose, data, signed, key_id)


def test_a_purpose_and_its_data_cannot_be_shifted_into_each_other() -> None:
    key = SigningKey.generate()
    with pytest.raises(VerificationError):
        ring_of(key).verify("ab", b"c", key.sign("a", b"bc"), key.key_id)


def test_rights_and_revocation() -> None:
    key = SigningKey.generate()
    ring = ring_of(key, Right.COMMAND)
    assert ring.may(key.key_id, Right.COMMAND)
    assert not ring.may(key.key_id, Right.SUBMIT)
    ring.revoke(key.key_id)
    assert not ring.may(key.key_id, Right.COMMAND)
    with pytest.raises(VerificationError, match="has been revoked"):
        ring.verify(FRAME, b"", key.sign(FRAME, b""), key.key_id)


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "a.key"
    first = SigningKey.load_or_create(path)
    assert SigningKey.load_or_create(path).key_id == first.key_id
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]


def test_a_file_that_is_no_key_is_said(tmp_path: Path) -> None:
    (tmp_path / "a.key").write_text("hello")
    with pytest.raises(FileError, match=r"a\.key.*PEM"):
        SigningKey.load_or_create(tmp_path / "a.key")


def test_seeded_keys_are_equal() -> None:
    assert SigningKey.from_seed(7, "sat").key_id == SigningKey.from_seed(7, "sat").key_id
    assert SigningKey.from_seed(7, "sat").key_id != SigningKey.from_seed(8, "sat").key_id
    assert {entry.name for entry in seeded_ring(7, ["a", "b"])} == {"ground", "authority", *OPERATORS, "a", "b"}


def test_a_ring_comes_back_from_its_file(tmp_path: Path) -> None:
    path = provision(tmp_path, ["sat-1", "sat-2"])
    ring = KeyRing.load(path)
    operator = frozenset({Right.COMMAND, Right.CRITICAL, Right.SUBMIT})
    assert {(entry.name, entry.rights) for entry in ring} == {
        ("ground", frozenset({Right.RELAY, Right.COMMAND, Right.SUBMIT})),
        ("operator-1", operator),
        ("operator-2", operator),
        ("authority", frozenset({Right.AUTHORITY})),
        ("sat-1", frozenset({Right.SATELLITE})),
        ("sat-2", frozenset({Right.SATELLITE})),
    }
    assert ring.version == 1
    before = path.read_bytes()
    assert provision(tmp_path, ["sat-1", "sat-2"]).read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "{}", '{"keys": [{"name": "a"}]}', '{"keys": [{"name": "a", "public": "00", "rights": []}]}']
)
def test_a_file_that_is_no_ring_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(FileError, match="not a key ring"):
        KeyRing.load(tmp_path / "keys.json")


def test_a_key_is_believed_between_its_times_only() -> None:
    key = SigningKey.generate()
    ring = KeyRing([KeyEntry("eve", key.public, frozenset({Right.COMMAND}), 100.0, 200.0)])
    signature = key.sign(FRAME, b"data")
    assert ring.verify(FRAME, b"data", signature, key.key_id, 150.0).name == "eve"
    assert ring.may(key.key_id, Right.COMMAND, 150.0)
    for now, problem in [(99.0, "not valid for another 1 s"), (201.0, "expired 1 s")]:
        assert not ring.may(key.key_id, Right.COMMAND, now)
        with pytest.raises(VerificationError, match=problem):
            ring.verify(FRAME, b"data", signature, key.key_id, now)


@pytest.mark.parametrize("name", ["ground", "authority", "operator-1"])
def test_a_satellite_takes_nobody_elses_name(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=f'"{name}"'):
        provision(tmp_path, ["sat-1", name])
    assert not (tmp_path / "keys.json").exists()


def test_a_revoked_key_stays_revoked_when_keys_are_provisioned_again(tmp_path: Path) -> None:
    path = provision(tmp_path, ["sat-1"])
    ring = KeyRing.load(path)
    key = SigningKey.load(tmp_path / "operator-1.key")
    ring.revoke(key.key_id)
    ring.version += 1
    ring.save(path)
    ring = KeyRing.load(provision(tmp_path, ["sat-1", "sat-2"]))
    assert ring.version == 3
    assert ring.get(key.key_id) is None
    assert "sat-2" in {entry.name for entry in ring}
    with pytest.raises(VerificationError, match="revoked"):
        ring.verify(FRAME, b"", key.sign(FRAME, b""), key.key_id)


def test_a_ring_goes_over_the_link_and_comes_back() -> None:
    ring = seeded_ring(1, ["sat-1"])
    ring.add(KeyEntry("eve", SigningKey.from_seed(1, "eve").public, frozenset({Right.SUBMIT}), 5.0, 9.0))
    ring.version = 7
    message = ring.to_message()
    message.keys[0].rights.append("a right of next year")
    came = KeyRing.from_message(message)
    assert came.version == 7
    assert {entry.key_id: entry for entry in came} == {entry.key_id: entry for entry in ring}
    message.keys.add().CopyFrom(message.keys[0])
    with pytest.raises(ValueError, match="twice"):
        KeyRing.from_message(message)
    message.keys[-1].public = b"short"
    with pytest.raises(ValueError, match="32 bytes"):
        KeyRing.from_message(message)


def test_nobody_can_live_with_a_ring_that_lacks_an_authority_or_a_relay() -> None:
    ring = seeded_ring(1, ["sat-1"])
    assert ring.problem_at(0.0) == ""
    for name, right in (("ground", "relay"), ("authority", "authority")):
        without = KeyRing(entry for entry in ring if entry.name != name)
        assert f"right {right}" in without.problem_at(0.0)
    late = KeyRing([*(entry for entry in ring if entry.name != "ground"), _until(ring, "ground", 50.0)])
    assert late.problem_at(40.0) == ""
    assert "relay" in late.problem_at(60.0)


def _until(ring: KeyRing, name: str, end: float) -> KeyEntry:
    entry = next(entry for entry in ring if entry.name == name)
    return KeyEntry(entry.name, entry.public, entry.rights, 0.0, end)
