"""The truth of a whole constellation at one time, for pictures."""

from dataclasses import dataclass

from hil.plant.frames import Array


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Truth of all satellites for pictures; arrays have one row per satellite."""

    mission_time_seconds: float
    names: tuple[str, ...]
    position_meters: Array
    sunlit_ratio: Array
    state_of_charge_ratio: Array
    array_watts: Array
    load_watts: Array
    radiator_celsius: Array
