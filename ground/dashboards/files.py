"""What is made from the dictionary, as files: written, or compared with what is there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from ground.dashboards.boards import boards
from ground.dashboards.rules import RUNBOOKS, alert_groups, recording_groups, unit_tests
from ground.dashboards.runbooks import runbooks

__all__ = ["differences", "generated", "write"]

_HEAD: Final = "# Made from the dictionary by `skyrack dashboards`; changes are lost.\n"

_PROMETHEUS: Final[dict[str, Any]] = {
    "global": {"scrape_interval": "5s", "evaluation_interval": "15s"},
    "rule_files": ["skyrack-alerts.yml", "skyrack-recorded.yml"],
    "scrape_configs": [
        {
            "job_name": "skyrack",
            # `skyrack up` writes one of these for each run, in the directory where it is called; the label job says
            # whether it is the ground or a satellite.
            "file_sd_configs": [{"files": ["../../.skyrack/targets-*.json"], "refresh_interval": "5s"}],
        }
    ],
}
_DATASOURCE: Final[dict[str, Any]] = {
    "apiVersion": 1,
    "datasources": [
        {
            "name": "Prometheus",
            "type": "prometheus",
            "access": "proxy",
            "url": "http://127.0.0.1:9090",
            "isDefault": True,
            "jsonData": {"timeInterval": "5s"},
        }
    ],
}
_PROVIDER: Final[dict[str, Any]] = {
    "apiVersion": 1,
    "providers": [
        {
            "name": "skyrack",
            "folder": "Skyrack",
            "type": "file",
            "options": {"path": "/etc/grafana/skyrack/dashboards"},
        }
    ],
}


def generated(runbook_base: str = RUNBOOKS) -> dict[str, str]:
    """Contents by path, relative to the repository's root."""
    made = {
        f"deploy/grafana/dashboards/{name}.json": json.dumps(board, indent=1, ensure_ascii=False) + "\n"
        for name, board in boards().items()
    }
    yamls = {
        "deploy/grafana/provisioning/dashboards/skyrack.yml": _PROVIDER,
        "deploy/grafana/provisioning/datasources/prometheus.yml": _DATASOURCE,
        "deploy/prometheus/prometheus.yml": _PROMETHEUS,
        "deploy/prometheus/skyrack-alerts.yml": alert_groups(runbook_base),
        "deploy/prometheus/skyrack-recorded.yml": recording_groups(),
        "deploy/prometheus/skyrack-tests.yml": unit_tests(),
    }
    made |= {path: _HEAD + yaml(value) for path, value in yamls.items()}
    made[RUNBOOKS] = runbooks()
    return made


def write(directory: Path, made: Mapping[str, str]) -> list[str]:
    """Write what differs; the paths."""
    changed = differences(directory, made)
    for path in changed:
        target = directory / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(made[path], encoding="utf-8")
    return changed


def differences(directory: Path, made: Mapping[str, str]) -> list[str]:
    """Paths of files that are missing, or are not as they would be made."""
    return [path for path, text in made.items() if _text(directory / path) != text]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def yaml(value: Any) -> str:
    """Plain dictionaries, lists, numbers and texts as YAML."""
    return "".join(f"{line}\n" for line in _lines(value))


def _lines(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            if isinstance(member, Mapping | list) and member:
                yield f"{name}:"
                yield from (f"  {line}" for line in _lines(member))
            else:
                yield f"{name}: {json.dumps(member, ensure_ascii=False)}"
    elif isinstance(value, Sequence):
        for member in value:
            first, *rest = _lines(member) if isinstance(member, Mapping) else [json.dumps(member, ensure_ascii=False)]
            yield f"- {first}"
            yield from (f"  {line}" for line in rest)
