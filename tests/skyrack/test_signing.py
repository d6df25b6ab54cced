from __future__ import annotations

import stat
from pathlib import Path

import pytest

from skyrack.files import FileError
from skyrack.signing import FRAME, KeyEntry, KeyRing, Right, SigningKey, VerificationError, provision, seeded_ring


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
    with pytest.raises(VerificationError, match="not known"):
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
    assert {entry.name for entry in seeded_ring(7, ["a", "b"])} == {"ground", "a", "b"}


def test_a_ring_comes_back_from_its_file(tmp_path: Path) -> None:
    path = provision(tmp_path, ["sat-1", "sat-2"])
    ring = KeyRing.load(path)
    assert {(entry.name, entry.rights) for entry in ring} == {
        ("ground", frozenset({Right.RELAY, Right.COMMAND, Right.SUBMIT})),
        ("sat-1", frozenset({Right.SATELLITE})),
        ("sat-2", frozenset({Right.SATELLITE})),
    }
    before = path.read_bytes()
    assert provision(tmp_path, ["sat-1", "sat-2"]).read_bytes() == before


@pytest.mark.parametrize(
    "text", ["", "{}", '{"keys": [{"name": "a"}]}', '{"keys": [{"name": "a", "public": "00", "rights": []}]}']
)
def test_a_file_that_is_no_ring_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys.json").write_text(text)
    with pytest.raises(FileError, match="not a key ring"):
        KeyRing.load(tmp_path / "keys.json")
