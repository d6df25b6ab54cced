"""How devices reach the plant: sensors in, actuators out.

Keys are dotted names: ``battery.voltage_volts``, ``load.node-1.watts``, ``thermal.radiator.celsius`` among the
sensors; ``load.node-1.switch``, ``node.node-1.draw_watts``, ``pump.duty_ratio`` among the actuators. See
`hil.plant.layout` for all of them.
"""

from collections.abc import Mapping
from typing import NamedTuple, Protocol, cast

from skyrack.backhaul import LinkState


class PlantKeyError(KeyError):
    """The plant has no such satellite, sensor or actuator; the message lists what there is."""

    def __str__(self) -> str:
        return str(self.args[0])


class Sample(NamedTuple):
    """A true value and the mission time of the step that it belongs to; minus infinity before the first."""

    value: float
    mission_time_seconds: float


DOWN = LinkState(up=False, rate_bits_per_second=0.0)


class PlantLink(Protocol):
    """What a device driver may do with the plant. Calls return at once."""

    def read(self, satellite: str, key: str) -> Sample:
        """One sensor's truth.

        Raises:
            PlantKeyError: no such satellite or key.
        """
        ...

    def sensors(self, satellite: str) -> Mapping[str, float]:
        """All sensors of a satellite, as of the last step; empty before the first."""
        ...

    def device_faults(self, satellite: str) -> Mapping[str, float]:
        """Faults that are laid on the satellite's devices, by ``<device>.<fault>``; zero is none."""
        ...

    def actuate(self, satellite: str, values: Mapping[str, float]) -> None:
        """Set actuators, all of them before the next step.

        Raises:
            PlantKeyError: no such satellite or key (in process; over a socket the plant counts it).
        """
        ...


def plant_link(attachments: Mapping[str, object]) -> PlantLink:
    """The link that a run provides: attachment ``plant`` is the plant's address, or a link in this process."""
    attached = attachments.get("plant")
    if isinstance(attached, str):
        from hil.plant.client import remote_link

        return remote_link(attached)
    if attached is None:
        raise LookupError('simulated devices need the attachment "plant": the plant\'s address, or a PlantLink')
    return cast("PlantLink", attached)
