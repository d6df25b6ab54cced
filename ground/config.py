"""The ground's configuration file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from skyrack import files

__all__ = ["GroundConfig", "load_config"]


class GroundConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a ground process is told; paths are relative to the file's directory."""

    instance: Annotated[str, Meta(min_length=1)]
    state_dir: str
    # A PostgreSQL server, postgresql://user:password@host:5432/database; without one, an SQLite file in state_dir.
    database: str = ""
    # Where mission time meets host time; without one, mission time is UTC at rate 1.
    clock_file: str = ""
    # A constellation file, or the name of a shipped one.
    constellation: str
    # mqtt://host:1883, or mqtts://host:8883 for TLS.
    broker: str = "mqtt://127.0.0.1:1883"
    # PEM files for mqtts: whom the broker's certificate must be signed by (empty: whom this machine believes), and
    # the certificate that the ground shows.
    broker_ca: str = ""
    broker_certificate: str = ""
    broker_key: str = ""
    http_host: str = "127.0.0.1"
    # 0 takes any free port.
    http_port: Annotated[int, Meta(ge=0, le=65535)] = 0
    # Further host names under which people reach it, as a reverse proxy passes them on.
    http_names: tuple[str, ...] = ()
    # PEM files; with both, the interface speaks HTTPS.
    tls_certificate: str = ""
    tls_key: str = ""
    # The ground's private key; made at the first start.
    key_file: str = ""
    # Public keys that are believed, as `skyrack up` or `signing.provision` writes them.
    keyring_file: str = ""
    # Where a running ground says how to reach it.
    address_file: str = ""
    # The console in a browser; a small board may leave it out (it costs 16 MiB and 0.3 s at the start).
    console: bool = True
    # Where a Prometheus takes remote writes: http://127.0.0.1:9090/api/v1/write. Empty is none.
    remote_write_url: Annotated[str, Meta(pattern="^(https?://.+)?$")] = ""
    # JSON lines; without one, logs go to the terminal only.
    log_file: str = ""
    log_level: str = "info"
    # Mission days for which telemetry is kept, and records and results of what is over.
    archive_days: Annotated[float, Meta(gt=0)] = 7.0
    records_days: Annotated[float, Meta(gt=0)] = 30.0


def load_config(path: Path) -> GroundConfig:
    """Read a configuration file and make its paths absolute.

    Raises:
        FileError: the file cannot be used; the message says why.
    """
    config = files.load(path, GroundConfig)
    if bool(config.tls_certificate) != bool(config.tls_key):
        key = "tls_key" if config.tls_certificate else "tls_certificate"
        raise files.FileError(path, "HTTPS needs both tls_certificate and tls_key", key=key, value="")
    base = path.resolve().parent
    state_dir = (base / config.state_dir).resolve()

    def absolute(name: str, default: Path | None = None) -> str:
        if name:
            return str((base / name).resolve())
        return str(default) if default else ""

    return msgspec.structs.replace(
        config,
        state_dir=str(state_dir),
        clock_file=absolute(config.clock_file),
        constellation=str(files.find("constellations", config.constellation, beside=path.resolve())),
        key_file=absolute(config.key_file, state_dir / "keys" / "ground.key"),
        keyring_file=absolute(config.keyring_file, state_dir / "keys" / "keys.json"),
        address_file=absolute(config.address_file, state_dir / "ground.json"),
        log_file=absolute(config.log_file),
        tls_certificate=absolute(config.tls_certificate),
        tls_key=absolute(config.tls_key),
        broker_ca=absolute(config.broker_ca),
        broker_certificate=absolute(config.broker_certificate),
        broker_key=absolute(config.broker_key),
    )
