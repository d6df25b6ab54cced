"""Runs on a board: makes devices by their drivers and does steps with them, the answers as JSON in the last line.

Steps: ["read", device], ["ask", device, method, arguments...], ["shell", command], ["make", device]. A device that
cannot be made, and a call that is refused, answer {"error": sentence}.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from typing import Any

from flight.devices import DeviceRegistry
from flight.hal import DeviceEnvironment, DeviceError
from skyrack.clock import Anchor, MissionClock
from skyrack.satellite import Device


def _plain(answer: Any) -> Any:
    if answer is None or isinstance(answer, (bool, int, float, str)):
        return answer
    value = answer.value
    return {
        "value": value if isinstance(value, (bool, int, float)) else repr(value),
        "quality": answer.quality.value,
        "problem": answer.problem,
    }


async def _do(registry: DeviceRegistry, step: list[Any]) -> Any:
    match step:
        case ["shell", command]:
            done = await asyncio.to_thread(subprocess.run, command, shell=True, capture_output=True, check=False)
            return {"rc": done.returncode, "said": (done.stdout + done.stderr).decode().strip()}
        case [verb, name, *arguments]:
            device: Any = registry.get(name)
            if verb == "make":
                return None
            method, *values = ["read"] if verb == "read" else arguments
            return _plain(await getattr(device, method)(*values))
    raise ValueError(step)


async def main() -> list[Any]:
    """Do what the first argument orders."""
    order = json.loads(sys.argv[1])
    environment = DeviceEnvironment("sat-1", MissionClock(Anchor.utc()), random.Random(1), None)
    chosen = {
        name: Device(driver=device["driver"], settings=device.get("settings", {}))
        for name, device in order["devices"].items()
    }
    registry = DeviceRegistry(environment, chosen, {})
    answers: list[Any] = []
    for step in order["steps"]:
        try:
            answers.append(await _do(registry, step))
        except DeviceError as problem:
            answers.append({"error": str(problem)})
    await registry.close()
    return answers


print(json.dumps(asyncio.run(main())))
