"""What it means, for each kind of fault, that it was detected, contained and recovered from: one table.

Detected: a service told of it in an event. Contained: the harm no longer grew, or the faulty part was isolated.
Recovered: all was as it should be, and stayed so for a minute: normal mode (or safe as commanded), every service
running, charge and temperatures inside their red limits, the fault itself over where it has an end, the ground in reach
where it had been, and no doubt left of those that were told.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Final

from hil.faults import BROKER, GROUND

if TYPE_CHECKING:
    from hil.faults import Fault


@dataclass(frozen=True, slots=True)
class Told:
    """An event on board."""

    seconds: float
    satellite: str
    source: str
    name: str
    about: Mapping[str, str] = field(default_factory=dict)
    """Its fields."""

    def names(self, key: str, value: str) -> bool:
        """Whether a field has this value."""
        return self.about.get(key) == value


class Contained(Enum):
    """When a fault's harm ended."""

    ISOLATED = "when an event told that the faulty part was cut off or is no longer relied on"
    PEAK = "when the hottest chip no longer rose, nor the charge fell out of its band"
    RECONNECTED = "when the ground was in reach again, over whichever link"
    RUNNING = "when every service ran again"
    REFUSED = "at once: what is damaged is refused"


Detects = Callable[["Fault", Told], bool]


@dataclass(frozen=True, slots=True)
class Meaning:
    """Of one kind; the texts are for readers."""

    detected: str
    detects: Detects
    contained: Contained
    isolates: Detects = lambda _fault, _told: False
    recovered: str = ""
    """What recovery asks for besides what it always asks for."""


_DOUBTS = frozenset({"sensor_silent", "sensor_stuck", "sensor_noisy", "sensor_off"})
_METERS = ("battery", "array", "load.")


def _doubted(fault: Fault, told: Told) -> bool:
    """A device of the fault is doubted in an event."""
    device = fault.target
    if told.name in _DOUBTS:
        sensor = told.about.get("sensor", "")
        return sensor == device or (sensor == "power balance" and device.startswith(_METERS))
    kind, _, name = device.partition(".")
    return {
        "battery": told.name == "battery_unreadable",
        "thermal": (told.name in {"thermometer_lost", "radiator_weak", "thermal_trip"} and told.names("node", name))
        or (told.name == "radiator_weak" and name == "radiator"),
        "gnss": told.name in {"gnss_disagrees", "clock_disagrees"},
        "pump": told.name == "pump_stalled",
        "load": told.name == "load_opened" and told.names("load", name),
        "laser": told.name == "laser_lost" and told.names("terminal", name),
    }.get(kind, False)


def _isolated(fault: Fault, told: Told) -> bool:
    """Flight goes on without the device: with its model, or the other meters."""
    return _doubted(fault, told)


def _named(*names: str, **about: str) -> Detects:
    """An event of one of these names, whose field (key) has the fault's attribute (value)."""

    def detects(fault: Fault, told: Told) -> bool:
        return told.name in names and all(told.names(key, getattr(fault, value)) for key, value in about.items())

    return detects


def _killed(fault: Fault, told: Told) -> bool:
    if fault.satellite == BROKER:
        return told.name == "link_lost"
    if fault.satellite == GROUND:
        return False
    if fault.target == "executive":
        return told.name == "cut_off"
    return told.name == "service_ended" and told.names("service", fault.target)


def _stored(_fault: Fault, told: Told) -> bool:
    return told.name == "backhaul_storage" or (told.name == "handler_failed" and "disk" in told.about.get("where", ""))


_SENSOR = Meaning(
    "an event doubts the device (silent, stuck, noisy, off), or the balance of meters that it is one of",
    _doubted,
    Contained.ISOLATED,
    _isolated,
    "the doubt is over",
)

MEANINGS: Final[Mapping[str, Meaning]] = {
    "sensor-stuck": _SENSOR,
    "sensor-bias": _SENSOR,
    "sensor-noise": _SENSOR,
    "sensor-silent": _SENSOR,
    "load-short": Meaning(
        "power cuts the load, or doubts its meter",
        lambda fault, told: (
            _named("load_opened", load="target")(fault, told)
            or (told.name in _DOUBTS and told.about.get("sensor") in {f"load.{fault.target}", "power balance"})
        ),
        Contained.ISOLATED,
        _named("load_opened", load="target"),
        "the load may stay cut: a person closes it",
    ),
    "pump-stop": Meaning("the pump stalls", _named("pump_stalled"), Contained.PEAK, recovered="the pump follows again"),
    "radiator-loss": Meaning(
        "the radiator gives off too little",
        _named("radiator_weak"),
        Contained.PEAK,
        recovered="the radiator gives off what it should",
    ),
    "laser-mispointing": Meaning(
        "the terminal loses its partner", _named("laser_lost", terminal="target"), Contained.RECONNECTED
    ),
    "link-outage": Meaning(
        "the link is lost, where it was in use", _named("link_lost", link="target"), Contained.RECONNECTED
    ),
    "process-kill": Meaning(
        "the executive tells that the service ended; after its own death, that the board was cut off; of the broker, "
        "that the link is lost; nobody on board hears of the ground's",
        _killed,
        Contained.RUNNING,
    ),
    "reboot": Meaning("the executive tells that the board was cut off", _named("cut_off"), Contained.RUNNING),
    "disk-full": Meaning(
        "what cannot be kept is told", _stored, Contained.ISOLATED, _stored, "nothing fails to be kept"
    ),
    "clock-jump": Meaning(
        "navigation finds that the clock disagrees with GNSS, after the next start of the board",
        _named("clock_disagrees"),
        Contained.ISOLATED,
        _named("clock_disagrees"),
        "the clock agrees",
    ),
    "bit-flip": Meaning(
        "the gateway refuses a frame",
        lambda _fault, told: told.name in {"backhaul_forged", "backhaul_malformed"},
        Contained.REFUSED,
    ),
}
"""By kind of the catalogue."""

OVER: Final[Mapping[str, tuple[str, ...]]] = {
    "sensor_silent": ("sensor_trusted",),
    "sensor_stuck": ("sensor_trusted",),
    "sensor_noisy": ("sensor_trusted",),
    "sensor_off": ("sensor_trusted",),
    "radiator_weak": ("radiator_recovered",),
    "thermometer_lost": ("thermometer_recovered",),
    "battery_unreadable": ("battery_readable",),
    "pump_stalled": ("pump_recovered",),
    "gnss_disagrees": ("gnss_agrees",),
    "clock_disagrees": ("clock_agrees",),
}
"""Doubts, and the events that end them."""
