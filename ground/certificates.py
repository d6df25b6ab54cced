"""Certificates for the broker: an authority of our own, and one certificate for each who connects.

ECDSA over P-256, which every broker knows. The name of who connects is the common name: mosquitto takes it as the user
(``use_identity_as_username``), and its access list goes by it.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from skyrack.clock import Anchor, MissionClock
from skyrack.files import FileError

__all__ = ["AUTHORITY", "BROKER", "Made", "make_certificates"]

AUTHORITY: Final = "ca"
BROKER: Final = "broker"
_LOCAL_NAMES: Final = ("localhost", "127.0.0.1", "::1")
_AUTHORITY_DAYS: Final = 3650
_DAYS: Final = 825
# Clocks differ.
_EARLIER: Final = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Made:
    """What was done for one name."""

    name: str
    certificate: Path
    is_new: bool
    not_after: dt.datetime


def make_certificates(
    directory: Path, hosts: Sequence[str], clients: Sequence[str], *, renew: bool = False
) -> list[Made]:
    """Make what is not there yet: the authority, the broker's certificate for ``hosts``, one for each client.

    ``renew`` makes all but the authority anew. Keys have mode 0600.

    Raises:
        FileError: the directory cannot be written, or a file in it is not what its name says.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        ca_key, ca = _authority(directory)
        made = [Made(AUTHORITY, directory / f"{AUTHORITY}.crt", is_new=ca_key.is_new, not_after=ca.not_valid_after_utc)]
        for name in (BROKER, *clients):
            path = directory / f"{name}.crt"
            is_new = renew or not path.exists()
            if is_new:
                names = (*hosts, *_LOCAL_NAMES) if name == BROKER else ()
                _issue(directory, name, names, ca_key.key, ca)
            certificate = x509.load_pem_x509_certificate(path.read_bytes())
            made.append(Made(name, path, is_new, certificate.not_valid_after_utc))
    except OSError as error:
        raise FileError(directory, f"certificates cannot be kept here ({error.strerror})") from error
    except ValueError as error:
        raise FileError(directory, f"a file here is no certificate or key ({error}); move it away") from error
    return made


@dataclass(frozen=True, slots=True)
class _AuthorityKey:
    key: ec.EllipticCurvePrivateKey
    is_new: bool


def _authority(directory: Path) -> tuple[_AuthorityKey, x509.Certificate]:
    key_path, path = directory / f"{AUTHORITY}.key", directory / f"{AUTHORITY}.crt"
    if key_path.exists() and path.exists():
        key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key_path.name} is not a key of ours")
        return _AuthorityKey(key, is_new=False), x509.load_pem_x509_certificate(path.read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Skyrack broker authority")
    builder = (
        _builder(name, name, key, _AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(is_authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = builder.sign(key, hashes.SHA256())
    _keep(directory, AUTHORITY, key, certificate)
    return _AuthorityKey(key, is_new=True), certificate


def _issue(
    directory: Path, name: str, hosts: Sequence[str], ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(_name(name), ca.subject, key, _DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(is_authority=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_general_name(host) for host in dict.fromkeys(hosts)]), critical=False
        )
    _keep(directory, name, key, builder.sign(ca_key, hashes.SHA256()))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int
) -> x509.CertificateBuilder:
    now = dt.datetime.fromtimestamp(MissionClock(Anchor.utc()).now(), dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + dt.timedelta(days=days))
    )


def _key_usage(*, is_authority: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not is_authority,
        key_cert_sign=is_authority,
        crl_sign=is_authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _keep(directory: Path, name: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(directory / f"{name}.key", pem, 0o600)
    _write(directory / f"{name}.crt", certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _write(path: Path, content: bytes, mode: int) -> None:
    temporary = path.with_name(f".{path.name}.new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    temporary.replace(path)
