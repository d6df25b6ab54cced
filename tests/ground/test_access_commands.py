"""``skyrack tokens`` and ``skyrack audit`` towards a ground that speaks HTTPS, as a process."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner

from ground.access_commands import audit, tokens
from ground.certificates import make_certificates
from ground.client import Address
from skyrack.errors import UserError


def run(command: Any, *arguments: str, code: int = 0) -> str:
    result = CliRunner().invoke(command, arguments, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.mark.parametrize("station", ["amqtt"], indirect=True)
def test_tokens_come_and_go_over_https_and_the_audit_log_tells(
    station: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_certificates(tmp_path / "tls", (), ())  # signed by an authority that no machine believes
    certificate, key = (tmp_path / "tls" / f"broker.{kind}" for kind in ("crt", "key"))
    with station.config.open("a") as file:
        file.write(f'\ntls_certificate = "{certificate}"\ntls_key = "{key}"\nconsole = false\n')
    url = Address.parse(station.start_ground()).url
    assert url.startswith("https://127.0.0.1:")
    kept = [path for path in (station.home / "ground").rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o077 for path in kept} == {0}, "what the ground keeps is for its own user"
    monkeypatch.chdir(station.directory)
    for name in ("SKYRACK_GROUND", "SKYRACK_TOKEN", "SKYRACK_CA"):
        monkeypatch.delenv(name, raising=False)

    # The ground is found, and its certificate believed, by what it wrote for its own user.
    secret = run(tokens, "new", "alice", "--role", "viewer", "--lifetime", "8 h").strip()
    assert secret.startswith("skyrack-")
    listed = run(tokens, "list")
    assert "alice" in listed
    assert secret not in listed
    (made,) = [token for token in json.loads(run(tokens, "list", "--json")) if token["name"] == "alice"]

    headers = {"Authorization": f"Bearer {secret}"}
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{url}/health", trust_env=False)
    monkeypatch.setenv("SKYRACK_CA", str(tmp_path / "tls" / "ca.crt"))
    with httpx.Client(
        base_url=url, verify=ssl.create_default_context(cafile=tmp_path / "tls" / "ca.crt"), trust_env=False
    ) as http:
        assert http.get("/v1/me", headers=headers).json()["name"] == "alice"
        signed_in = http.get("/", params={"token": secret})
        assert "secure" in signed_in.headers["set-cookie"].lower()
    with monkeypatch.context() as alice:
        alice.setenv("SKYRACK_TOKEN", secret)
        with pytest.raises(UserError, match="needs the role admin"):
            run(audit)

    assert "revoked" in run(tokens, "revoke", made["token_id"])
    with monkeypatch.context() as alice:
        alice.setenv("SKYRACK_TOKEN", secret)
        with pytest.raises(UserError, match="wrong, over or revoked"):
            run(tokens, "list")
    told = json.loads(run(audit, "--json"))
    assert [(row["action"], row["outcome"]) for row in told if row["action"] != "sign_in"] == [
        ("make_token", "done"),
        ("revoke_token", "done"),
    ]
    assert "make_token" in run(audit)
    assert "rows hold together" in run(audit, "--verify")
    assert secret not in json.dumps(told)
    assert secret not in (station.home / "logs" / "ground.jsonl").read_text()
