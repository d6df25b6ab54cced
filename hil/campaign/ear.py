"""Hears what one satellite publishes, as far as a run is judged by it."""

from __future__ import annotations

from flight.bus.wire import split_topic
from hil.campaign.evidence import Noted
from skyrack.v1.common_pb2 import Event, Severity
from skyrack.v1.executive_pb2 import Mode, SatelliteStatus
from skyrack.v1.power_pb2 import PowerStatus


class Ear:
    """The newest of some states, all events, and when the mode changed."""

    def __init__(self, start_seconds: float) -> None:
        self._start = start_seconds
        self.status = SatelliteStatus()
        self.power = PowerStatus()
        self.events: list[Noted] = []
        self.modes: list[tuple[float, str]] = []

    def hear(self, topic: bytes, _header: bytes, payload: bytes) -> None:
        """Take one message in."""
        name, _ = split_topic(topic)
        if name == "skyrack.v1.SatelliteStatus":
            self.status = SatelliteStatus.FromString(payload)
            if not self.modes or self.modes[-1][1] != self.mode:
                self.modes.append((self.status.mission_time_seconds - self._start, self.mode))
        elif name == "skyrack.v1.PowerStatus":
            self.power = PowerStatus.FromString(payload)
        elif name == "skyrack.v1.Event":
            event = Event.FromString(payload)
            about = {field.name: field.value for field in event.fields}
            self.events.append(
                Noted(
                    seconds=event.mission_time_seconds - self._start,
                    source=event.source,
                    name=event.name,
                    text=event.text,
                    severity=Severity.Name(event.severity).removeprefix("SEVERITY_").lower(),
                    service=about.get("service", ""),
                )
            )

    @property
    def mode(self) -> str:
        """NOMINAL, SAFE, BOOT; empty before the first status."""
        return str(Mode.Name(self.status.mode)).removeprefix("MODE_") if self.status.mode else ""
