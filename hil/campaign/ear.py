"""Hears what one satellite publishes, as far as a run is judged by it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flight.bus.wire import split_topic
from hil.campaign.evidence import Noted
from skyrack.v1.common_pb2 import Event, Severity
from skyrack.v1.executive_pb2 import Mode, SatelliteStatus
from skyrack.v1.power_pb2 import PowerStatus

if TYPE_CHECKING:
    from skyrack.clock import Clock


class Ear:
    """The newest of some states, all events, and when the mode changed."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._start = clock, clock.now()
        self.status = SatelliteStatus()
        self.power = PowerStatus()
        self.events: list[Noted] = []
        self.modes: list[tuple[float, str]] = []

    def hear(self, topic: bytes, _header: bytes, payload: bytes) -> None:
        """Take one message in."""
        name, _ = split_topic(topic)
        # Not as it says itself: its clock may have jumped.
        seconds = self._clock.now() - self._start
        if name == "skyrack.v1.SatelliteStatus":
            self.status = SatelliteStatus.FromString(payload)
            if not self.modes or self.modes[-1][1] != self.mode:
                self.modes.append((seconds, self.mode))
        elif name == "skyrack.v1.PowerStatus":
            self.power = PowerStatus.FromString(payload)
        elif name == "skyrack.v1.Event":
            event = Event.FromString(payload)
            about = {field.name: field.value for field in event.fields}
            self.events.append(
                Noted(
                    seconds=seconds,
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
