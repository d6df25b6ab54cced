"""Whether a report is what a provisioner signed."""

from __future__ import annotations

import enum
import hashlib
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hil.acceptance.report import ACCEPTANCE, FORMAT, HTML, JSON, canonical
from skyrack.signing import KeyRing, Right, VerificationError, key_id_of


class Standing(enum.Enum):
    """What a report is worth; the value is the exit code."""

    VALID = 0
    ALTERED = 1
    NO_REPORT = 2
    UNKNOWN_KEY = 3


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found, in one sentence; ``report`` is empty where nothing of it can be believed."""

    standing: Standing
    sentence: str
    report: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Envelope:
    report: dict[str, Any]
    key_id: str
    public: bytes
    signature: bytes

    @property
    def data(self) -> bytes:
        return canonical(self.report)

    def is_its_own(self) -> bool:
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public)
            key.verify(self.signature, ACCEPTANCE.encode() + b"\0" + self.data)
        except InvalidSignature:
            return False
        return True


def _open(content: bytes) -> _Envelope:
    """Raises ValueError, KeyError or TypeError for what is no report."""
    told = json.loads(content)
    if not isinstance(told, dict) or told.get("format") != FORMAT:
        raise ValueError("it has another format")
    envelope = _Envelope(
        dict(told["report"]), str(told["key_id"]), bytes.fromhex(told["public_key"]), bytes.fromhex(told["signature"])
    )
    if key_id_of(envelope.public) != envelope.key_id:
        raise ValueError("its key and the id of its key do not belong together")
    for name in ("html_sha256", "accepted", "identity", "bench", "steps"):
        envelope.report[name]
    Ed25519PublicKey.from_public_bytes(envelope.public)
    return envelope


def verify(path: Path, ring: KeyRing) -> Verified:
    """Verify a report: its directory, its JSON or its HTML."""
    if path.is_dir():
        path /= JSON
    elif path.suffix == ".html":
        path = path.with_suffix(".json")
    try:
        envelope = _open(path.read_bytes())
        own = envelope.is_its_own()
    except OSError as error:
        return Verified(Standing.NO_REPORT, f"{path} cannot be read: {error.strerror}")
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        return Verified(Standing.NO_REPORT, f"{path} is not a report of acceptance ({reason})")
    problem = "" if own else f"{path} is altered: it is not what its key {envelope.key_id} signed"
    html = path.with_name(HTML)
    if not problem and html.exists():
        digest = hashlib.sha256(html.read_bytes()).hexdigest()
        if not hmac.compare_digest(digest, str(envelope.report["html_sha256"])):
            problem = f"{html} is altered: {path.name} is as it was signed, with another page"
    if problem:
        return Verified(Standing.ALTERED, problem)
    return _who(path, envelope, ring, "" if html.exists() else f"; {HTML} is not beside it")


def _who(path: Path, envelope: _Envelope, ring: KeyRing, page: str) -> Verified:
    try:
        who = ring.verify(ACCEPTANCE, envelope.data, envelope.signature, envelope.key_id)
    except VerificationError as error:
        return Verified(Standing.UNKNOWN_KEY, f"{path} is signed by an unknown key: {error}")
    if Right.PROVISION not in who.rights:
        return Verified(Standing.UNKNOWN_KEY, f"{path} is signed by {who.name}, whose key may not vouch for boards")
    report = envelope.report
    told = "accepted" if report["accepted"] else "rejected"
    sentence = f"{who.name} ({envelope.key_id}) {told} {report['bench'].get('board')} on {report.get('ended')}"
    return Verified(Standing.VALID, f"{path} is valid: {sentence}{page}", report)
